"""Errors about the records of a data file."""

import math
from pathlib import Path
from typing import Any

import pytest
from data_files import jsonl, put

from trfcli_pipeline.data.reading import Reading, read_records
from trfcli_pipeline.errors import DataError

LABELS = 'Labels go in "label", "labels" or "cats"'
UTF8 = "Save the file as UTF-8, or name its encoding: --encoding cp1252"
SKIP = "--skip-unlabeled leaves such records out"
LINES = 'Each line is one record: {"text": ..., "label": ...}'
NO_STRING = "Put it in quotes, or remove the record"
LABEL = 'A label is a name or a number, such as "SPAM"; several are a list'
SCORES = 'An object of labels has the form {"SPAM": 1, "HAM": 0}'
OBJECT = 'the value of "A" in "label" is a string, not a number from 0 to 1'
SHAPES = 'A .json file is one list, [{"text": ...}, ...], or has one record per line'
QUOTES = 'Put fields with quotes or newlines in quotes, and double the quotes inside them ("")'


RECORD_ERRORS: list[tuple[str, Any, str, str | None]] = [
    ("number", 3, "the record is a number, not an object or pair", "A record is"),
    ("null", None, "the record is null, not an object or pair", "A record is"),
    ("long list", ["a", {}, 1], "the record is a list, not an object or pair", "A record is"),
    ("pair of texts", ["a", "A"], "the record is a list, not an object or pair", "A record is"),
    (
        "no text",
        {"Text": "a"},
        'the record has no "text" (its keys: "Text")',
        'Did you mean "text"',
    ),
    ("nothing", {}, 'the record has no "text" (it has no other keys)', "A record is"),
    ("null text", {"text": None}, '"text" is null, not a string', SKIP),
    ("text in pair", [7, {"label": "A"}], '"text" is a number, not a string', NO_STRING),
    ("list text", {"text": ["a"]}, '"text" is a list, not a string', NO_STRING),
    ("no keys", {"text": "a"}, "the record has no labels (it has no other keys)", SKIP),
    (
        "misspelled",
        {"text": "a", "id": 1, "lable": "A"},
        'the record has no labels (its keys: "id", "lable")',
        f'Did you mean "label" instead of "lable"? {LABELS}',
    ),
    (
        "category",
        {"text": "a", "Category": "A"},
        'the record has no labels (its keys: "Category")',
        f'Did you mean "label" instead of "Category"? {LABELS}',
    ),
    (
        "many keys",
        {"text": "a", **dict.fromkeys("pqrstuv")},
        'the record has no labels (its keys: "p", "q", "r", "s", "t" and 2 more)',
        LABELS,
    ),
    (
        "keys that would break the line",
        {"text": "a", "x\ny": 1, "\ud800": 1, "k" * 99: 1},
        f'the record has no labels (its keys: "x\\ny", "\ufffd", "{"k" * 39}…")',
        LABELS,
    ),
    (
        "twice",
        {"text": "a", "label": "A", "cats": {"A": 1}},
        'labels are given in both "cats" and "label"',
        "Keep one of them",
    ),
    ("label object", {"text": "a", "label": {"A": "b"}}, OBJECT, SCORES),
    ("label null", {"text": "a", "label": None}, '"label" is null', SKIP),
    ("label empty", {"text": "a", "label": " "}, '"label" is empty', SKIP),
    ("label NaN", {"text": "a", "label": math.nan}, '"label" is NaN', SKIP),
    ("label infinite", {"text": "a", "label": math.inf}, 'inf in "label" isn\'t a label', LABEL),
    ("labels of", {"text": "a", "labels": [None]}, 'null in "labels" isn\'t a label', LABEL),
    ("labels empty", {"text": "a", "labels": [""]}, 'a label in "labels" has an empty name', LABEL),
    (
        "cats number",
        {"text": "a", "cats": 3},
        '"cats" is a number, not an object with a number for each label',
        None,
    ),
    (
        "cats string",
        {"text": "a", "cats": {"A": "1"}},
        'the value of "A" in "cats" is a string, not a number from 0 to 1',
        SCORES,
    ),
    (
        "cats high",
        {"text": "a", "cats": {"A": 1.5}},
        'the value of "A" in "cats" is 1.5, not a number from 0 to 1',
        SCORES,
    ),
    (
        "cats nan",
        {"text": "a", "cats": {"A": math.nan}},
        'the value of "A" in "cats" is nan, not a number from 0 to 1',
        SCORES,
    ),
    ("cats empty", {"text": "a", "cats": {"": 1}}, 'a label in "cats" has an empty name', LABEL),
]


@pytest.mark.parametrize(
    ("row", "reason", "hint"),
    [case[1:] for case in RECORD_ERRORS],
    ids=[c[0] for c in RECORD_ERRORS],
)
def test_invalid_record(tmp_path: Path, row: Any, reason: str, hint: str | None) -> None:
    good = {"text": "good", "label": "A"}
    path = put(tmp_path / "bad.jsonl", jsonl(good, row, good))
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=True)
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
    ("a.jsonl", b"[" * 200_000, "line 1: not valid JSON (nested too deeply)", None),
    ("a.jsonl", b"9" * 5000, "line 1: not valid JSON (a number with too many digits)", LINES),
    ("a.jsonl", b'\n{"text": "\x81"}', "line 2: not valid UTF-8 (0x81 at byte 11)", UTF8),
    ("a.txt", b"ok\ncaf\x81\n", "line 2: not valid UTF-8 (0x81 at byte 4)", UTF8),
    ("a.json", b'[\n{"text": "\x81"}]', "line 2: not valid UTF-8 (0x81)", UTF8),
    ("a.csv", b'text\nok\n"a\nb\x81"\n', "line 3: not valid UTF-8 (0x81)", UTF8),
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
        b'{\n"text" "a"}',
        "line 2: not valid JSON (expecting ':' delimiter at column 8)",
        SHAPES,
    ),
    (
        "a.csv",
        b"text,label\na,b,c\n",
        "line 2: 3 fields, but the header names 2 columns",
        "Put fields that have the delimiter in them in quotes, or name another delimiter: "
        '--delimiter ";"',
    ),
    (
        "a.csv",
        b'text,label\na,A\n"b,B\nc,c,C\n',
        "line 3: the quoted field that starts here is never closed",
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
def test_syntax_error(
    tmp_path: Path, name: str, content: bytes, reason: str, hint: str | None
) -> None:
    path = put(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=False)
    assert caught.value.message.startswith(f"{path}, {reason}")
    if hint is None:
        assert caught.value.hint is None
    else:
        assert (caught.value.hint or "").startswith(hint)


def test_all_invalid_records_are_counted(tmp_path: Path) -> None:
    good = b'{"text": "good"}\n'
    content = good + b'{"text": }\n' + good * 868 + b"3\n" + good * 4147
    path = put(tmp_path / "broken.jsonl", content)
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=False)
    assert caught.value.message == (
        f"{path}, line 2: not valid JSON (expecting value at column 10)"
    )
    assert caught.value.hint == (f"{LINES}. 2 of 5,018 records are invalid: lines 2, 871")


def test_hint_gives_advice_before_the_count_and_a_few_lines(tmp_path: Path) -> None:
    path = put(tmp_path / "bad.csv", b"text,label\nb,B\n" + b"a, \n" * 7)
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=True)
    assert caught.value.hint == (
        f"{SKIP}. 7 of 8 records are invalid: lines 3, 4, 5, 6, 7 and 2 more"
    )


@pytest.mark.parametrize(
    ("rows", "hint"),
    [
        ([{"text": "a"}] * 3, ""),
        ([{"text": "a", "label": None}] * 3, ""),
        ([{"text": "a", "lable": "A"}] * 3, 'Did you mean "label" instead of "lable"? '),
    ],
)
def test_records_that_all_lack_a_label_are_one_error(
    tmp_path: Path, rows: list[dict[str, Any]], hint: str
) -> None:
    path = put(tmp_path / "texts.jsonl", jsonl(*rows))
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=True)
    assert caught.value.message == f"{path}: none of the 3 records has a label"
    assert caught.value.hint == f"{hint}{LABELS}, or in a column that --label-column names"


@pytest.mark.parametrize("other", [{"text": "b", "label": "B"}, {"text": 1, "label": "B"}, {}])
def test_records_some_of_which_lack_a_label_are_named(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    path = put(tmp_path / "texts.jsonl", jsonl({"text": "a"}, {"text": "a"}, other))
    with pytest.raises(DataError, match="line 1: the record has no labels") as caught:
        read_records(path, labeled=True)
    assert (caught.value.hint or "").startswith(f"{SKIP}. ")


def test_nothing_is_yielded_after_the_first_invalid_record(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": 1}, {"text": "c"}, {"text": 2}]
    path = put(tmp_path / "bad.jsonl", jsonl(*rows))
    records = iter(Reading(path, labeled=False))
    assert next(records).text == "a"
    with pytest.raises(DataError, match="2 of 4 records"):
        next(records)


def test_records_are_read_lazily(tmp_path: Path) -> None:
    path = put(tmp_path / "many.jsonl", b'{"text": "a"}\n' * 100_000 + b"!")
    records = iter(Reading(path, labeled=False))
    assert [next(records).line for _ in range(3)] == [1, 2, 3]
