"""Interrupts and kills of a process that trains."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Timer

import pytest
from train_command import Digest

needs_signals = pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")


@pytest.fixture
def endless(workspace: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """`trf train` after two evaluations, with more epochs than it can finish.

    Its parameter is a tuple of options. By default there are no checkpoints, since the first one
    may or may not have been written yet.
    """
    process = subprocess.Popen(
        [
            *(Path(sys.executable).with_name("trf"), "train", "model", "train.jsonl"),
            *("--epochs", "100000", "--eval-every", "1", "--batch-size", "4"),
            *getattr(request, "param", ("--checkpoint-every", "0")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf8",
        env={**os.environ, "PYTHONIOENCODING": "utf8"},
    )
    # Without it, a process that hangs would block the reads below.
    guard = Timer(120, process.kill)
    guard.start()
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert sum(1 for _ in islice(filter(ROW.match, lines), 2)) == 2
        yield process
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


# A row of the table of evaluations.
ROW = re.compile(r" +[\d,]+ ")


@needs_signals
def test_interrupt_leaves_the_model_unchanged(
    workspace: Path, model: Path, endless: subprocess.Popen[str], digest: Digest
) -> None:
    endless.send_signal(signal.SIGINT)
    stdout, stderr = endless.communicate(timeout=60)
    assert endless.returncode == 130
    assert stdout == ""
    *rows, last = stderr.splitlines()
    assert last == "✘ Interrupted; model was not changed."
    assert all(map(ROW.match, rows))
    assert digest(workspace / "model") == digest(model)
    assert sorted(path.name for path in workspace.iterdir()) == [
        *("dev.jsonl", "empty.jsonl", "folder", "model", "tiny-bert", "train.jsonl")
    ]


@needs_signals
@pytest.mark.parametrize("endless", [()], indirect=True)
def test_interrupt_explains_how_to_resume(
    workspace: Path, model: Path, endless: subprocess.Popen[str], digest: Digest
) -> None:
    endless.send_signal(signal.SIGINT)
    _, stderr = endless.communicate(timeout=60)
    assert endless.returncode == 130
    assert re.fullmatch(
        r"✘ Interrupted; model was not changed. To continue from step [\d,]+, run the same "
        r"command with --resume\.",
        stderr.splitlines()[-1],
    )
    assert digest(workspace / "model") == digest(model)
    assert (workspace / ".model.training" / "checkpoint").is_dir()


@needs_signals
@pytest.mark.parametrize("endless", [()], indirect=True)
def test_kill_leaves_the_model_unchanged(
    workspace: Path, model: Path, endless: subprocess.Popen[str], digest: Digest
) -> None:
    endless.kill()
    endless.communicate(timeout=60)
    assert endless.returncode == -signal.SIGKILL
    assert digest(workspace / "model") == digest(model)
