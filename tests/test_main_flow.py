"""The main workflow as users run it: `trf` commands in processes of their own."""

import json
import os
import subprocess
import sys
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import pytest
import spacy

TRF = Path(sys.executable).with_name("trf")
WORDS = {
    "BAD": ("I", "hate", "this", "terrible", "bore"),
    "GOOD": ("I", "love", "this", "great", "film"),
}
TEXT = "I love this great film"

# Fails on any network connection or address lookup.
CLASSIFY = """
import json, socket, sys

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise RuntimeError(f"{event}: the network was used")

sys.addaudithook(refuse)
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except RuntimeError:
    pass
else:
    sys.exit("sockets are not blocked")

import spacy

print(json.dumps(spacy.load(sys.argv[1])(sys.argv[2]).cats))
"""

Completed = subprocess.CompletedProcess[str]


def environment(**variables: str) -> dict[str, str]:
    """The environment without variables that affect the output."""
    dropped = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TOKENIZERS_PARALLELISM")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped
        and not name.startswith(("PYTEST", "PYTHON", "TRF_", "TRANSFORMERS_"))
    }
    return {**kept, "PYTHONIOENCODING": "utf8", "HF_HUB_OFFLINE": "1", **variables}


def run(*command: str | Path, cwd: Path, **variables: str) -> Completed:
    result = subprocess.run(
        command,
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf8",
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


def check_stderr(result: Completed) -> None:
    """Check that stderr has only our own lines: no warnings, progress bars or colors."""
    for line in result.stderr.splitlines():
        assert line.startswith(("✔ ", "ℹ ", "  ")), line
    for noise in ("Warning", "Loading weights", "it/s", "%|", "\r", "\x1b"):
        assert noise not in result.stderr
    assert "\x1b" not in result.stdout


def write(path: Path, first: int, last: int) -> None:
    """Write texts with two labels; texts with the same label differ in the order of words."""
    orders = zip(*map(permutations, WORDS.values()), strict=True)
    rows = [
        {"text": " ".join(words), "label": label}
        for order in islice(orders, first, last)
        for label, words in zip(WORDS, order, strict=True)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_from_an_encoder_to_an_installed_package(tmp_path: Path, tiny_bert: Path) -> None:
    write(tmp_path / "train.jsonl", 0, 20)
    write(tmp_path / "test.jsonl", 20, 25)

    made = run(TRF, "init", tiny_bert, "model", cwd=tmp_path)
    check_stderr(made)
    assert made.stdout == ""
    assert "✔ Saved en_trf_tinybert to model" in made.stderr

    inspected = run(TRF, "inspect", TEXT, "--model", "model", "--json", cwd=tmp_path)
    assert inspected.stderr == ""
    report = json.loads(inspected.stdout)
    assert report["text"] == TEXT
    assert [token["text"] for token in report["tokens"]] == [
        *("I", "love", "this", "great", "film")
    ]
    assert all(token["wordpieces"] for token in report["tokens"])

    trained = run(
        *(TRF, "train", "model", "train.jsonl"),
        *("--epochs", "12", "--batch-size", "4", "--learn-rate", "5e-3"),
        cwd=tmp_path,
    )
    check_stderr(trained)
    assert trained.stdout == ""
    assert "✔ 36 texts to train on, 4 held out as the dev set" in trained.stderr
    assert "the dev set is too small to choose another. Saved to model" in trained.stderr

    evaluated = run(TRF, "evaluate", "model", "test.jsonl", "--json", cwd=tmp_path)
    assert evaluated.stderr == ""
    metrics = json.loads(evaluated.stdout)
    assert metrics["n_texts"] == 10
    assert metrics["accuracy"] == metrics["cats_macro_f"] == 1.0

    packaged = run(
        *(TRF, "package", "model", "out"),
        *("--name", "films", "--version", "1.0.0", "--build", "wheel"),
        cwd=tmp_path,
    )
    check_stderr(packaged)
    assert packaged.stdout == ""
    [wheel] = tmp_path.glob("out/en_films-1.0.0/dist/en_films-*.whl")

    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*install, "--no-index", "--no-deps", "--target", tmp_path / "site", wheel, cwd=tmp_path)

    before: dict[str, Any] = spacy.load(tmp_path / "model")(TEXT).cats
    # The installed package must not depend on it.
    (tmp_path / "model").rename(tmp_path / "moved")
    classified = run(
        *(sys.executable, "-c", CLASSIFY, "en_films", TEXT),
        cwd=tmp_path / "out",
        PYTHONPATH=str(tmp_path / "site"),
    )
    assert classified.stderr == ""
    cats = json.loads(classified.stdout)
    assert cats == pytest.approx(before, abs=1e-6)
    assert cats["GOOD"] > 0.5
    assert sum(cats.values()) == pytest.approx(1.0)
