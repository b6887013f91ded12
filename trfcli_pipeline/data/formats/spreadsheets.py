"""Read .xlsx files."""

import zipfile
from io import BytesIO
from typing import Any

from trfcli_pipeline.data.formats.cells import Cells, to_rows
from trfcli_pipeline.data.formats.rows import (
    COPY_AGAIN,
    LARGEST_WHOLE,
    Format,
    RawFile,
    Rows,
    check_whole,
    quoted,
)
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError, needs_extra

# Rows by which the sheet with the table is recognized.
_FIRST_ROWS = 100


def _read_xlsx(file: RawFile) -> Rows:
    with needs_extra(f"{file.name}: reading .xlsx files needs openpyxl", "xlsx", DataError):
        import openpyxl

    content = file.stream.read(LARGEST_WHOLE + 1)
    check_whole(len(content), file.name)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        check_whole(unpacked, file.name)
        book = openpyxl.load_workbook(BytesIO(content), read_only=True, data_only=True)
        names = book.sheetnames
    except DataError:
        raise
    except Exception as error:  # zipfile, XML parsers and openpyxl each raise their own errors
        raise _damaged(file.name) from error
    if not names:
        raise DataError(f"{file.name}: no sheet in it", hint=COPY_AGAIN)
    tables = [each for each in names if _is_table(book[each])]
    name = file.part or (tables or names)[0]
    if name not in names:
        raise DataError(
            f"{file.name}: no sheet is called {quoted(name)}",
            hint=f"Its sheets: {enumeration([quoted(each) for each in names])}",
        )
    if len(names) > 1 and file.part is None:
        file.remarks.guess(
            f"reading {quoted(name)}, one of {len(names)} sheets (another: "
            f"{file.name}#{next(each for each in names if each != name)})"
        )
    return to_rows(_cells(book[name], file.name), file)


def _is_table(sheet: Any) -> bool:
    """Whether a sheet has a table rather than notes, or nothing."""
    wide = [row for row in sheet.iter_rows(max_row=_FIRST_ROWS, values_only=True) if len(row) > 1]
    return sum(sum(cell is not None for cell in row) > 1 for row in wide) > 1


def _cells(sheet: Any, name: str) -> Cells:
    try:
        for place, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            yield place, [_as_text(value) for value in row]
    except Exception as error:
        raise _damaged(name) from error


def _as_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
    return str(value)


def _damaged(name: str) -> DataError:
    return DataError(f"{name}: not an .xlsx file, or damaged", hint=COPY_AGAIN)


XLSX = Format(_read_xlsx, place="row", is_text=False, has_parts=True)
