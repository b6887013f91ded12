import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from trfcli_pipeline.corpus import Record, iter_records, read_records, where
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.formats.json import JsonlWriter

LABELS = 'Labels are read from "cats", "label" or "labels"'
UTF8 = "Save the file as UTF-8"
LINES = 'Each line is one record: {"text": ..., "label": ...}'
NO_STRING = "Put it in quotes, or take the record out"
SHAPES = 'A .json file holds one list, [{"text": ...}, ...], or one record on each line'
QUOTES = 'A field with quotes or line ends stands in quotes; a quote inside it is doubled ("")'

# Weighted towards what readers trip over: every kind of line end, quotes, delimiters, a BOM.
texts = st.text(
    st.one_of(
        st.characters(codec="utf-8"), st.sampled_from('\n\r\u2028\u2029\x85\x0b\x0c\0",|\t\ufeff')
    )
)
names = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
values = st.floats(0, 1)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def plain(records: Sequence[Record]) -> list[tuple[str, dict[str, float] | None]]:
    return [(record.text, record.cats) for record in records]


# Writers made with other tools, so that a reader isn't checked against its own mirror image.


def as_jsonl(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    return jsonl(*({"text": text, "cats": cats} for text, cats in rows))


def as_raw_jsonl(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    lines = [json.dumps([text, {"cats": cats}], ensure_ascii=False) for text, cats in rows]
    return "\n".join(lines).encode()


def as_json(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    records = [{"text": text, "cats": cats} for text, cats in rows]
    return json.dumps(records, ensure_ascii=False, indent=1).encode()


def as_parquet(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    cats = pa.array([list(cats.items()) for _, cats in rows], pa.map_(pa.string(), pa.float64()))
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": [text for text, _ in rows], "cats": cats}), stream)
    return stream.getvalue()


def as_spacy(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    vocab = Vocab()
    docs = DocBin()
    for text, cats in rows:
        doc = Doc(vocab, words=[text] if text else [], spaces=[False] if text else [])
        doc.cats = dict(cats)
        docs.add(doc)
    return docs.to_bytes()


def as_table(rows: Sequence[Sequence[str]], delimiter: str) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue().encode()


CATS_WRITERS: dict[str, Callable[[list[tuple[str, dict[str, float]]]], bytes]] = {
    "cats.jsonl": as_jsonl,
    "pairs.jsonl": as_raw_jsonl,
    "list.json": as_json,
    "map.parquet": as_parquet,
    "docs.spacy": as_spacy,
    "cats.jsonl.gz": as_jsonl,
    "map.parquet.gz": as_parquet,
    "docs.spacy.gz": as_spacy,
}


@pytest.mark.parametrize("name", CATS_WRITERS)
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(texts, st.dictionaries(names, values, min_size=1)), min_size=1))
def test_texts_and_cats_come_back_as_written(
    scratch: Path, name: str, rows: list[tuple[str, dict[str, float]]]
) -> None:
    path = put(scratch / name, CATS_WRITERS[name](rows))
    records = read_records(path, labelled=True)
    assert plain(records) == rows
    assert all(record.partial for record in records)
    assert [record.text for record in read_records(path, labelled=False)] == [r[0] for r in rows]


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t"), (".csv.gz", ",")])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_tables_come_back_as_written(
    scratch: Path, suffix: str, delimiter: str, data: st.DataObject
) -> None:
    table_names = names.map(str.strip).filter(bool)
    rows = data.draw(st.lists(st.tuples(texts, table_names), min_size=1))
    path = put(scratch / f"one{suffix}", as_table([("text", "label"), *rows], delimiter))
    assert plain(read_records(path, labelled=True)) == [(t, {label: 1.0}) for t, label in rows]

    several = st.lists(table_names.filter(lambda name: "|" not in name), unique=True)
    many = data.draw(st.lists(st.tuples(texts, several), min_size=1))
    table = [("labels", "text"), *(("|".join(labels), text) for text, labels in many)]
    path = put(scratch / f"many{suffix}", as_table(table, delimiter))
    expected = [(text, dict.fromkeys(labels, 1.0)) for text, labels in many]
    assert plain(read_records(path, labelled=True)) == expected


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(texts.filter(lambda t: "\n" not in t and t[-1:] != "\r"), min_size=1))
def test_plain_text_comes_back_as_written(scratch: Path, lines: list[str]) -> None:
    for end in ("\n", "\r\n"):
        content = "\ufeff" + "".join(line + end for line in lines)
        path = put(scratch / "plain.txt", content.encode())
        records = read_records(path, labelled=False)
        assert [record.text for record in records] == lines
        assert [record.line for record in records] == list(range(1, len(lines) + 1))
        assert all(record.cats is None for record in records)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".txt"]))
def test_any_bytes_are_read_or_refused(scratch: Path, content: bytes, suffix: str) -> None:
    path = put(scratch / f"any{suffix}", content)
    try:
        records = read_records(path, labelled=False)
    except DataError as error:
        assert error.message.startswith(str(path))
        assert "\n" not in error.message
    else:
        for record in records:
            record.text.encode("utf-8")


def test_shapes_of_records_mix_in_one_file(tmp_path: Path) -> None:
    content = jsonl(
        {"text": "a", "cats": {"X": 1, "Y": False, "Z": 0.25}, "id": 7},
        {"label": "X", "text": "b", "meta": {"k": [1]}},
        {"text": "c", "labels": ["X", "Y", "X"]},
        {"text": "d", "labels": []},
        ["e", {"cats": {"X": True}, "id": "p"}],
        ["f", {"label": "Y"}],
        {"text": "g", "cats": {}},
    )
    assert read_records(put(tmp_path / "mixed.jsonl", content), labelled=True) == [
        Record("a", {"X": 1.0, "Y": 0.0, "Z": 0.25}, 1, {"id": 7}, partial=True),
        Record("b", {"X": 1.0}, 2, {"meta": {"k": [1]}}),
        Record("c", {"X": 1.0, "Y": 1.0}, 3),
        Record("d", {}, 4),
        Record("e", {"X": 1.0}, 5, {"id": "p"}, partial=True),
        Record("f", {"Y": 1.0}, 6),
        Record("g", {}, 7, partial=True),
    ]


def test_labels_that_are_not_needed_are_kept_as_they_are(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "a", "label": 3},
        {"text": "b", "cats": "?", "label": ["x"]},
    ]
    path = put(tmp_path / "hf.jsonl", jsonl(*rows))
    assert read_records(path, labelled=False) == [
        Record("a", None, 1, {"label": 3}),
        Record("b", None, 2, {"cats": "?", "label": ["x"]}),
    ]


def test_labels_hold_from_one_half_on() -> None:
    assert Record("", {"A": 0.5, "B": 0.49, "C": 1.0}, 1).labels == {"A", "C"}
    assert Record("", None, 1).labels == frozenset()


def test_blank_lines_are_skipped_but_counted(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf\n{"text": "a"}\r\n \t\r\n\n{"text": "b"}'
    records = read_records(put(tmp_path / "gaps.jsonl", content), labelled=False)
    assert [(record.text, record.line) for record in records] == [("a", 2), ("b", 5)]


def test_blank_line_of_plain_text_is_an_empty_text(tmp_path: Path) -> None:
    records = read_records(put(tmp_path / "a.txt", b"a\n\nb\n"), labelled=False)
    assert [record.text for record in records] == ["a", "", "b"]


def test_only_newline_ends_a_line_of_json(tmp_path: Path) -> None:
    text = "a\u2028b\x85c\x0bd\x0ce\tf\rg"
    content = f'{{"text": "{text}"}}\n{{"text": "next"}}\n'.encode()
    records = read_records(put(tmp_path / "odd.jsonl", content), labelled=False)
    assert [(record.text, record.line) for record in records] == [(text, 1), ("next", 2)]


def test_lone_surrogates_are_replaced_and_pairs_are_joined(tmp_path: Path) -> None:
    content = rb'{"text": "\ud800a\ude00\ud83d \ud83d\ude00", "label": "\udcff", "id": "\ud800"}'
    path = put(tmp_path / "s.jsonl", content)
    [record] = read_records(path, labelled=True)
    assert record == Record("\ufffda\ufffd\ufffd 😀", {"\ufffd": 1.0}, 1, {"id": "\ud800"})
    # What isn't read isn't changed, even where UTF-8 has no form for it.
    put(path, JsonlWriter().add([{"text": record.text, **record.extra}]))
    assert read_records(path, labelled=False) == [
        Record(record.text, None, 1, {"id": "\ud800"}),
    ]


def test_json_list_tells_the_line_of_each_record(tmp_path: Path) -> None:
    content = b'\n[\n  {"text": "a"}, {"text":\n "b"},\n\n  ["c", {"id": 1}]\n]\n'
    records = read_records(put(tmp_path / "list.json", content), labelled=False)
    assert [(r.text, r.line, r.extra) for r in records] == [
        ("a", 3, {}),
        ("b", 3, {}),
        ("c", 6, {"id": 1}),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": "a", "label": "X"}\n{"text": "b", "label": "Y"}\n',
        b'["a", {"cats": {"X": 1}}]\n["b", {"cats": {"Y": 1}}]\n',
        b'[["a", {"label": "X"}], ["b", {"label": "Y"}]]',
    ],
)
def test_json_file_may_hold_a_record_on_each_line(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "lines.json", content)
    assert plain(read_records(path, labelled=True)) == [("a", {"X": 1.0}), ("b", {"Y": 1.0})]


def test_table_rows_are_told_by_the_line_they_start_on(tmp_path: Path) -> None:
    content = '\ufeff id , text,label\r\n1,"two\nlines, ""quoted""",A\r\n\r\n2,last, B\r\n'
    path = put(tmp_path / "rows.csv", content.encode())
    assert read_records(path, labelled=True) == [
        Record('two\nlines, "quoted"', {"A": 1.0}, 2, {"id": "1"}),
        Record("last", {"B": 1.0}, 5, {"id": "2"}),
    ]


def test_empty_cells_of_a_table(tmp_path: Path) -> None:
    path = put(tmp_path / "labels.csv", b"text,labels\na,\nb, A | B \nc\n")
    with pytest.raises(DataError, match="line 4: no labels in the record"):
        read_records(path, labelled=True)
    path = put(tmp_path / "labels.csv", b"text,labels\na,\nb, A | B \n,C\n")
    assert plain(read_records(path, labelled=True)) == [
        ("a", {}),
        ("b", {"A": 1.0, "B": 1.0}),
        ("", {"C": 1.0}),
    ]
    path = put(tmp_path / "label.csv", b"text,label\na, \n")
    with pytest.raises(DataError, match="line 2: no labels in the record"):
        read_records(path, labelled=True)


def test_long_texts_in_tables(tmp_path: Path) -> None:
    text = "word " * 100_000
    path = put(tmp_path / "long.csv", as_table([("text",), (text,)], ","))
    assert [record.text for record in read_records(path, labelled=False)] == [text]


@pytest.mark.parametrize(
    ("column", "type_", "given_labels", "expected"),
    [
        ("label", pa.string(), ["A", "B"], [{"A": 1.0}, {"B": 1.0}]),
        ("label", pa.dictionary(pa.int8(), pa.string()), ["A", "B"], [{"A": 1.0}, {"B": 1.0}]),
        ("labels", pa.string(), ["A|B", ""], [{"A": 1.0, "B": 1.0}, {}]),
        ("labels", pa.list_(pa.string()), [["A", "B"], []], [{"A": 1.0, "B": 1.0}, {}]),
        ("cats", None, [{"A": 1.0}, {"B": 0.5}], [{"A": 1.0}, {"B": 0.5}]),
    ],
)
def test_parquet_columns(
    tmp_path: Path, column: str, type_: Any, given_labels: list[Any], expected: list[Any]
) -> None:
    table = pa.table({"text": ["a", "b"], column: pa.array(given_labels, type_), "id": [1, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_records(tmp_path / "t.parquet", labelled=True) == [
        Record(text, cats, row, {"id": number}, partial=column == "cats")
        for text, cats, row, number in zip("ab", expected, (1, 2), (1, None), strict=True)
    ]


def test_parquet_is_read_beyond_its_first_batch(tmp_path: Path) -> None:
    numbers = list(map(str, range(3000)))
    pq.write_table(pa.table({"text": numbers}), tmp_path / "t.parquet", row_group_size=700)
    records = read_records(tmp_path / "t.parquet", labelled=False)
    assert [(record.text, record.line) for record in records] == [
        (number, row) for row, number in enumerate(numbers, start=1)
    ]


def test_parquet_null_is_no_label(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["A", None]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet, row 2: no labels in the record"):
        read_records(tmp_path / "t.parquet", labelled=True)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    path = put(tmp_path / "t.parquet", b"PAR1")
    with pytest.raises(DataError) as caught:
        read_records(path, labelled=False)
    assert caught.value.message == f"{path}: reading Parquet needs pyarrow"
    assert caught.value.hint == 'pip install "trfcli[parquet]"'


def test_doc_with_empty_cats_is_unlabelled(tmp_path: Path) -> None:
    path = put(tmp_path / "docs.spacy", as_spacy([("a", {"X": 1.0}), ("b", {})]))
    assert [record.text for record in read_records(path, labelled=False)] == ["a", "b"]
    with pytest.raises(DataError, match=r"docs\.spacy, doc 2: no labels in the record"):
        read_records(path, labelled=True)


def test_stdin_is_jsonl(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b'{"text": "\xc3\xa9", "label": "A"}\n3\n'), "ascii")
    monkeypatch.setattr(sys, "stdin", stdin)
    records = iter_records("-", labelled=True)
    assert next(records) == Record("é", {"A": 1.0}, 1)
    with pytest.raises(DataError, match="stdin, line 2: the record is a number"):
        next(records)


def test_suffix_in_capitals(tmp_path: Path) -> None:
    path = put(tmp_path / "A.TXT", b"a\n")
    assert plain(read_records(path, labelled=False)) == [("a", None)]
    path = tmp_path / "A.JSONL.GZ"
    path.write_bytes(gzip.compress(b'{"text": "b"}', mtime=0))
    assert plain(read_records(str(path), labelled=False)) == [("b", None)]


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


def test_where_records_are() -> None:
    assert where("a/data.csv", 3) == "a/data.csv, line 3"
    assert where("data.parquet", 3, 3) == "data.parquet, row 3"
    assert where("data.spacy.gz", 3, 9) == "data.spacy.gz, docs 3 to 9"
    assert where("-", 1, 2) == "stdin, lines 1 to 2"


def test_annotated_texts_say_themselves_which_labels_hold(tmp_path: Path) -> None:
    row = {"text": "a", "cats": {"A": 0.4, "B": 0.9, "C": 0.6}, "labels": ["A", "B"]}
    (record,) = read_records(put(tmp_path / "a.jsonl", jsonl(row)), labelled=True)
    assert record == Record("a", {"A": 1.0, "B": 1.0, "C": 0.0}, 1, partial=False)
    put(tmp_path / "a.jsonl", jsonl({**row, "labels": ["D"]}))
    with pytest.raises(DataError, match='"labels" has "D", but "cats" has no value for it'):
        read_records(tmp_path / "a.jsonl", labelled=True)
