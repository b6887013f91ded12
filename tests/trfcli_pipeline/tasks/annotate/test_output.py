import gzip
import io
import json
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import spacy
from annotating import RECORDS, TEXTS, read, run, stdin
from spacy.tokens import DocBin

from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.pipeline import buffering
from trfcli_pipeline.tasks import annotate as annotate_task
from trfcli_pipeline.tasks import annotation_batches, predictions
from trfcli_pipeline.tasks.annotate import (
    AnnotationFinished,
    AnnotationStarted,
    BatchAnnotated,
    annotate,
)
from trfcli_pipeline.tasks.predictions import Batch, Predictor


def test_rows_have_the_predictions_of_the_pipeline(model: str) -> None:
    events = run(model, "in.jsonl", "out.jsonl", batch_size=8)
    rows = read("out.jsonl")
    assert [{"text": row["text"], "id": row["id"]} for row in rows] == RECORDS
    docs = list(spacy.load(model).pipe(TEXTS))
    for row, doc in zip(rows, docs, strict=True):
        assert list(row) == ["text", "id", "cats", "labels", "ents"]
        assert row["cats"] == pytest.approx(doc.cats, abs=1e-6)
        assert row["labels"] == [max(doc.cats, key=doc.cats.__getitem__)]
        assert [doc.text[ent["start"] : ent["end"]] for ent in row["ents"]] == [
            ent.text for ent in doc.ents
        ]
    started, *advanced, finished = events
    words = sum(not token.is_space for doc in docs for token in doc)
    assert started == AnnotationStarted(total=30, done=0)
    assert [event.texts for event in advanced if isinstance(event, BatchAnnotated)] == [8, 8, 8, 6]
    assert isinstance(finished, AnnotationFinished)
    assert (finished.texts, finished.words) == (30, words)
    assert sum(finished.labels.values()) == 30
    assert finished.words_per_second > 0
    assert sorted(os.listdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.jsonl.gz", "out.spacy"])
def test_output_does_not_depend_on_the_number_of_processes(model: str, name: str) -> None:
    run(model, "in.jsonl", name, batch_size=4)
    alone = Path(name).read_bytes()
    run(model, "in.jsonl", name, batch_size=4, n_process=2, force=True)
    assert Path(name).read_bytes() == alone


def test_output_can_be_used_for_training(model: str) -> None:
    run(model, "in.jsonl", "out.jsonl")
    rows = read("out.jsonl")
    for suffix in (".csv", ".tsv.gz", ".parquet", ".xlsx", ".spacy", ".jsonl.gz"):
        run(model, "in.jsonl", f"out{suffix}")
    for suffix in (".jsonl", ".jsonl.gz", ".csv", ".tsv.gz", ".parquet", ".xlsx"):
        records = read_records(f"out{suffix}", labeled=True)
        assert [record.text for record in records] == TEXTS
        assert [sorted(record.labels) for record in records] == [row["labels"] for row in rows]
    docs = list(DocBin().from_disk("out.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == TEXTS
    assert [len(doc.ents) for doc in docs] == [len(row["ents"]) for row in rows]


def test_stdin_to_stdout(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    stdin(monkeypatch, RECORDS)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8"))
    run(model, "-", "-", batch_size=4)
    lines = written.getvalue().splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(30))


def test_batches_of_long_texts_are_small(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotation_batches, "_BATCH_CHARACTERS", 300)
    # On a GPU, they are larger.
    events = run(model, "in.jsonl", "out.jsonl", device="cpu")
    sizes = [event.texts for event in events if isinstance(event, BatchAnnotated)]
    assert sum(sizes) == 30
    assert len(sizes) > 5
    assert len(read("out.jsonl")) == 30


@pytest.mark.parametrize(
    ("options", "sizes"),
    [({}, [30]), ({"n_process": 2}, [4] * 7 + [2]), ({"batch_size": 12}, [12, 12, 6])],
)
def test_batches_are_larger_if_one_process_has_a_gpu(
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, int],
    sizes: list[int],
) -> None:
    monkeypatch.setattr(annotation_batches, "_BATCH_TEXTS", 4)
    monkeypatch.setattr(annotate_task, "uses_accelerator", lambda nlp: True)
    events = run(model, "in.jsonl", "out.jsonl", **options)
    assert [event.texts for event in events if isinstance(event, BatchAnnotated)] == sizes
    for row, doc in zip(read("out.jsonl"), spacy.load(model).pipe(TEXTS), strict=True):
        assert row["cats"] == pytest.approx(doc.cats, abs=1e-6)


def test_predictions_are_read_while_later_texts_are_encoded(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = spacy.load(model)
    monkeypatch.setattr(buffering, "_BUFFER", 20)
    monkeypatch.setattr(buffering, "_DEVICE_BUFFER", 20)
    monkeypatch.setattr(predictions, "_HEAD_BATCH", 4)
    happened = []
    for owner, name in (
        (type(nlp.get_pipe("trf_tok2vec")), "_assign"),
        (predictions, "check_scores"),
    ):
        method = getattr(owner, name)

        def log(*args: Any, name: str = name, method: Any = method) -> Any:
            happened.append(name)
            return method(*args)

        monkeypatch.setattr(owner, name, log)
    Predictor(nlp)(Batch("", "line", list(range(30)), TEXTS))
    assert happened.count("check_scores") == 30
    assert happened.index("check_scores") < happened.count("_assign") < 30


@pytest.mark.parametrize("name", ["in.jsonl", "./in.jsonl", "link.jsonl", "hard.jsonl"])
def test_output_cannot_replace_the_input(model: str, name: str) -> None:
    Path("link.jsonl").symlink_to("in.jsonl")
    Path("hard.jsonl").hardlink_to("in.jsonl")
    before = Path("in.jsonl").read_bytes()
    with pytest.raises(OutputError, match="is the input"):
        run(model, "in.jsonl", name, force=True)
    assert Path("in.jsonl").read_bytes() == before


def test_memory_use_is_constant(model: str) -> None:
    with gzip.open("many.jsonl.gz", "wt", compresslevel=1) as stream:
        for number in range(6000):
            stream.write(f'{{"text": "film {number % 200}", "id": {number}}}\n')
    in_use = []
    for event in annotate(model, "many.jsonl.gz", "out.jsonl", batch_size=50):
        if isinstance(event, AnnotationStarted):
            tracemalloc.start()
        elif isinstance(event, BatchAnnotated):
            in_use.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(in_use) == 120
    # A record takes about 500 bytes, so a leak of the last 2000 would show. Records are read in
    # parts, so memory rises and falls.
    assert max(in_use[80:]) < max(in_use[40:80]) + 100_000
