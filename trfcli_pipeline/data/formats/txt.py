"""Read .txt files: one text per line, unless they are tables or have the labels of fastText."""

from trfcli_pipeline.data.column_names import names_both
from trfcli_pipeline.data.formats.dialects import guess_dialect
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

# As many lines that look like rows can't be texts.
_LEAST_ROWS, _ROWS = 10, 1_000


def _read_txt(file: RawFile) -> Rows:
    sample = file.sample.decode("utf-8-sig", errors="replace")
    dialect = guess_dialect(sample, "", file.options)
    if dialect.delimiter and (
        file.options.delimiter or _is_table(sample, dialect.delimiter, labeled=file.labeled)
    ):
        return TSV.read(file)
    if file.labeled and sample.strip():
        raise DataError(
            f"{file.name}: one text per line, but labels are needed",
            hint="Use a table with columns of texts and labels, or name what separates the "
            'columns: --delimiter ";"',
        )
    return _texts(file)


def _is_table(sample: str, delimiter: str, *, labeled: bool) -> bool:
    """Whether lines are rows rather than texts that have the delimiter as punctuation."""
    lines = [line for line in sample.split("\n") if line.strip()]
    if not lines:
        return False
    cells = [cell.strip(' "') for cell in lines[0].split(delimiter)]
    if names_both(cells):
        return True
    widths = {line.count(delimiter) for line in lines[:_ROWS]}
    # Lines of texts would have no labels.
    return len(widths) == 1 and (labeled or (delimiter != "," and len(lines) >= _LEAST_ROWS))


def _texts(file: RawFile) -> Rows:
    for number, line in lines(bounded_lines(file.stream, file.name)):
        yield number, line if isinstance(line, BadRowError) else {"text": line}


TXT = Format(_read_txt, is_table=True)
