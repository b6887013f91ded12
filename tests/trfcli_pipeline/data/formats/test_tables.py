from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.data.formats.tables import TableWriter
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import OutputError

cells = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from('\n\r\u2028\x85\0",|\t\ufeff'))
)
labels = st.text(st.characters(codec="utf-8", exclude_characters="|"), min_size=1).filter(
    lambda label: label == label.strip() != ""
)
scores = st.floats(0, 1)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
@settings(max_examples=60)
@given(data=st.data())
def test_written_rows_round_trip(
    directory: Path, suffix: str, delimiter: str, data: st.DataObject
) -> None:
    names = data.draw(st.lists(labels, min_size=1, max_size=3, unique=True))
    row = st.fixed_dictionaries(
        {
            "text": cells,
            "id": cells,
            "cats": st.fixed_dictionaries(dict.fromkeys(names, scores)),
            "labels": st.lists(st.sampled_from(names), unique=True),
        }
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    writer = TableWriter(delimiter)
    path = directory / f"written{suffix}"
    path.write_bytes(b"".join(writer.add([each]) for each in rows))
    records = read_records(path, labeled=True)
    assert [record.text for record in records] == [each["text"] for each in rows]
    assert [record.labels for record in records] == [frozenset(each["labels"]) for each in rows]
    records = read_records(path, labeled=False)
    assert [record.row["id"] for record in records] == [each["id"] for each in rows]
    for record, each in zip(records, rows, strict=True):
        read = {name: float(record.row[f"score_{name}"]) for name in names}
        assert read == each["cats"]


def test_first_row_determines_the_columns() -> None:
    writer = TableWriter(",")
    first = writer.add([{"text": "a", "n": 1, "ents": [{"label": "ORG"}], "ok": True, "no": None}])
    assert first == b'text,n,ents,ok,no\na,1,"[{""label"": ""ORG""}]",true,\n'
    other = TableWriter(",")
    # Like a resumed run.
    other.state = writer.state
    assert other.add([{"new": 1, "text": "b"}, {"text": "c", "n": "x", "newer": 2}]) == (
        b"b,,,,\nc,x,,,\n"
    )
    assert other.left_out == {"new", "newer"}


def test_label_with_a_separator_cannot_be_written_to_a_table() -> None:
    row: dict[str, Any] = {"text": "a", "cats": {"a|b": 0.9}, "labels": ["a|b"]}
    with pytest.raises(OutputError, match=r'Label "a\|b": tables use "\|" to separate labels'):
        TableWriter(",").add([row])


def test_lone_surrogate_is_replaced_in_a_table() -> None:
    assert TableWriter(",").add([{"text": "a", "id": "\ud800"}]) == "text,id\na,\ufffd\n".encode()


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
    assert TableWriter("\t").add([{"text": text}]) == f"text\n{cell}\n".encode()


def test_number_that_is_not_finite_is_an_empty_cell() -> None:
    assert TableWriter(",").add([{"text": "a", "b": float("nan")}]) == b"text,b\na,\n"
