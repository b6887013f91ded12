from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from trfcli_pipeline.huggingface.upload import Repository, Upload
from trfcli_pipeline.tasks.push import PushStarted

Run = Callable[..., Result]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the library was asked for."""
    found: list[tuple[object, ...]] = []

    def push(
        model: Path, repository: str, *, private: bool, branch: str | None, message: str | None
    ) -> Iterator[PushStarted | Upload]:
        found.append((model, repository, private, branch, message))
        yield PushStarted(12, 91_000_000)
        if repository == "team/slow":
            raise KeyboardInterrupt
        url = f"https://huggingface.co/{repository}"
        target = Repository(repository, branch, "0" * 40, [], url)
        yield Upload(target, is_new=repository != "team/same", removed=["trf_tok2vec/old.bin"])

    monkeypatch.setattr("trfcli_pipeline.tasks.push.push", push)
    return found


def test_the_page_and_how_to_load_the_pipeline_are_shown(
    run: Run, calls: list[tuple[object, ...]]
) -> None:
    result = run("push", "model", "team/spam")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "ℹ Uploading 12 files (91 MB)",
        "✔ Pushed to https://huggingface.co/team/spam",
        "ℹ Removed files of the last push: trf_tok2vec/old.bin",
        "  To load it:",
        "  from huggingface_hub import snapshot_download",
        '  nlp = spacy.load(snapshot_download("team/spam"))',
    ]
    assert calls == [(Path("model"), "team/spam", False, None, None)]


@pytest.mark.parametrize("option", ["--revision", "--branch"])
def test_options_reach_the_library(run: Run, calls: list[tuple[object, ...]], option: str) -> None:
    result = run("push", "model", "team/same", "--private", option, "may", "--message", "Try it")
    assert "✔ Nothing to push: the same files are already at https://" in result.stderr
    assert '(snapshot_download("team/same", revision="may"))' in result.stderr
    assert calls == [(Path("model"), "team/same", True, "may", "Try it")]


@pytest.mark.usefixtures("calls")
def test_an_interrupted_push_changes_nothing(run: Run) -> None:
    result = run("push", "model", "team/slow")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "✘ Interrupted; no file of team/slow was changed."
