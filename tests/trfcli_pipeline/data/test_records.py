import gzip
import io
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from data_files import CATS_WRITERS, as_spacy, as_table, jsonl, plain, put
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.data.formats.jsonl_writer import JsonlWriter
from trfcli_pipeline.data.reading import Reading, read_records
from trfcli_pipeline.data.reading.cell_values import is_missing
from trfcli_pipeline.data.records import Record, location, where
from trfcli_pipeline.errors import DataError

# With many of the characters that readers trip over: newlines, quotes, delimiters, a BOM.
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


@pytest.mark.parametrize("name", CATS_WRITERS)
@settings(max_examples=40)
@given(rows=st.lists(st.tuples(texts, st.dictionaries(names, values, min_size=1)), min_size=1))
def test_texts_and_cats_round_trip(
    scratch: Path, name: str, rows: list[tuple[str, dict[str, float]]]
) -> None:
    path = put(scratch / name, CATS_WRITERS[name](rows))
    records = read_records(path, labeled=True)
    assert plain(records) == rows
    assert all(record.partial for record in records)
    assert [record.text for record in read_records(path, labeled=False)] == [r[0] for r in rows]


def is_plain_cell(text: str) -> bool:
    """Whether a cell has a value, and doesn't look like a formula that we quoted."""
    return not is_missing(text) and text not in ("-", "--", ".") and not text.startswith("'")


def test_lines_of_delimiters_in_a_cell_are_no_rows(tmp_path: Path) -> None:
    rows = [(",\n,\n", "A"), ("b", "B")]
    path = put(tmp_path / "one.csv", as_table([("text", "label"), *rows], ","))
    assert plain(read_records(path, labeled=True)) == [(t, {label: 1.0}) for t, label in rows]


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t"), (".csv.gz", ",")])
@settings(max_examples=40)
@given(data=st.data())
def test_tables_round_trip(scratch: Path, suffix: str, delimiter: str, data: st.DataObject) -> None:
    # Names that can't be taken for numbers, truth values, missing ones or lists.
    plain_names = names.map(str.strip).filter(is_plain_cell).map("L".__add__)
    table_names = plain_names.filter(set("|;#,").isdisjoint)
    cells = texts.filter(is_plain_cell)
    rows = data.draw(st.lists(st.tuples(cells, table_names), min_size=1))
    path = put(scratch / f"one{suffix}", as_table([("text", "label"), *rows], delimiter))
    assert plain(read_records(path, labeled=True)) == [(t, {label: 1.0}) for t, label in rows]

    several = st.lists(table_names.filter(lambda name: "|" not in name), unique=True)
    # A row of empty cells isn't a record.
    some = st.tuples(cells, several).filter(lambda row: bool(row[0].strip() or row[1]))
    many = data.draw(st.lists(some, min_size=1))
    table = [("labels", "text"), *(("|".join(labels), text) for text, labels in many)]
    path = put(scratch / f"many{suffix}", as_table(table, delimiter))
    expected = [(text, dict.fromkeys(labels, 1.0)) for text, labels in many]
    assert plain(read_records(path, labeled=True)) == expected


@settings(max_examples=40)
@given(lines=st.lists(texts.filter(lambda t: "\n" not in t and t[-1:] != "\r"), min_size=1))
def test_plain_text_round_trips(scratch: Path, lines: list[str]) -> None:
    for end in ("\n", "\r\n"):
        content = "\ufeff" + "".join(line + end for line in lines)
        path = put(scratch / "plain.txt", content.encode())
        records = read_records(path, labeled=False)
        assert [record.text for record in records] == lines
        assert [record.line for record in records] == list(range(1, len(lines) + 1))
        assert all(record.cats is None for record in records)


@settings(max_examples=200)
@given(content=st.binary(), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".txt"]))
def test_arbitrary_bytes_are_read_or_rejected(scratch: Path, content: bytes, suffix: str) -> None:
    path = put(scratch / f"any{suffix}", content)
    try:
        records = read_records(path, labeled=False)
    except DataError as error:
        assert error.message.startswith(str(path))
        assert "\n" not in error.message
    else:
        for record in records:
            record.text.encode("utf-8")


def test_file_may_mix_record_formats(tmp_path: Path) -> None:
    content = jsonl(
        {"text": "a", "cats": {"X": 1, "Y": False, "Z": 0.25}, "id": 7},
        {"label": "X", "text": "b", "meta": {"k": [1]}},
        {"text": "c", "labels": ["X", "Y", "X"]},
        {"text": "d", "labels": []},
        ["e", {"cats": {"X": True}, "id": "p"}],
        ["f", {"label": "Y"}],
        {"text": "g", "cats": {}},
    )
    assert read_records(put(tmp_path / "mixed.jsonl", content), labeled=True) == [
        Record("a", {"X": 1.0, "Y": 0.0, "Z": 0.25}, 1, partial=True),
        Record("b", {"X": 1.0}, 2),
        Record("c", {"X": 1.0, "Y": 1.0}, 3),
        Record("d", {}, 4),
        Record("e", {"X": 1.0}, 5, partial=True),
        Record("f", {"Y": 1.0}, 6),
        Record("g", {}, 7, partial=True),
    ]


def test_unneeded_labels_are_kept_unread(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "a", "label": 3},
        {"text": "b", "cats": "?", "label": ["x"]},
    ]
    path = put(tmp_path / "hf.jsonl", jsonl(*rows))
    assert read_records(path, labeled=False) == [
        Record("a", None, 1, rows[0]),
        Record("b", None, 2, rows[1]),
    ]


def test_label_applies_from_a_value_of_one_half() -> None:
    assert Record("", {"A": 0.5, "B": 0.49, "C": 1.0}, 1).labels == {"A", "C"}
    assert Record("", None, 1).labels == frozenset()


def test_blank_lines_are_skipped_but_counted(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf\n{"text": "a"}\r\n \t\r\n\n{"text": "b"}'
    records = read_records(put(tmp_path / "gaps.jsonl", content), labeled=False)
    assert [(record.text, record.line) for record in records] == [("a", 2), ("b", 5)]


def test_blank_line_in_plain_text_is_an_empty_text(tmp_path: Path) -> None:
    records = read_records(put(tmp_path / "a.txt", b"a\n\nb\n"), labeled=False)
    assert [record.text for record in records] == ["a", "", "b"]


def test_json_lines_end_only_at_newlines(tmp_path: Path) -> None:
    text = "a\u2028b\x85c\x0bd\x0ce\tf\rg"
    content = f'{{"text": "{text}"}}\n{{"text": "next"}}\n'.encode()
    records = read_records(put(tmp_path / "odd.jsonl", content), labeled=False)
    assert [(record.text, record.line) for record in records] == [(text, 1), ("next", 2)]


def test_lone_surrogates_are_replaced_and_pairs_are_joined(tmp_path: Path) -> None:
    content = rb'{"text": "\ud800a\ude00\ud83d \ud83d\ude00", "label": "\udcff", "id": "\ud800"}'
    path = put(tmp_path / "s.jsonl", content)
    [record] = read_records(path, labeled=True)
    assert record == Record("\ufffda\ufffd\ufffd 😀", {"\ufffd": 1.0}, 1)
    # Keys that aren't read stay unchanged, even with lone surrogates.
    row = {"text": record.text, "id": "\ud800"}
    put(path, JsonlWriter().add([row]))
    assert read_records(path, labeled=False) == [Record(record.text, None, 1, row)]


def test_records_of_a_json_list_have_line_numbers(tmp_path: Path) -> None:
    content = b'\n[\n  {"text": "a"}, {"text":\n "b"},\n\n  ["c", {"id": 1}]\n]\n'
    records = read_records(put(tmp_path / "list.json", content), labeled=False)
    assert [(r.text, r.line, r.row) for r in records] == [
        ("a", 3, {"text": "a"}),
        ("b", 3, {"text": "b"}),
        ("c", 6, {"id": 1, "text": "c"}),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": "a", "label": "X"}\n{"text": "b", "label": "Y"}\n',
        b'["a", {"cats": {"X": 1}}]\n["b", {"cats": {"Y": 1}}]\n',
        b'[["a", {"label": "X"}], ["b", {"label": "Y"}]]',
    ],
)
def test_json_file_may_have_one_record_per_line(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "lines.json", content)
    assert plain(read_records(path, labeled=True)) == [("a", {"X": 1.0}), ("b", {"Y": 1.0})]


def test_line_of_a_table_row_is_where_it_starts(tmp_path: Path) -> None:
    content = '\ufeff id , text,label\r\n1,"two\nlines, ""quoted""",A\r\n\r\n2,last, B\r\n'
    path = put(tmp_path / "rows.csv", content.encode())
    assert read_records(path, labeled=True) == [
        Record('two\nlines, "quoted"', {"A": 1.0}, 2),
        Record("last", {"B": 1.0}, 5),
    ]


def test_empty_cells_in_a_table(tmp_path: Path) -> None:
    path = put(tmp_path / "labels.csv", b"text,labels\na,\nb, A | B \nc\n")
    with pytest.raises(DataError, match="line 4: the record has no labels"):
        read_records(path, labeled=True)
    path = put(tmp_path / "labels.csv", b"text,labels\na,\nb, A | B \n,C\n")
    assert plain(read_records(path, labeled=True)) == [
        ("a", {}),
        ("b", {"A": 1.0, "B": 1.0}),
        ("", {"C": 1.0}),
    ]
    path = put(tmp_path / "label.csv", b"text,label\na, \n")
    with pytest.raises(DataError, match='line 2: "label" is empty'):
        read_records(path, labeled=True)


def test_long_text_in_a_table(tmp_path: Path) -> None:
    text = "word " * 100_000
    path = put(tmp_path / "long.csv", as_table([("text",), (text,)], ","))
    assert [record.text for record in read_records(path, labeled=False)] == [text]


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
    assert read_records(tmp_path / "t.parquet", labeled=True) == [
        Record(text, cats, row, partial=column == "cats")
        for text, cats, row in zip("ab", expected, (1, 2), strict=True)
    ]


def test_parquet_file_with_several_batches(tmp_path: Path) -> None:
    numbers = list(map(str, range(3000)))
    pq.write_table(pa.table({"text": numbers}), tmp_path / "t.parquet", row_group_size=700)
    records = read_records(tmp_path / "t.parquet", labeled=False)
    assert [(record.text, record.line) for record in records] == [
        (number, row) for row, number in enumerate(numbers, start=1)
    ]


def test_null_in_parquet_is_a_missing_label(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["A", None]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r't\.parquet, row 2: "label" is null'):
        read_records(tmp_path / "t.parquet", labeled=True)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    path = put(tmp_path / "t.parquet", b"PAR1")
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=False)
    assert (
        caught.value.message
        == f"{path}: reading Parquet files needs pyarrow, which isn't installed"
    )
    assert caught.value.hint == 'pip install "trfcli[parquet]"'


def test_doc_with_empty_cats_is_unlabeled(tmp_path: Path) -> None:
    path = put(tmp_path / "docs.spacy", as_spacy([("a", {"X": 1.0}), ("b", {})]))
    assert [record.text for record in read_records(path, labeled=False)] == ["a", "b"]
    with pytest.raises(DataError, match=r"docs\.spacy, doc 2: the record has no labels"):
        read_records(path, labeled=True)


def test_stdin_is_jsonl(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b'{"text": "\xc3\xa9", "label": "A"}\n3\n'), "ascii")
    monkeypatch.setattr(sys, "stdin", stdin)
    records = iter(Reading("-", labeled=True))
    assert next(records) == Record("é", {"A": 1.0}, 1)
    with pytest.raises(DataError, match="stdin, line 2: the record is a number"):
        next(records)


def test_suffix_may_be_uppercase(tmp_path: Path) -> None:
    path = put(tmp_path / "A.TXT", b"a\n")
    assert plain(read_records(path, labeled=False)) == [("a", None)]
    path = tmp_path / "A.JSONL.GZ"
    path.write_bytes(gzip.compress(b'{"text": "b"}', mtime=0))
    assert plain(read_records(str(path), labeled=False)) == [("b", None)]


def test_location_of_records_in_messages() -> None:
    def record(file: str, unit: str, line: int) -> Record:
        return Record("", None, line, file=file, unit=unit)

    assert where(record("a/data.csv", "line", 3)) == "a/data.csv, line 3"
    assert where(record("a", "row", 3), record("a", "row", 3)) == "a, row 3"
    assert where(record("a", "doc", 3), record("a", "doc", 9)) == "a, docs 3 to 9"
    assert where(record("a", "line", 3), record("b", "line", 9)) == "a, line 3"
    assert where(record("HAM/1.txt", "", 1)) == "HAM/1.txt"
    assert location("", "text", 1, 2) == "texts 1 to 2"


def test_labels_of_annotated_texts_take_precedence_over_scores(tmp_path: Path) -> None:
    row = {"text": "a", "cats": {"A": 0.4, "B": 0.9, "C": 0.6}, "labels": ["A", "B"]}
    (record,) = read_records(put(tmp_path / "a.jsonl", jsonl(row)), labeled=True)
    assert record == Record("a", {"A": 1.0, "B": 1.0, "C": 0.0}, 1, partial=False)
    put(tmp_path / "a.jsonl", jsonl({**row, "labels": ["D"]}))
    with pytest.raises(DataError, match='"labels" contains "D", but "cats" has no value for it'):
        read_records(tmp_path / "a.jsonl", labeled=True)
