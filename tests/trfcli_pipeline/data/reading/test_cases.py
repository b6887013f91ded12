"""Files as people have them: what is read, what is remarked, and what a refusal says to type."""

import json
import logging
from pathlib import Path

import pytest
from data_cases import Case, parquet
from export_cases import EXPORTS
from label_cases import LABEL_FORMS
from shape_cases import SHAPES
from table_cases import TABLES

from trfcli_pipeline.data.dataset import DataSet, ReadingOptions
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import DataError

CASES = [*TABLES, *LABEL_FORMS, *EXPORTS, *SHAPES]


def read(options: ReadingOptions | None, name: str) -> list[tuple[str, list[str]]]:
    records = read_records(DataSet((name,), options or ReadingOptions()), labeled=True)
    return [(record.text, sorted(record.labels)) for record in records]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_file_is_read_or_the_error_says_what_to_type(
    case: Case, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(case.content, bytes):
        (directory / case.name).write_bytes(case.content)
    else:
        case.content(directory / case.name)
    with caplog.at_level(logging.INFO, logger="trfcli_pipeline"):
        if isinstance(case.expected, list):
            assert read(None, case.name) == case.expected
            if case.remark is None:
                assert not caplog.messages
            else:
                assert case.remark in "\n".join(caplog.messages)
            return
        with pytest.raises(DataError) as caught:
            read(None, case.name)
    assert caught.value.message == case.expected.format(case.name)
    assert caught.value.hint
    if case.options is not None:
        assert read(case.options, case.name) == case.then


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("a.jsonl", "--delimiter, --quoting have"),
        ("a.parquet", "--encoding, --delimiter, --quoting have"),
        ("a.csv", None),
    ],
)
def test_options_without_effect_are_remarked(
    name: str, unused: str | None, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = {
        "a.jsonl": b'{"text": "x", "label": "A"}\n',
        "a.parquet": parquet(text=["x"], label=["A"]),
        "a.csv": b"text;label\nx;A\n",
    }
    (directory / name).write_bytes(content[name])
    options = ReadingOptions(delimiter=";", quoting="minimal", encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="trfcli_pipeline"):
        assert read(options, name) == [("x", ["A"])]
    expected = f"{name}: {unused} no effect on a file of this format"
    assert caplog.messages == ([expected] if unused else [])


@pytest.mark.parametrize("name", ["sets.json", "sets.zip"])
def test_part_of_a_file(name: str, directory: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    assert isinstance(case.content, bytes)
    (directory / name).write_bytes(case.content)
    assert len(read(None, f"{name}#train")) == 6
    with pytest.raises(DataError, match="dev"):
        read(None, f"{name}#dev")


def test_names_of_classes_beside_the_data(directory: Path) -> None:
    (directory / "a.csv").write_text("text,label\nx,0\ny,1\nz,0\n")
    (directory / "labels.json").write_text('{"id2label": {"0": "HAM", "1": "SPAM"}}')
    assert read(None, "a.csv") == [("x", ["HAM"]), ("y", ["SPAM"]), ("z", ["HAM"])]
    (directory / "labels.json").write_text('["A", "B"]')
    assert read(None, "a.csv")[1] == ("y", ["B"])
    (directory / "labels.json").write_text("7")
    with pytest.raises(DataError, match=r"labels\.json: not a list of label names"):
        read(None, "a.csv")


def test_several_files_patterns_and_directories(directory: Path) -> None:
    for number in range(2):
        (directory / f"part{number}.csv").write_text(f"text,label\nt{number},A\nu{number},B\n")
    expected = ["t0", "u0", "t1", "u1"]
    for sources in (("part0.csv", "part1.csv"), ("part*.csv",), (".",)):
        records = read_records(DataSet(sources), labeled=True)
        assert [record.text for record in records] == expected
    assert {record.file for record in records} == {"part0.csv", "part1.csv"}
    with pytest.raises(DataError, match=r"no\*\.csv: no file matches"):
        read(None, "no*.csv")


def test_notes_beside_tables_and_parts_of_a_directory(directory: Path) -> None:
    for name in ("train", "test"):
        (directory / name).mkdir()
        (directory / name / "part.csv").write_text(f"text,label\n{name},A\n")
        (directory / name / "README.txt").write_text("Notes")
    assert read(None, "train") == read(None, ".#train") == [("train", ["A"])]
    with pytest.raises(DataError) as caught:
        read(None, ".")
    assert caught.value.hint == "Name one of them: test, train"


def test_records_whose_labels_are_not_read_are_kept(directory: Path) -> None:
    skipped = {"data": {"text": "a"}, "annotations": [{"was_cancelled": True}]}
    spans = {"data": {"text": "b"}, "annotations": [{"result": [{"value": {"start": 0}}]}]}
    (directory / "a.json").write_text(json.dumps([skipped, spans]))
    records = read_records("a.json", labeled=False)
    assert [record.text for record in records] == ["a", "b"]


def test_options_take_precedence(directory: Path) -> None:
    (directory / "a.csv").write_bytes(b'id;"text";x;label\n1;"a;b";c, d;\xe9,A\n2;c;d;B\n')
    options = ReadingOptions(
        text_column=("x",),
        label_column=("label",),
        label_separator="none",
        encoding="latin-1",
        delimiter=";",
        quoting="minimal",
    )
    assert read(options, "a.csv") == [("c, d", ["é,A"]), ("d", ["B"])]
    assert read(ReadingOptions(text_column=("2",), encoding="latin-1"), "a.csv")[0][0] == "a;b"
    with pytest.raises(DataError) as caught:
        read(ReadingOptions(text_column=("txt",)), "a.csv")
    assert caught.value.message == 'a.csv: has no column "txt" (--text-column)'
    assert caught.value.hint == ('Did you mean "text"? Its columns: "id", "text", "x", "label"')


def test_options_that_do_not_fit(directory: Path) -> None:
    (directory / "a.csv").write_text("text,label\na,\nb,\n")
    (directory / "a.dat").write_text("a:A\nb:B\nc:A\n")
    for options, message in (
        (ReadingOptions(label_column=("text",)), "can't be both the text and the label"),
        (ReadingOptions(skip_unlabeled=True), "no record has a text and a label"),
    ):
        with pytest.raises(DataError, match=message):
            read(options, "a.csv")
    with pytest.raises(DataError, match="has no parts"):
        read(None, "a.csv#train")
    with pytest.raises(DataError, match="unknown suffix"):
        read(None, "a.dat")
    columns = ReadingOptions(text_column=("1", "1"), label_column=("2",), delimiter=":")
    assert read(columns, "a.dat") == [("a", ["A"]), ("b", ["B"]), ("c", ["A"])]


def test_remarks_are_made_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    from trfcli_pipeline.data.reading import Reading

    (directory / "a.csv").write_text("Text,Label\na,A\n,\nb,B\n")
    reading = Reading("a.csv", labeled=True)
    with caplog.at_level(logging.INFO, logger="trfcli_pipeline"):
        assert len(list(reading)) == len(list(reading)) == 2
    assert caplog.messages == [
        'a.csv: the text is in "Text" (--text-column); the label is in "Label" (--label-column)',
        "a.csv, line 3: a row without values was left out",
    ]


def test_bad_quote_does_not_hide_the_delimiter(directory: Path) -> None:
    (directory / "a.csv").write_text('id;text;label\n1;"a; b" c;A\n2;b, c;B\n3;d;A\n')
    with pytest.raises(DataError) as caught:
        read(None, "a.csv")
    assert caught.value.message == "a.csv, line 2: not valid CSV (';' expected after '\"')"
