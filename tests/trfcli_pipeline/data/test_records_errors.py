"""What is said of data that can't be used."""

import gzip
import math
from pathlib import Path
from typing import Any

import pytest
from data_files import as_parquet, as_spacy, jsonl, put

from trfcli_pipeline.data.records import iter_records, read_records
from trfcli_pipeline.errors import DataError

LABELS = 'Labels are read from "cats", "label" or "labels"'
UTF8 = "Save the file as UTF-8"
LINES = 'Each line is one record: {"text": ..., "label": ...}'
NO_STRING = "Put it in quotes, or take the record out"
SHAPES = 'A .json file holds one list, [{"text": ...}, ...], or one record on each line'
QUOTES = 'A field with quotes or line ends stands in quotes; a quote inside it is doubled ("")'


RECORD_ERRORS: list[tuple[str, Any, str, str | None]] = [
    ("number", 3, "the record is a number, not an object or a pair", "A record is"),
    ("null", None, "the record is null, not an object or a pair", "A record is"),
    ("long list", ["a", {}, 1], "the record is a list, not an object or a pair", "A record is"),
    ("pair of texts", ["a", "A"], "the record is a list, not an object or a pair", "A record is"),
    ("no text", {"Text": "a"}, 'no "text" in the record (it has: "Text")', 'Did you mean "text"'),
    ("nothing", {}, 'no "text" in the record (it has nothing else)', None),
    ("null text", {"text": None}, '"text" is null, not a string', NO_STRING),
    ("text in pair", [7, {"label": "A"}], '"text" is a number, not a string', NO_STRING),
    ("list text", {"text": ["a"]}, '"text" is a list, not a string', NO_STRING),
    ("no keys", {"text": "a"}, "no labels in the record (it has nothing else)", LABELS),
    (
        "misspelt",
        {"text": "a", "id": 1, "lable": "A"},
        'no labels in the record (it has: "id", "lable")',
        f'Did you mean "label" by "lable"? {LABELS}',
    ),
    (
        "category",
        {"text": "a", "Category": "A"},
        'no labels in the record (it has: "Category")',
        f'Did you mean "label" by "Category"? {LABELS}',
    ),
    (
        "many keys",
        {"text": "a", **dict.fromkeys("pqrstuv")},
        'no labels in the record (it has: "p", "q", "r", "s", "t" and 2 more)',
        LABELS,
    ),
    (
        "keys that would break the line",
        {"text": "a", "x\ny": 1, "\ud800": 1, "k" * 99: 1},
        f'no labels in the record (it has: "x\\ny", "\ufffd", "{"k" * 39}…")',
        LABELS,
    ),
    (
        "twice",
        {"text": "a", "label": "A", "cats": {"A": 1}},
        'labels given more than once, in "cats" and "label"',
        "Keep one of them",
    ),
    (
        "label number",
        {"text": "a", "label": 1},
        '"label" is a number, not a string',
        "Write the name of the label, not its number",
    ),
    (
        "label list",
        {"text": "a", "label": ["A"]},
        '"label" is a list, not a string',
        'For several labels use "labels"',
    ),
    ("label null", {"text": "a", "label": None}, '"label" is null, not a string', None),
    ("label empty", {"text": "a", "label": " "}, 'a label in "label" has an empty name', None),
    (
        "labels string",
        {"text": "a", "labels": "A"},
        '"labels" is a string, not a list of strings',
        'For one label use "label"',
    ),
    ("labels of", {"text": "a", "labels": [True]}, '"labels" holds true, not only strings', None),
    ("labels empty", {"text": "a", "labels": [""]}, 'a label in "labels" has an empty name', None),
    (
        "cats list",
        {"text": "a", "cats": ["A"]},
        '"cats" is a list, not an object with a number for each label',
        None,
    ),
    (
        "cats string",
        {"text": "a", "cats": {"A": "1"}},
        '"cats" gives "A" a string, not a number from 0 to 1',
        None,
    ),
    (
        "cats high",
        {"text": "a", "cats": {"A": 1.5}},
        '"cats" gives "A" the value 1.5, not a number from 0 to 1',
        None,
    ),
    (
        "cats nan",
        {"text": "a", "cats": {"A": math.nan}},
        '"cats" gives "A" the value nan, not a number from 0 to 1',
        None,
    ),
    ("cats empty", {"text": "a", "cats": {"": 1}}, 'a label in "cats" has an empty name', None),
]


@pytest.mark.parametrize(
    ("row", "reason", "hint"),
    [case[1:] for case in RECORD_ERRORS],
    ids=[c[0] for c in RECORD_ERRORS],
)
def test_bad_record(tmp_path: Path, row: Any, reason: str, hint: str | None) -> None:
    good = {"text": "good", "label": "A"}
    path = put(tmp_path / "bad.jsonl", jsonl(good, row, good))
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=True)
    assert caught.value.message == f"{path}, line 2: {reason}"
    if hint is None:
        assert caught.value.hint is None
    else:
        assert (caught.value.hint or "").startswith(hint)


SYNTAX_ERRORS: list[tuple[str, bytes, str, str | None]] = [
    (
        "a.jsonl",
        b'{"text": "a"}\n{"text": }\n',
        "line 2: not valid JSON (expecting value at column 10)",
        LINES,
    ),
    (
        "a.jsonl",
        b'{"text": "a\n',
        "line 1: not valid JSON (unterminated string starting at column 10)",
        LINES,
    ),
    ("a.jsonl", b'{"text": "a"} x', "line 1: not valid JSON (extra data at column 15)", LINES),
    ("a.jsonl", b"[" * 200_000, "line 1: not valid JSON (nested too deeply)", LINES),
    ("a.jsonl", b"9" * 5000, "line 1: not valid JSON (a number with too many digits)", LINES),
    ("a.jsonl", b'\n{"text": "\xe9"}', "line 2: not valid UTF-8 (0xe9 at byte 11)", UTF8),
    ("a.txt", b"ok\ncaf\xe9\n", "line 2: not valid UTF-8 (0xe9 at byte 4)", UTF8),
    ("a.json", b'[\n{"text": "\xe9"}]', "line 2: not valid UTF-8 (0xe9)", UTF8),
    ("a.csv", b'text\nok\n"a\nb\xe9"\n', "line 3: not valid UTF-8 (0xe9)", UTF8),
    ("a.csv", "text\na\n".encode("utf-16"), "line 1: not valid UTF-8 (0xff)", UTF8),
    (
        "a.json",
        b'[{"text": "a"},\n {"text" "b"}]',
        "line 2: not valid JSON (expecting ':' delimiter at column 10)",
        SHAPES,
    ),
    (
        "a.json",
        b'[{"text": "a"}\n {"text": "b"}]',
        "line 2: not valid JSON (expecting ',' delimiter at column 2)",
        SHAPES,
    ),
    (
        "a.json",
        b'[{"text": "a"},\n]',
        "line 2: not valid JSON (expecting value at column 1)",
        SHAPES,
    ),
    (
        "a.json",
        b'[{"text": "a"}',
        "line 1: not valid JSON (expecting ',' delimiter at column 15)",
        SHAPES,
    ),
    ("a.json", b'[{"text": "a"}] 1', "line 1: not valid JSON (extra data at column 17)", SHAPES),
    ("a.json", b"[\n" + b"[" * 200_000, "line 2: not valid JSON (nested too deeply)", None),
    (
        "a.json",
        b'{\n"text": "a"}',
        "line 1: not valid JSON (expecting property name enclosed in double quotes at column 2)",
        SHAPES,
    ),
    ("a.csv", b"text,label\na,b,c\n", "line 2: 3 fields, but the header names 2 columns", QUOTES),
    (
        "a.csv",
        b'text,label\na,A\n"b,B\nc,C\n',
        "line 3: the quoted field that starts here never ends",
        QUOTES,
    ),
    ("a.tsv", b'text\n"a" b\n', "line 2: not valid CSV ('\t' expected after '\"')", QUOTES),
    (
        "a.csv",
        b"text\na\rb\n",
        "line 2: not valid CSV (new-line character seen in unquoted field)",
        QUOTES,
    ),
]


@pytest.mark.parametrize(("name", "content", "reason", "hint"), SYNTAX_ERRORS)
def test_unreadable_record(
    tmp_path: Path, name: str, content: bytes, reason: str, hint: str | None
) -> None:
    path = put(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=False)
    assert caught.value.message.startswith(f"{path}, {reason}")
    if hint is None:
        assert caught.value.hint is None
    else:
        assert (caught.value.hint or "").startswith(hint)


def test_all_bad_records_of_a_file_are_counted(tmp_path: Path) -> None:
    good = b'{"text": "good"}\n'
    content = good + b'{"text": }\n' + good * 868 + b"3\n" + good * 4147
    path = put(tmp_path / "broken.jsonl", content)
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=False)
    assert caught.value.message == (
        f"{path}, line 2: not valid JSON (expecting value at column 10)"
    )
    assert caught.value.hint == (f"{LINES}. 2 of 5,018 records can't be read; first: lines 2, 871")


def test_advice_stands_before_the_count_and_lines_are_few(tmp_path: Path) -> None:
    path = put(tmp_path / "bad.csv", b"text,klass\n" + b"a,A\n" * 7)
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=True)
    assert caught.value.hint == (
        f'Did you mean "label" by "klass"? {LABELS}. '
        "7 of 7 records can't be read; first: lines 2, 3, 4, 5, 6, ..."
    )


def test_nothing_is_yielded_from_the_first_bad_record_on(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": 1}, {"text": "c"}, {"text": 2}]
    path = put(tmp_path / "bad.jsonl", jsonl(*rows))
    records = iter_records(path, labelled=False)
    assert next(records).text == "a"
    with pytest.raises(DataError, match="2 of 4 records"):
        next(records)


def test_records_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path / "many.jsonl", b'{"text": "a"}\n' * 100_000 + b"!")
    records = iter_records(path, labelled=False)
    assert [next(records).line for _ in range(3)] == [1, 2, 3]


def test_missing_file(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", b"")
    with pytest.raises(DataError) as caught:
        iter_records(tmp_path / "trian.jsonl", labelled=True)
    assert caught.value.message == f"{tmp_path / 'trian.jsonl'}: no such file"
    assert caught.value.hint == f"Did you mean {tmp_path / 'train.jsonl'}?"

    with pytest.raises(DataError) as caught:
        iter_records(tmp_path / "nowhere" / "train.jsonl", labelled=True)
    assert caught.value.hint == f"There is no directory {tmp_path / 'nowhere'} either"

    with pytest.raises(DataError) as caught:
        iter_records(tmp_path / "x", labelled=True)
    assert caught.value.hint is None


@pytest.mark.parametrize(
    ("name", "labelled", "problem", "hint"),
    [
        ("data.xlsx", True, 'unknown suffix ".xlsx"', "Known: .jsonl, .json, .csv, .tsv, .parquet"),
        ("data.xlsx.gz", True, 'unknown suffix ".xlsx"', "Known: "),
        ("data", True, "no suffix that tells its format", "Known: "),
        ("data.gz", True, "no suffix that tells its format", "Known: "),
        ("a.txt", True, "a .txt file has no labels, and they are needed", "Use one of .jsonl"),
    ],
)
def test_unusable_suffix(
    tmp_path: Path, name: str, labelled: bool, problem: str, hint: str
) -> None:
    path = put(tmp_path / name, b"")
    with pytest.raises(DataError) as caught:
        iter_records(path, labelled=labelled)
    assert caught.value.message == f"{path}: {problem}"
    assert (caught.value.hint or "").startswith(hint)


def test_directory_and_impossible_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a directory, not a file"):
        iter_records(tmp_path, labelled=True)
    inside_a_file = put(tmp_path / "a.txt", b"") / "b.txt"
    with pytest.raises(DataError, match=r"can't be read \(Not a directory\)"):
        iter_records(inside_a_file, labelled=False)
    with pytest.raises(DataError, match=r"can't be read \(File name too long\)"):
        iter_records("a whole text instead of a path " * 300, labelled=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b""),
        ("a.jsonl", b"\n \r\n"),
        ("a.jsonl.gz", b""),
        ("a.json", b""),
        ("a.json", b" [ ] \n"),
        ("a.csv", b""),
        ("a.csv", b"text,label\n"),
        ("a.txt", b""),
        ("a.spacy", as_spacy([])),
        ("a.parquet", as_parquet([])),
    ],
)
def test_file_without_records(tmp_path: Path, name: str, content: bytes) -> None:
    path = put(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=False)
    assert caught.value.message == f"{path}: no records in it"


def test_table_without_a_text_column(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", b"\nsentence;label\nx;A\n")
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=True)
    assert caught.value.message == (
        f'{path}, line 2: no column "text" in the header (it has: "sentence;label")'
    )
    assert caught.value.hint == 'The first line names the columns, for example "text,label"'


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl.gz", b'{"text": "a"}', "not a gzip file, or a damaged one"),
        (
            "a.jsonl.gz",
            gzip.compress(jsonl({"text": "a"}), mtime=0)[:-9],
            "not a gzip file, or a damaged",
        ),
        ("a.parquet", b"PAR1", "not a Parquet file, or a damaged one"),
        ("a.parquet", as_parquet([("a", {"A": 1.0})])[:-20], "not a Parquet file, or a damaged"),
        ("a.spacy", b"", "not a DocBin of spaCy 3, or a damaged one"),
        ("a.spacy", as_spacy([("a", {})])[:-5], "not a DocBin of spaCy 3, or a damaged one"),
    ],
)
def test_damaged_file(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=False)
    assert caught.value.message.startswith(f"{path}: {problem}")
