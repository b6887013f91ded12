import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.data.formats.jsonl_writer import JsonlWriter
from trfcli_pipeline.data.reading import exports, read_records
from trfcli_pipeline.errors import DataError

texts = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("\n\r\u2028\u2029\x85\0\ufeff"))
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=4,
)
# Records with the keys of annotation tools are converted. Hypothesis finds them in the source.
other_keys = st.dictionaries(
    texts.filter(
        lambda key: key not in {"text", *exports._MARKS} and not key.endswith("responses")
    ),
    values,
    max_size=3,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json")


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(texts, other_keys), min_size=1, max_size=4))
def test_written_rows_round_trip_with_all_keys(
    directory: Path, rows: list[tuple[str, dict[str, Any]]]
) -> None:
    path = directory / "written.jsonl"
    path.write_bytes(JsonlWriter().add({"text": text, **extra} for text, extra in rows))
    records = read_records(path, labeled=False)
    assert [record.row for record in records] == [{"text": text, **extra} for text, extra in rows]
    assert [record.line for record in records] == list(range(1, len(rows) + 1))


def test_written_values_are_plain_json() -> None:
    row = {
        "text": "é",
        "score": np.float32(0.5),
        "vector": np.arange(2),
        "day": datetime.date(2020, 1, 2),
    }
    assert JsonlWriter().add([row]).decode() == (
        '{"text": "é", "score": 0.5, "vector": [0, 1], "day": "2020-01-02"}\n'
    )


json_like = st.text('[]{},:" \n1e.textcatslabel', max_size=60)


def text_of(row: Any) -> str | None:
    match row:
        case {"text": str() as text} | [str() as text, dict()]:
            return text
    return None


@settings(max_examples=200)
@given(text=json_like | values.map(json.dumps))
def test_json_list_is_read_if_and_only_if_it_is_valid(directory: Path, text: str) -> None:
    text = f'[{{"text": "a"}}, {text}]'
    path = directory / "maybe.json"
    path.write_bytes(text.encode())
    try:
        found = [text_of(row) for row in json.loads(text)]
    except ValueError:
        found = [None]
    if None in found:
        with pytest.raises(DataError, match=r'not valid JSON|the record is|"text"'):
            read_records(path, labeled=False)
    else:
        assert [record.text for record in read_records(path, labeled=False)] == found
