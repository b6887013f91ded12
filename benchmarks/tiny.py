"""A tiny pipeline, and `trf` in forks of the process that imports this."""

import hashlib
import json
import os
import sys
from pathlib import Path

from trfcli.app import app
from trfcli_pipeline.tasks import (  # noqa: F401 - so that the forks needn't import them
    annotate,
    evaluate,
    init_model,
    optimize,
    package,
)
from trfcli_pipeline.training import train  # noqa: F401

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from conftest import save_tiny_bert

TEXTS = ["I love this film, it is great fun.", "I hate this film; it is a terrible bore."]
QUICK = ("--epochs", "2", "--eval-every", "2", "--batch-size", "8")


def train_tiny(log: Path) -> list[str]:
    """Create enc, base, model and train.jsonl in the working directory; return the lines of it."""
    save_tiny_bert(Path("enc"))
    rows = [
        json.dumps({"text": f"{text} {number}", "label": label})
        for number in range(20)
        for text, label in zip(TEXTS, ("GOOD", "BAD"), strict=True)
    ]
    Path("train.jsonl").write_text("\n".join(rows) + "\n")
    run(("init", "enc", "base", "--name", "base"), log)
    run(("train", "base", "train.jsonl", "-o", "model", *QUICK), log)
    return rows


def run(args: tuple[str, ...], log: Path, code: int = 0) -> None:
    """Run `trf` in a fork until it ends.

    Raises:
        SystemExit: It ended with another exit code.
    """
    if finish(start(args, log)) != code:
        raise SystemExit(f"trf {' '.join(args)} failed:\n{log.read_text()}")


def start(args: tuple[str, ...], log: Path) -> int:
    """Run `trf` in a fork; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    with log.open("a") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    code = 1
    try:
        app(list(args), prog_name="trf")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finish(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
