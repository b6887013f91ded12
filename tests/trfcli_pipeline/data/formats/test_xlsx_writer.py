import io
import zipfile
from typing import Any

import openpyxl
import pytest

from trfcli_pipeline.data.formats import xlsx_writer
from trfcli_pipeline.data.formats.writing import Kind
from trfcli_pipeline.data.formats.xlsx_writer import XlsxWriter
from trfcli_pipeline.errors import OutputError

COLUMNS: dict[str, Kind] = {"text": "text", "n": "integer", "score": "number"}


def write(*rows: dict[str, Any]) -> bytes:
    writer = XlsxWriter()
    assert writer.start(COLUMNS) == b""
    assert writer.add(rows) == b""
    return writer.end()


def cells_of(content: bytes) -> list[list[Any]]:
    sheet = openpyxl.load_workbook(io.BytesIO(content)).active
    return [list(row) for row in sheet.iter_rows()]


def test_numbers_are_numbers_and_the_rest_is_text() -> None:
    header, *rows = cells_of(
        write(
            {"text": "007", "n": 7, "score": 0.1},
            {"text": "a\n b ", "score": float("nan")},
            # Excel would round this integer.
            {"text": ["x"], "n": 10**17},
        )
    )
    assert [cell.value for cell in header] == ["text", "n", "score"]
    assert [[cell.value for cell in row] for row in rows] == [
        ["007", 7, 0.1],
        ["a\n b ", None, None],
        ['["x"]', str(10**17), None],
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "@SUM(A1)", "#N/A", "TRUE", "1.5"])
def test_text_is_never_a_formula_or_an_error(text: str) -> None:
    _, [cell, *_] = cells_of(write({"text": text}))
    assert (cell.value, cell.data_type) == (text, "s")


def test_characters_that_xml_lacks_are_escaped() -> None:
    content = write({"text": "a\0\x07\r\ufffe_x0041_ _x_"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<t>a_x0000__x0007__x000D__xFFFE__x005F_x0041_ _x_</t>" in sheet


@pytest.mark.parametrize(
    ("text", "length"),
    [("a" * 32_767, None), ("a" * 32_768, 32_768), ("😀" * 16_384, 32_768), ("\r" * 5_000, 35_000)],
    ids=["longest", "too long", "UTF-16", "escaped"],
)
def test_cell_has_a_longest_text(text: str, length: int | None) -> None:
    refusal = XlsxWriter().refusal({"n": 1, "text": text})
    if length is None:
        assert refusal is None
        _, [cell, *_] = cells_of(write({"text": text}))
        assert cell.value == text
    else:
        assert refusal == (
            f'"text" has {length:,} characters, but a cell of an .xlsx file holds at most 32,767'
        )
        with pytest.raises(OutputError, match=r"^Row 1 of the output: \"text\" has"):
            write({"text": text})


def test_sheet_has_a_last_row_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_writer, "_MOST_ROWS", 2)
    with pytest.raises(OutputError, match=r"Row 3 of the output: an \.xlsx file holds at most 2"):
        write(*({"text": "a"},) * 3)
    columns: dict[str, Kind] = {f"c{number}": "text" for number in range(16_385)}
    with pytest.raises(OutputError, match="at most 16,384 columns, not 16,385"):
        XlsxWriter().start(columns)
