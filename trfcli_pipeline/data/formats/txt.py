"""Read .txt files: one text per line, unless they are tables or have the labels of fastText."""

from trfcli_pipeline.data.column_names import LABELS, TEXTS, first_of
from trfcli_pipeline.data.formats.dialects import guess_dialect
from trfcli_pipeline.data.formats.fasttext import is_fasttext, read_fasttext
from trfcli_pipeline.data.formats.rows import (
    BadRowError,
    Format,
    RawFile,
    Rows,
    bounded_lines,
    lines,
)
from trfcli_pipeline.data.formats.tables import TSV
from trfcli_pipeline.errors import DataError


def _read_txt(file: RawFile) -> Rows:
    sample = file.sample.decode("utf-8-sig", errors="replace")
    delimiter = guess_dialect(sample, "\t", file.options).delimiter
    cells = [cell.strip(' "') for cell in sample.partition("\n")[0].split(delimiter)]
    if is_fasttext(sample):
        return read_fasttext(file)
    is_named = first_of(TEXTS, cells) is not None and first_of(LABELS, cells) is not None
    if len(cells) > 1 and (is_named or file.options.delimiter or (file.labeled and "\t" in sample)):
        return TSV.read(file)
    if file.labeled:
        raise DataError(
            f"{file.name}: a .txt file has no labels, but labels are needed",
            hint="Use a table, such as .csv with the columns text and label",
        )
    return _texts(file)


def _texts(file: RawFile) -> Rows:
    for number, line in lines(bounded_lines(file.stream, file.name)):
        yield number, line if isinstance(line, BadRowError) else {"text": line}


TXT = Format(_read_txt)
