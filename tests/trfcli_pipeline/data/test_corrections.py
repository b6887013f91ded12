import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from trfcli_pipeline.data.corrections import Corrections
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError

RECORDS = [
    Record("one", {"A": 1.0}, 1, file="train.jsonl"),
    Record("two", {"B": 1.0}, 2, file="train.jsonl"),
    Record("one", {"B": 1.0}, 3, file="train.jsonl"),
    Record("three", {"A": 1.0, "B": 1.0}, 4, file="train.jsonl"),
]


def write(path: Path, *rows: Any) -> Path:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(text, encoding="utf8")
    return path


def row(text: str, given: Any, label: Any, key: str = "label") -> dict[str, Any]:
    return {"text": text, "given": given, key: label}


def apply(path: Path, *rows: Any, records: Iterable[Record] = RECORDS) -> Corrections:
    corrections = Corrections.read(write(path / "corrections.jsonl", *rows))
    list(corrections.apply(iter(records)))
    corrections.check(data="train.jsonl")
    return corrections


def test_labels_are_corrected_where_text_and_given_label_agree(tmp_path: Path) -> None:
    path = write(
        tmp_path / "corrections.jsonl",
        row("one", "A", "B"),
        row("two", "B", None),
        row("three", ["A", "B"], ["B"], key="labels"),
    )
    corrections = Corrections.read(path)
    found = list(corrections.apply(iter(RECORDS)))
    corrections.check(data="train.jsonl")
    assert [(each.text, sorted(each.labels), each.line) for each in found] == [
        ("one", ["B"], 1),
        ("one", ["B"], 3),
        ("three", ["B"], 4),
    ]
    assert corrections.summary == "2 labels corrected, 1 text left out (corrections.jsonl)"


def test_unchanged_file_changes_nothing_and_says_so(tmp_path: Path) -> None:
    corrections = apply(tmp_path, row("one", "A", "A"), row("two", "B", "B"), "")
    assert not corrections.n_corrected
    assert corrections.summary == (
        "No label was corrected: 2 texts keep their labels (corrections.jsonl)"
    )


def test_empty_file_changes_nothing_and_says_so(tmp_path: Path) -> None:
    assert apply(tmp_path).summary == "No label was corrected: corrections.jsonl is empty"


def test_data_that_were_corrected_too_are_fine(tmp_path: Path) -> None:
    corrections = apply(tmp_path, row("two", "A", "B"))
    assert not corrections.n_corrected
    assert corrections.summary == "1 text has the corrected labels already (corrections.jsonl)"
    # Two texts are the same, but for their labels.
    rows = row("one", "C", "A"), row("two", "C", "B"), row("three", ["A", "B"], None)
    assert apply(tmp_path, *rows).summary == (
        "1 text left out, 2 texts have the corrected labels already (corrections.jsonl)"
    )


@pytest.mark.parametrize(
    ("rows", "message", "hint"),
    [
        (["{"], "line 1: not valid JSON (expecting property name", "as trf check writes it"),
        ([[1]], "line 1: not a correction of trf check", "Each line is one text"),
        ([{"text": "one", "label": "A"}], "not a correction", "given"),
        ([{"text": "one", "given": "A"}], "neither of the keys", ""),
        ([{**row("one", "A", "A"), "labels": []}], "both of the keys", ""),
        ([row("one", "A", 1)], '"label": not a label', ""),
        ([row("one", "A", "")], "a text needs one label", "null to leave the text out"),
        ([row("one", None, "A")], '"given": not a label', ""),
        (
            [row("one", "A", "B"), row("one", "A", None)],
            "lines 1 and 2: the same text is corrected to the label B and to nothing",
            "remove one of the lines",
        ),
        ([row("four", "A", "B")], "line 1: the text isn't in train.jsonl", "remove the line"),
        ([row("two", "A", "A")], "has the label B in train.jsonl, line 2, not the label A", ""),
        (
            [row("one", "A", "Bb")],
            "the label Bb isn't in train.jsonl",
            "Did you mean B? Known labels: A, B",
        ),
    ],
)
def test_file_that_cannot_be_used(rows: list[Any], message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        apply(tmp_path, *rows)
    assert "corrections.jsonl" in caught.value.message
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file") as caught:
        Corrections.read(tmp_path / "none.jsonl")
    assert "trf check" in str(caught.value.hint)
    (tmp_path / "nine.jsonl").touch()
    with pytest.raises(DataError, match=r"Did you mean .*nine\.jsonl"):
        Corrections.read(tmp_path / "none.jsonl")


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    path.write_bytes(b'\n{"text": "caf\xe9"}')
    with pytest.raises(DataError, match=r"line 2: not valid UTF-8 \(0xe9 at byte 14\)") as caught:
        Corrections.read(path)
    assert caught.value.hint == "Save the file as UTF-8"
