from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.data.formats.csv_writer import CsvWriter
from trfcli_pipeline.data.reading import read_records

cells = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from('\n\r\u2028\x85\0",|\t\ufeff'))
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def write(delimiter: str, columns: Iterable[str], *rows: Mapping[str, Any]) -> bytes:
    writer = CsvWriter(delimiter)
    header = writer.start(dict.fromkeys(columns, "text"))
    return header + b"".join(writer.add([each]) for each in rows) + writer.end()


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
@settings(max_examples=60)
@given(data=st.data())
def test_written_rows_round_trip(
    directory: Path, suffix: str, delimiter: str, data: st.DataObject
) -> None:
    row = st.fixed_dictionaries({"text": cells, "id": cells, "score": st.floats(0, 1)})
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    path = directory / f"written{suffix}"
    path.write_bytes(write(delimiter, rows[0], *rows))
    records = read_records(path, labeled=False)
    assert [record.text for record in records] == [each["text"] for each in rows]
    assert [record.row["id"] for record in records] == [each["id"] for each in rows]
    assert [float(record.row["score"]) for record in records] == [each["score"] for each in rows]


def test_all_rows_have_the_columns_of_the_header() -> None:
    writer = CsvWriter(",")
    assert writer.start({"text": "text", "n": "integer", "ok": "text"}) == b"text,n,ok\n"
    rows = [{"text": "a", "n": 1, "ok": True}, {"new": 1, "text": "b"}, {"text": "c", "newer": 2}]
    assert writer.add(rows) == b"a,1,true\nb,,\nc,,\n"
    assert writer.left_out == {"new", "newer"}


def test_lists_and_objects_are_json() -> None:
    row = {"ents": [{"label": "ORG"}], "no": None}
    assert write(",", row, row) == b'ents,no\n"[{""label"": ""ORG""}]",\n'


def test_lone_surrogate_is_replaced_in_a_table() -> None:
    assert write(",", ["text", "\ud801"], {"text": "\ud800"}) == "text,\ufffd\n\ufffd,\n".encode()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("＝1", "'＝1"),
        ("'=1", "''=1"),
        ("-5", "-5"),
        ("+1.5e-3", "+1.5e-3"),
        ("a=1", "a=1"),
        ("'quoted'", "'quoted'"),
    ],
)
def test_text_that_a_spreadsheet_would_run_is_quoted(text: str, cell: str) -> None:
    assert write("\t", ["text"], {"text": text}) == f"text\n{cell}\n".encode()


def test_number_that_is_not_finite_is_an_empty_cell() -> None:
    row = {"text": "a", "b": float("nan")}
    assert write(",", row, row) == b"text,b\na,\n"
