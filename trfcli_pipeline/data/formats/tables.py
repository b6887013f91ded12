"""Read .csv and .tsv files."""

import csv
from functools import partial

from trfcli_pipeline.data.formats.cells import Cells, to_rows
from trfcli_pipeline.data.formats.dialects import Dialect, guess_dialect, swallowed_rows
from trfcli_pipeline.data.formats.formulas import plain_text
from trfcli_pipeline.data.formats.rows import (
    LONGEST_LINE,
    QUOTE_FIELDS,
    BadRowError,
    Format,
    RawFile,
    Rows,
    bad_utf8,
    bounded_lines,
)
from trfcli_pipeline.data.formats.streams import SAMPLE
from trfcli_pipeline.data.surrogates import SURROGATE
from trfcli_pipeline.data.wording import plural


def _read_table(file: RawFile, delimiter: str) -> Rows:
    # The default of 131,072 characters is less than a book. The limit is global to the csv module;
    # it can't be set for a single reader.
    csv.field_size_limit(LONGEST_LINE)
    sample = file.sample.decode("utf-8-sig", errors="surrogateescape")
    if len(file.sample) >= SAMPLE:
        sample = sample[: sample.rfind("\n") + 1] or sample
    dialect = guess_dialect(sample, delimiter, file.options)
    for remark in dialect.remarks:
        file.remarks.guess(remark)
    return to_rows(_cells(file, dialect), file)


def _cells(file: RawFile, dialect: Dialect) -> Cells:
    # Invalid bytes become surrogates, which valid UTF-8 never contains, and are found row by row.
    lines = (
        raw.decode("utf-8-sig" if number == 0 else "utf-8", errors="surrogateescape")
        for number, raw in enumerate(bounded_lines(file.stream, file.name))
        if number >= dialect.n_skipped
    )
    reader = dialect.reader(lines)
    width = 0
    while True:
        place = reader.line_num + 1 + dialect.n_skipped
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, _bad_csv(error)
            continue
        cells = [plain_text(cell) for cell in cells]
        content = "".join(cells)
        undecoded = SURROGATE.search(content)
        if undecoded:
            yield place, bad_utf8(ord(undecoded.group()) - 0xDC00)
            continue
        width = width or len(cells)
        swallowed = 0
        if "\n" in content:
            swallowed = sum(swallowed_rows(cell, dialect.delimiter, width) for cell in cells)
        if swallowed:
            file.remarks.odd(
                f"line {place}: a quoted field has {plural(swallowed, 'line')} in it that look"
                f"{'s' if swallowed == 1 else ''} like rows: is a quote missing? (--quoting none)"
            )
        yield place, cells


def _bad_csv(error: csv.Error) -> BadRowError:
    if "unexpected end" in str(error):
        return BadRowError("the quoted field that starts here is never closed", advice=QUOTE_FIELDS)
    return BadRowError(f"not valid CSV ({str(error).partition(' - ')[0]})", advice=QUOTE_FIELDS)


CSV = Format(partial(_read_table, delimiter=","), is_table=True)
TSV = Format(partial(_read_table, delimiter="\t"), is_table=True)
