"""Pushing to a stand-in for the Hugging Face hub."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from fake_hub import FakeHub
from huggingface_hub import constants, snapshot_download

from trfcli_pipeline.errors import OutputError, PipelineError
from trfcli_pipeline.huggingface.upload import Upload
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.tasks.push import PushStarted, push

# Of huggingface_hub's own call of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO = "team/spam"
WEIGHTS = "trf_tok2vec/model/model.safetensors"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_model(str(tiny_bert), path, lang="xx", name="spam")
    (path / "notes.txt").write_text("mine")
    return path


@pytest.fixture(autouse=True)
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")


def pushed(*args: object, **options: object) -> Upload:
    *_, last = push(*args, **options)  # type: ignore[arg-type]
    assert isinstance(last, Upload)
    return last


def test_a_pushed_pipeline_can_be_loaded(hub: FakeHub, pipeline: Path) -> None:
    started, done = push(pipeline, REPO)
    assert isinstance(started, PushStarted)
    assert isinstance(done, Upload)
    assert (done.repository.url, done.is_new, done.removed) == (f"{hub.url}/{REPO}", True, [])
    files = hub.repositories[REPO]
    assert started.files == len(files) - len([".gitattributes"])
    assert {"config.cfg", "meta.json", "README.md", WEIGHTS} < files.keys()
    assert "notes.txt" not in files
    assert files[WEIGHTS] == (pipeline / WEIGHTS).read_bytes()
    assert hub.commits == [("main", "Push xx_spam 0.0.0")]
    assert hub.private == set()

    path = Path(snapshot_download(REPO))
    expected, found = (spacy.load(each)("I love this film") for each in (pipeline, path))
    assert (expected.tensor == found.tensor).all()


def test_the_model_card_says_how_to_load_it(hub: FakeHub, pipeline: Path) -> None:
    pushed(pipeline, "spam")
    card = hub.repositories["me/spam"]["README.md"].decode()
    assert "\nlibrary_name: spacy\n" in card
    assert '\nnlp = spacy.load(snapshot_download("me/spam"))\n' in card
    assert "\npip install huggingface_hub 'spacy" in card or "'trfcli>=" in card
    assert "--find-links" not in card


def test_a_card_of_the_pipeline_s_own_is_kept(hub: FakeHub, pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(pipeline, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("my card\n")
    pushed(tmp_path / "model", REPO)
    assert hub.repositories[REPO]["README.md"] == b"my card\n"


def test_a_second_push_replaces_the_files_of_the_first(hub: FakeHub, pipeline: Path) -> None:
    pushed(pipeline, REPO)
    assert not pushed(pipeline, REPO).is_new
    assert len(hub.commits) == 1
    hub.repositories[REPO] |= {"trf_tok2vec/model/openvino.bin": b"", "examples/one.txt": b""}
    hub.repositories[REPO]["meta.json"] = b"{}"
    done = pushed(pipeline, REPO, branch="candidate", message="Try it")
    assert done.removed == ["trf_tok2vec/model/openvino.bin"]
    assert done.repository.url == f"{hub.url}/{REPO}/tree/candidate"
    assert "examples/one.txt" in hub.repositories[REPO]
    assert json.loads(hub.repositories[REPO]["meta.json"])["name"] == "spam"
    assert hub.commits[1:] == [("candidate", "Try it")]


def test_a_private_repository_is_created_or_required(hub: FakeHub, pipeline: Path) -> None:
    pushed(pipeline, REPO, private=True)
    assert hub.private == {REPO}
    hub.private.clear()
    _fails(pipeline, f"{REPO}: exists, and is public", private=True)


def _fails(pipeline: Path, message: str, repository: str = REPO, **options: bool) -> str:
    """Check that a push fails with one line, and return the hint."""
    with pytest.raises(OutputError) as caught:
        list(push(pipeline, repository, **options))  # type: ignore[arg-type]
    assert caught.value.message == message
    return caught.value.hint or ""


def test_without_a_token_nothing_is_sent(
    hub: FakeHub, pipeline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    message = f"{REPO}: you are not logged in to the Hugging Face hub"
    assert "hf auth login" in _fails(pipeline, message)
    assert hub.repositories == {}


def test_a_foreign_namespace_is_an_error(hub: FakeHub, pipeline: Path) -> None:
    message = "them/spam: you are not a member of them, or there is no such namespace"
    assert _fails(pipeline, message, "them/spam") == "Use one of yours: me, team"


def test_a_wrong_name_is_an_error(hub: FakeHub, pipeline: Path) -> None:
    message = "team/a b: not a valid name of a repository"
    assert "team/model" in _fails(pipeline, message, "team/a b")


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (401, "the Hugging Face hub doesn't accept your token (401)"),
        (403, "you may not write to it (403)"),
        (429, "the Hugging Face hub refuses more requests for now (429)"),
        (500, "the Hugging Face hub answers with an error (500)"),
    ],
)
def test_a_refusal_is_an_error(hub: FakeHub, pipeline: Path, status: int, problem: str) -> None:
    hub.status = status
    assert _fails(pipeline, f"{REPO}: {problem}")


def test_a_token_that_may_only_read_is_an_error(
    hub: FakeHub, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_create", lambda wanted: (403, {}, b"{}"))
    assert "token" in _fails(pipeline, f"{REPO}: your token may not write to it (403)")


def test_an_unreachable_hub_is_an_error(go_online: Callable[[str], None], pipeline: Path) -> None:
    with socket.socket() as unused:
        # Bound but not listening: the port is reserved, and connections are refused.
        unused.bind(("127.0.0.1", 0))
        go_online(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(OutputError, match=f"{REPO}: can't reach the Hugging Face hub"):
            list(push(pipeline, REPO))


def test_offline_mode_is_an_error(pipeline: Path) -> None:
    hint = _fails(pipeline, f"{REPO}: the Hugging Face hub isn't used in offline mode")
    assert hint == "Unset HF_HUB_OFFLINE"


def test_a_pipeline_that_was_damaged_is_not_pushed(
    hub: FakeHub, pipeline: Path, tmp_path: Path
) -> None:
    shutil.copytree(pipeline, tmp_path / "model")
    (tmp_path / "model" / WEIGHTS).write_bytes(b"")
    with pytest.raises(PipelineError, match="not as it was saved"):
        list(push(tmp_path / "model", REPO))
    assert hub.repositories == {}
