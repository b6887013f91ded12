"""Readers give records or a DataError, whatever the bytes of a file."""

import json
import math

import pytest
from data_files import as_arrow, as_parquet, as_spacy, as_table, as_xlsx, reading_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trfcli_pipeline.data.formats import FORMATS
from trfcli_pipeline.data.formats.csv_writer import CsvWriter
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError

VALID = {
    ".parquet": as_parquet([("a", {"A": 1.0}), ("b", {})]),
    ".arrow": as_arrow([("a", {"A": 1.0}), ("b", {})]),
    ".spacy": as_spacy([("a", {"A": 1.0}), ("b", {})]),
    ".json": b'[{"text": "a", "label": "A"}, ["b", {"cats": {"A": 1}}]]',
    ".jsonl": b'{"text": "a", "label": "A"}\n["b", {"cats": {"A": 1}}]\n',
    ".ndjson": b'{"text": "a", "label": "A"}\n',
    ".csv": b'text,label\n"a ""quoted"" word",A\n',
    ".tsv": b"text\tlabels\na\tA|B\n",
    ".txt": b"a\n",
    ".xlsx": as_xlsx([["text", "label"], ["a", "A"], ["b", "B"]]),
}
# JSON values, and more: what json accepts beyond JSON.
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "label", "labels", "cats", "a"]), inner)
    ),
    max_leaves=8,
)
any_bytes = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def read(suffix: str, content: bytes, *, labeled: bool) -> list[Record] | DataError:
    """Read a file, without writing it to disk."""
    try:
        return list(reading_of(suffix, content, labeled=labeled))
    except DataError as error:
        return error


def is_clear(result: list[Record] | DataError) -> bool:
    """Whether there are records, or an error of one line that isn't too long."""
    if isinstance(result, DataError):
        return len(result.message.splitlines()) == 1 and len(result.message) < 500
    return bool(result) and all(isinstance(record, Record) for record in result)


def as_json(value: object) -> object:
    """A value as JSON can hold it: with null for numbers that aren't finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [as_json(each) for each in value]
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    return value


@pytest.mark.parametrize("suffix", FORMATS)
@any_bytes
@given(content=st.binary(max_size=300), labeled=st.booleans())
def test_any_bytes(suffix: str, content: bytes, labeled: bool) -> None:
    assert is_clear(read(suffix, content, labeled=labeled))


@pytest.mark.parametrize("suffix", FORMATS)
@any_bytes
@given(data=st.data())
def test_valid_files_with_changed_bytes(suffix: str, data: st.DataObject) -> None:
    content = bytearray(VALID[suffix])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content)))
        end = place + data.draw(st.integers(0, 3))
        content[place:end] = data.draw(st.binary(max_size=3))
    assert is_clear(read(suffix, bytes(content), labeled=data.draw(st.booleans())))


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@any_bytes
@given(rows=st.lists(values, min_size=1, max_size=3), labeled=st.booleans())
def test_any_values(suffix: str, rows: list[object], labeled: bool) -> None:
    lines = map(json.dumps, rows)
    text = "\n".join(lines) if suffix == ".jsonl" else f"[{', '.join(lines)}]"
    assert is_clear(read(suffix, text.encode(), labeled=labeled))


@pytest.mark.parametrize("delimiter", [",", "\t"])
@any_bytes
@given(rows=st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=3), max_size=3))
def test_any_table(delimiter: str, rows: list[list[str]]) -> None:
    content = as_table([["text", "label"], *rows], delimiter)
    assert is_clear(read(".csv" if delimiter == "," else ".tsv", content, labeled=True))


@any_bytes
@given(value=values)
def test_json_is_valid_whatever_the_values(value: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(to_json(value), parse_constant=refuse) == as_json(value)


# Texts that a spreadsheet would run, and almost such texts.
cells = st.text("=+-@'\t\r\n1.e \"a＝", max_size=6)


@pytest.mark.parametrize("delimiter", [",", "\t"])
@any_bytes
@given(texts=st.lists(cells.filter(str.strip), min_size=1, max_size=4))
def test_formulas_are_quoted_and_read_back(delimiter: str, texts: list[str]) -> None:
    writer = CsvWriter(delimiter)
    content = writer.start({"text": "text", "=more": "text"})
    content += writer.add([{"text": text, "=more": text} for text in texts])
    records = read(".csv" if delimiter == "," else ".tsv", content, labeled=False)
    assert isinstance(records, list)
    assert [(record.text, record.row["=more"]) for record in records] == [
        (text, text) for text in texts
    ]
