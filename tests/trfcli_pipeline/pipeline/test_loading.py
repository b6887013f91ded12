import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spacy.language import Language

from trfcli_pipeline.encoder.activations import KINDS
from trfcli_pipeline.errors import ArgumentError, EncoderError, PipelineError
from trfcli_pipeline.huggingface import pretrained
from trfcli_pipeline.pipeline.loading import (
    describe_encoder,
    is_pipeline,
    keep_what_heads_read,
    load_pipeline,
)
from trfcli_pipeline.tasks.init_model import init_model

WEIGHTS = np.array([[1.0, 0.0] * 8, [0.0, 1.0] * 8], "f")
TEXT = "I love it. Apple pie is delicious!"


@pytest.fixture(scope="module")
def saved(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_model(str(tiny_bert), path, lang="xx", words_per_batch=500)
    return path


# --- keep_what_heads_read ---


@pytest.mark.parametrize(
    ("architecture", "read"),
    [("softmax_last_hidden", None), ("softmax_pooler_output", "pooler_output")],
)
def test_the_encoder_keeps_what_the_classifier_reads(
    saved: Path, architecture: str, read: str | None
) -> None:
    nlp = load_pipeline(str(saved))
    config = {"architecture": architecture, "exclusive_classes": True}
    nlp.add_pipe("trf_textcat", config=config).initialize(None, nlp=nlp, labels=["A", "B"])
    nlp.get_pipe("trf_textcat").model.get_ref("output_layer").set_param("W", WEIGHTS)
    before = nlp(TEXT)
    keep_what_heads_read(nlp)
    doc = nlp(TEXT)
    assert doc.cats == before.cats
    assert doc.cats["A"] != doc.cats["B"]
    kept = {kind for kind in KINDS if doc._.get(f"trf_{kind}") is not None}
    assert kept == {"segment_sums"} | ({read} if read else set())
    assert not doc.tensor.size


def test_the_encoder_keeps_everything_for_unknown_components(saved: Path) -> None:
    nlp = load_pipeline(str(saved))
    nlp.add_pipe("merge_entities")
    keep_what_heads_read(nlp)
    assert nlp(TEXT)._.trf_last_hidden_state is not None


# --- load_pipeline ---


def test_a_pipeline_is_loaded(saved: Path) -> None:
    nlp = load_pipeline(str(saved), device="cpu")
    assert nlp.get_pipe("trf_tok2vec").model.shim.device.type == "cpu"
    nlp = load_pipeline(str(saved), exclude=["trf_tok2vec"])
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer"]


def test_the_home_directory_is_expanded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load_pipeline("~/model").path == saved
    assert is_pipeline("~/model")


def test_weights_are_loaded_straight_to_the_device(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(saved, tmp_path / "model")
    config = tmp_path / "model" / "config.cfg"
    config.write_text(config.read_text().replace('device = "auto"', 'device = "meta"'))
    load, devices = pretrained.load_model, []

    def load_model(*args: Any, device: torch.device, **kwargs: Any) -> Any:
        devices.append(device.type)
        return load(*args, device=device, **kwargs)

    monkeypatch.setattr(pretrained, "load_model", load_model)
    # Without a warning, although the machine has no device of that name.
    load_pipeline(str(tmp_path / "model"), device="cpu")
    assert devices == ["cpu"]


def test_an_unknown_device_is_reported_before_loading(tmp_path: Path) -> None:
    (tmp_path / "config.cfg").write_text("damaged")
    with pytest.raises(ArgumentError, match="--device abacus"):
        load_pipeline(str(tmp_path), device="abacus")


def test_anything_but_a_pipeline_is_an_error(tmp_path: Path, tiny_bert: Path) -> None:
    (tmp_path / "file").touch()
    cases = {
        str(tmp_path / "absent"): "no such directory, and no such pipeline is installed",
        "no_such_package": "no such directory, and no such pipeline is installed",
        str(tmp_path / "file"): "is a file",
        str(tmp_path): "not a spaCy pipeline",
        str(tiny_bert): "not a spaCy pipeline",
    }
    for model, message in cases.items():
        with pytest.raises(PipelineError, match=message):
            load_pipeline(model)
    with pytest.raises(PipelineError, match=r"trf init minilm \./model. Then train it: trf train"):
        load_pipeline("no_such_package")
    # An encoder's directory can become a pipeline.
    with pytest.raises(PipelineError, match=f"trf init {tiny_bert}"):
        load_pipeline(str(tiny_bert))


def test_a_broken_pipeline_is_an_error(saved: Path, tmp_path: Path) -> None:
    breakages: list[Callable[[Path], None]] = [
        lambda path: (path / "config.cfg").write_text("[nlp"),
        lambda path: (path / "meta.json").write_text("{"),
        lambda path: (path / "trf_tok2vec" / "model" / "model.safetensors").unlink(),
        lambda path: (path / "trf_tok2vec" / "model" / "model.safetensors").write_bytes(b"x" * 99),
        lambda path: (path / "trf_tok2vec" / "cfg").unlink(),
        lambda path: (path / "trf_wordpiecer" / "tokenizer" / "tokenizer.json").write_text("{"),
        lambda path: (path / "config.cfg").write_text(
            (saved / "config.cfg").read_text().replace('"trf_tok2vec"\n', '"no_such_factory"\n')
        ),
    ]
    for number, spoil in enumerate(breakages):
        path = tmp_path / str(number)
        shutil.copytree(saved, path)
        spoil(path)
        with pytest.raises((PipelineError, EncoderError)) as caught:
            load_pipeline(str(path))
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


def test_is_pipeline(saved: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_pipeline(str(saved))
    assert not is_pipeline(str(tiny_bert))
    assert not is_pipeline("someone/some-encoder")
    monkeypatch.chdir(saved.parent)
    saved.rename(saved.with_name("minilm"))
    try:
        # The packaged encoder comes first.
        assert not is_pipeline("minilm")
    finally:
        saved.with_name("minilm").rename(saved)


# --- describe_encoder ---


def test_an_encoder_is_described(make_nlp: Callable[..., Language], tiny_gpt2: Path) -> None:
    found = describe_encoder(make_nlp(tiny_gpt2).get_pipe("trf_tok2vec"))
    assert found["model_type"] == "gpt2"
    assert found["heads"] == 4
    assert found["parameters"] > 0
