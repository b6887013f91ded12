"""A folder with the data and pipelines that the pages name; its encoder is tiny, not minilm."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from blocks import ROOT
from shell import run_command
from spacy.language import Language
from spacy.tokens import DocBin

from trfcli_pipeline.huggingface import sources
from trfcli_pipeline.tasks.before_after import Compared

SAMPLE = ROOT / "sample_data" / "sms_spam"
TUTORIAL = ROOT / "docs" / "tutorial"


def _first(path: Path, count: int) -> list[dict[str, Any]]:
    with path.open(encoding="utf8") as file:
        return [json.loads(line) for line, _ in zip(file, range(count), strict=False)]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")


def _write_data(folder: Path) -> None:
    train, test = _first(SAMPLE / "train.jsonl", 32), _first(SAMPLE / "test.jsonl", 24)
    for name, rows in (("train", train), ("dev", train[:20]), ("test", test), ("texts", test)):
        _write(folder / f"{name}.jsonl", rows)
    _write(folder / "sms.jsonl", _first(SAMPLE / "train.jsonl", 160))
    _write(folder / "sms_test.jsonl", test)
    (folder / "shards").mkdir()
    _write(folder / "shards" / "part-1.jsonl", test)
    _write(folder / "multilabel.jsonl", [_with_urgency(i, row) for i, row in enumerate(train)])
    pairs = [{**row, "text": row["text"] + " ||| " + row["text"]} for row in train]
    _write(folder / "pairs.jsonl", pairs)
    rows = [f"Call {i} now,{'billing' if i % 2 else 'bug'}\n" for i in range(40)]
    (folder / "train.csv").write_text("".join(["text,label\n", *rows]), encoding="utf8")
    shutil.copy(TUTORIAL / "answers.py", folder)
    for path in TUTORIAL.glob("*.csv"):
        head = path.read_text(encoding="utf8").splitlines(keepends=True)[:33]
        (folder / path.name).write_text("".join(head), encoding="utf8")
    shutil.copytree(ROOT / "configs", folder / "configs")
    _write_entities(folder)


def _with_urgency(index: int, row: dict[str, Any]) -> dict[str, Any]:
    return {"text": row["text"], "labels": [*row["labels"], *(["urgent"] if index % 3 else [])]}


def _write_entities(folder: Path) -> None:
    nlp = spacy.blank("en")
    doc = nlp("Ana from Acme called.")
    doc.set_ents([spacy.tokens.Span(doc, 0, 1, "PERSON"), spacy.tokens.Span(doc, 2, 3, "ORG")])
    docs = DocBin(docs=[doc] * 4)
    for name in ("train", "dev"):
        docs.to_disk(folder / f"{name}.spacy")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """The data, an encoder pipeline `model`, and the trained pipelines that pages start from."""
    folder = tmp_path_factory.mktemp("docs")
    _write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        _patch(patch, folder, tiny_bert)
        run_command("trf init minilm ./model")
        run_command("trf train ./model train.jsonl --output ./trained")
        run_command("trf train ./model tickets.csv --output ./tickets")
    return folder


def _patch(patch: pytest.MonkeyPatch, folder: Path, encoder: Path) -> None:
    def locate(name: str) -> sources.Source:
        return sources.Source(title="all-MiniLM-L6-v2", origin="a package", path=encoder)

    load: Callable[..., Language] = spacy.load

    def load_installed(name: str, **options: Any) -> Language:
        return load(folder / "trained" if name == "en_tickets" else name, **options)

    patch.chdir(folder)
    patch.setattr(sources, "_in_package", locate)
    # These tests check that commands run, not how good the models get.
    patch.setattr("trfcli_pipeline.training.size_rules._LEAST_STEPS", 1)
    patch.setattr(Compared, "speedup", 2.0)
    patch.setattr(spacy, "load", load_installed)
    # Later tests keep their single thread.
    patch.setattr(torch, "set_num_threads", int)


@pytest.fixture
def reader(
    prepared: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of `prepared` as the current directory, for a reader who follows a page."""
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    _patch(monkeypatch, folder, tiny_bert)
    return folder
