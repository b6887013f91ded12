"""What tools make of files of suggestions, and that `trf train` reads it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trfcli_pipeline.curation.suggestions import Suggestion
from trfcli_pipeline.data.dataset import DataSet, ReadingOptions
from trfcli_pipeline.data.outputs.files import check_kind
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import ArgumentError, OutputError
from trfcli_pipeline.tasks.suggestion_files import (
    FORMATS,
    SUGGESTIONS,
    choose_format,
    render,
)

TEXTS = ["I love it, really", "=1+1 is\na terrible bore", "Zürich's café"]
LABELS = ["GOOD", "BAD", "GOOD"]
ROWS: list[dict[str, Any]] = [
    {"id": number, "body": text, "label": None, "labels": ["OLD"], "reason": "refund"}
    | {"meta": {"from": "shop"}, "answer": "accept", "price": float("nan")}
    for number, text in enumerate(TEXTS)
]
SUGGESTED = [
    Suggestion(Record(text, None, line, row), [], True, False, line)
    for line, (text, row) in enumerate(zip(TEXTS, ROWS, strict=True), 1)
]
SUFFIXES = {"doccano": ".jsonl", "label-studio": ".json", "prodigy": ".jsonl", "csv": ".csv"}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf8")


def export_of_doccano(path: Path) -> None:
    """JSONL with ids of its own; other keys than text and label are metadata, which it keeps."""
    rows = [json.loads(line) for line in path.read_text("utf8").splitlines()]
    assert all(row["label"] == [] for row in rows)
    write_lines(
        path,
        [
            {**row, "id": 100 + number, "label": [label], "Comments": []}
            for number, (row, label) in enumerate(zip(rows, LABELS, strict=True))
        ],
    )


def export_of_label_studio(path: Path) -> None:
    """The format JSON, with an annotation of each task."""
    tasks = json.loads(path.read_text("utf8"))
    for number, (task, label) in enumerate(zip(tasks, LABELS, strict=True)):
        result = {
            "type": "choices",
            "from_name": "label",
            "to_name": "text",
            "value": {"choices": [label]},
        }
        task |= {"id": number, "annotations": [{"id": number, "result": [result]}]}
    path.write_text(json.dumps(tasks), encoding="utf8")


def export_of_prodigy(path: Path) -> None:
    """What `prodigy db-out` writes after `textcat.manual` with exclusive labels."""
    rows = [json.loads(line) for line in path.read_text("utf8").splitlines()]
    options = [{"id": label, "text": label} for label in ("GOOD", "BAD")]
    hashes = {"_input_hash": 1, "_task_hash": 2, "_view_id": "choice"}
    write_lines(
        path,
        [
            {**row, **hashes, "options": options, "accept": [label], "answer": "accept"}
            for row, label in zip(rows, LABELS, strict=True)
        ],
    )


def labels_in_a_spreadsheet(path: Path, delimiter: str = ",") -> None:
    with path.open(encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    for row, label in zip(rows, LABELS, strict=True):
        assert row["label"] == ""
        row["label"] = label
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


EXPORTS: dict[str, Callable[[Path], None]] = {
    "doccano": export_of_doccano,
    "label-studio": export_of_label_studio,
    "prodigy": export_of_prodigy,
    "csv": labels_in_a_spreadsheet,
}


@pytest.mark.parametrize("format", EXPORTS)
def test_labels_come_back(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"batch{SUFFIXES[format]}"
    path.write_text(render(SUGGESTED, format), encoding="utf8")
    check_kind(path, path.name, SUGGESTIONS)
    EXPORTS[format](path)
    # Labels that somebody has given aren't overwritten.
    with pytest.raises(OutputError, match=f"{path.name}: already has labels"):
        check_kind(path, path.name, SUGGESTIONS)
    records = read_records(path, labeled=True)
    assert [record.text for record in records] == TEXTS
    assert [record.labels for record in records] == [{label} for label in LABELS]


@pytest.mark.parametrize("format", EXPORTS)
def test_all_columns_are_kept(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"batch{SUFFIXES[format]}"
    path.write_text(render(SUGGESTED, format), encoding="utf8")
    rows = [record.row for record in read_records(path, labeled=False)]
    for row, own in zip(rows, ROWS, strict=True):
        assert str(row["id"]) == str(own["id"])
        assert row["body"] == own["body"]
        assert "OLD" in row["original_labels"]
        assert row["original_reason"] == "refund"
        assert "original_label" not in row
        assert not row["price"]
    assert [row["text"] for row in rows] == TEXTS


def test_labels_that_are_still_missing_can_be_skipped(tmp_path: Path) -> None:
    path = tmp_path / "batch.csv"
    path.write_text(render(SUGGESTED, "csv"), encoding="utf8")
    with path.open("a", encoding="utf8") as file:
        file.write("Labeled,,,,,,,,GOOD,because\n")
    header = path.read_text("utf8").splitlines()[0].split(",")
    assert header[0] == "text"
    assert header[-2:] == ["label", "reason"]
    source = DataSet((str(path),), ReadingOptions(skip_unlabeled=True))
    assert [record.text for record in read_records(source, labeled=True)] == ["Labeled"]


def test_names_that_are_taken_twice() -> None:
    row = {"text": "other", "labels": "A", "original_labels": "B", "original_text": "C"}
    (line,) = render([Suggestion(Record("x", None, 1, row), [], True, False, 1)], "doccano").split(
        "\n"
    )[:-1]
    assert json.loads(line) == {
        "text": "x",
        "original_text_2": "other",
        "original_labels_2": "A",
        "original_labels": "B",
        "original_text": "C",
        "label": [],
        "reason": "stands for 1 other",
    }


@pytest.mark.parametrize(
    ("name", "format", "chosen"),
    [
        ("a.jsonl", None, "doccano"),
        ("a.JSON", None, "label-studio"),
        ("a.csv", None, "csv"),
        ("a.tsv", None, "tsv"),
        ("a.txt", "prodigy", "prodigy"),
        (None, "csv", "csv"),
        (None, None, "doccano"),
    ],
)
def test_the_suffix_or_the_option_chooses(
    name: str | None, format: str | None, chosen: str
) -> None:
    assert choose_format(None if name is None else Path(name), format) == chosen


def test_formats_that_are_unknown() -> None:
    with pytest.raises(ArgumentError, match="suffix doesn't say"):
        choose_format(Path("a.txt"), None)
    with pytest.raises(ArgumentError, match="'excel' isn't one of doccano"):
        choose_format(None, "excel")
    assert set(SUFFIXES) <= set(FORMATS)


@pytest.mark.parametrize(
    "content", ['{"text": "x", "label": "A"}\n', '{"text": "x"}\n', "\0", "[]", "[1]"]
)
def test_other_files_are_not_overwritten(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    assert not SUGGESTIONS.recognizes(path)
