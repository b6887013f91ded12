import socket
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from fake_hub import NAME, SHA, FakeHub
from huggingface_hub import constants
from spacy.vocab import Vocab
from transformers import AutoModel

from trfcli_pipeline import TransformersWordPiecer
from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface import pretrained, sources


def test_a_model_of_the_hub_is_downloaded_once(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    source = sources.locate(NAME)
    assert (source.title, source.revision) == ("tiny-bert", SHA)
    assert source.origin == f"the Hugging Face hub, {NAME}"
    expected = AutoModel.from_pretrained(tiny_bert).state_dict()
    for key, value in pretrained.load_model(source.path).state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert len(pretrained.load_tokenizer(source.path)) > 100

    hub.served.clear()
    assert sources.locate(NAME) == source
    assert hub.served == []


@pytest.mark.parametrize("revision", [None, "v1", SHA])
def test_a_cached_model_needs_no_hub(hub: FakeHub, tiny_bert: Path, revision: str | None) -> None:
    hub.add(NAME, tiny_bert)
    source = sources.locate(NAME, revision=revision)
    huggingface_hub.close_session()
    hub.stop()
    assert sources.locate(NAME, revision=revision) == source


def test_a_cached_model_needs_no_hub_in_offline_mode(
    hub: FakeHub, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, tiny_bert)
    source = sources.locate(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert sources.locate(NAME) == source


def test_only_the_files_of_one_kind_of_weights_are_downloaded(
    hub: FakeHub, tiny_bert: Path
) -> None:
    others = {
        "pytorch_model.bin": b"weights",
        "tf_model.h5": b"weights",
        "flax_model.msgpack": b"weights",
        "README.md": b"words",
        "onnx/model.onnx": b"weights",
        "onnx/config.json": b"{}",
    }
    hub.add(NAME, tiny_bert, **others)
    path = sources.locate(NAME).path
    assert {file.name for file in path.iterdir()} == {file.name for file in tiny_bert.iterdir()}
    assert not others.keys() & set(hub.served)


def test_pytorch_weights_are_downloaded_if_there_are_no_safetensors(
    hub: FakeHub, tiny_bert: Path
) -> None:
    hub.add(NAME, tiny_bert, **{"pytorch_model.bin": b"weights", "training_args.bin": b"rest"})
    del hub.repositories[NAME]["model.safetensors"]
    path = sources.locate(NAME).path
    assert [file.name for file in path.glob("*.bin")] == ["pytorch_model.bin"]


def test_without_weights_only_config_and_tokenizer_are_downloaded(
    hub: FakeHub, tiny_bert: Path
) -> None:
    hub.add(NAME, tiny_bert)
    path = sources.locate(NAME, weights=False).path
    assert not any(file.endswith(".safetensors") for file in hub.served)
    assert len(pretrained.load_tokenizer(path)) > 100
    assert pretrained.max_length(path, pretrained.load_tokenizer(path)) == 64
    # The weights are downloaded when they are needed.
    assert pretrained.load_model(sources.locate(NAME).path).config.model_type == "bert"


def test_a_tokenizer_in_the_cache_is_no_encoder(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    path = sources.locate(NAME, weights=False).path
    huggingface_hub.close_session()
    hub.stop()
    assert sources.locate(NAME, weights=False).path == path
    assert "the model isn't cached" in _message(NAME)


def test_a_wordpiecer_downloads_no_weights(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    TransformersWordPiecer.from_pretrained(Vocab(), NAME)
    assert "tokenizer.json" in hub.served
    assert "model.safetensors" not in hub.served


def _message(name: str, revision: str | None = None) -> str:
    start = time.monotonic()
    with pytest.raises(EncoderError) as caught:
        sources.locate(name, revision=revision)
    assert time.monotonic() - start < 5
    assert caught.value.hint
    return caught.value.message


def test_an_unknown_model_is_an_error(hub: FakeHub) -> None:
    message = _message("someone/absent")
    assert message == "someone/absent: not on the Hugging Face hub (or private)"


def test_an_unknown_revision_is_an_error(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    assert _message(NAME, "v9") == f"{NAME}: has no revision v9"
    assert hub.served == []


def test_a_gated_model_is_an_error(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    hub.gated.add(NAME)
    assert "this model is gated" in _message(NAME)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (429, "the Hugging Face hub refuses more requests for now (429)"),
        (403, "the Hugging Face hub refuses access (403)"),
        (500, "the Hugging Face hub answers with an error (500), and the model isn't cached"),
        (503, "the Hugging Face hub answers with an error (503), and the model isn't cached"),
    ],
)
def test_a_hub_that_refuses_is_not_out_of_reach(
    hub: FakeHub, tiny_bert: Path, status: int, problem: str
) -> None:
    hub.add(NAME, tiny_bert)
    hub.status = status
    assert _message(NAME) == f"{NAME}: {problem}"
    hub.status = None
    source = sources.locate(NAME)
    hub.status = status
    assert sources.locate(NAME) == source


def test_a_repository_without_a_config_is_an_error(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    del hub.repositories[NAME]["config.json"]
    with pytest.raises(EncoderError, match="isn't a transformers model"):
        sources.locate(NAME)


def test_a_download_that_breaks_off_is_an_error(
    hub: FakeHub, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, tiny_bert)
    hub.cut = "model.safetensors"
    # The client sleeps between its retries.
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    assert "the download from the Hugging Face hub failed" in _message(NAME)
    hub.cut = None
    assert pretrained.load_model(sources.locate(NAME).path).config.model_type == "bert"


def test_an_unreachable_hub_is_an_error(go_online: Callable[[str], None]) -> None:
    with socket.socket() as unused:
        # Bound but not listening: the port is reserved, and connections are refused.
        unused.bind(("127.0.0.1", 0))
        go_online(f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert _message(NAME) == (
            f"{NAME}: can't reach the Hugging Face hub, and the model isn't cached"
        )


def test_offline_mode_without_a_cached_model_is_an_error(
    go_online: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_online("http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the model isn't cached" in _message(NAME)
