"""A directory with good inputs, for cases to break, and the check that they fail well."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path

import pytest
from bad_inputs import Case, CheckCase
from train_command import DEV, TEXTS
from typer.testing import Result

from trfcli_pipeline.tasks.init_model import init_model


@pytest.fixture(scope="session")
def good_inputs(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A directory with an encoder, a pipeline with a text classifier, and data files."""
    path = tmp_path_factory.mktemp("good-inputs")
    shutil.copytree(tiny_bert, path / "encoder")
    nlp, _ = init_model(str(tiny_bert), path / "model", lang="xx")
    textcat = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    textcat.initialize(None, nlp=nlp, labels=["BAD", "GOOD"])
    nlp.to_disk(path / "model")
    for name, records in (("train", TEXTS), ("dev", DEV)):
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        (path / f"{name}.jsonl").write_text(lines, encoding="utf8")
    return path


@pytest.fixture
def check_case(
    good_inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Result],
) -> CheckCase:
    """Check that a command fails with exactly one error and exit code 1, and changes nothing.

    Before the error may be remarks about the layout of data files.
    """

    def check(case: Case) -> None:
        monkeypatch.chdir(tmp_path)
        shutil.copytree(good_inputs, tmp_path, dirs_exist_ok=True)
        case.build()
        before = _snapshot(tmp_path)
        result = run(*case.command.split())
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        first, *hint = dropwhile(lambda line: line.startswith(("ℹ data.", "⚠ data.")), lines)
        message = case.message.replace("{cwd}", str(tmp_path))
        expected, ellipsis, _ = f"✘ {message}".partition("…")
        assert first.startswith(expected) if ellipsis else first == expected
        # A hint says what to do. It has no symbol, which a second message would have.
        assert all(line.startswith("  ") and line.strip() for line in hint)
        assert "Traceback" not in result.stderr
        assert "bug in trf" not in result.stderr
        assert len(first) < 500
        assert _snapshot(tmp_path) == before

    return check


def _snapshot(directory: Path) -> dict[str, bytes | str | int]:
    """What is in a directory: contents of files, targets of links, and kinds of other entries."""
    found: dict[str, bytes | str | int] = {}
    for path in directory.rglob("*"):
        kind = stat.S_IFMT(path.lstat().st_mode)
        if kind == stat.S_IFREG:
            content: bytes | str | int = path.read_bytes()
        else:
            content = os.readlink(path) if kind == stat.S_IFLNK else kind
        found[str(path.relative_to(directory))] = content
    return found
