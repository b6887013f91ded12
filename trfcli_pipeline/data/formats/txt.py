"""Read .txt files: one text per line."""

from typing import IO

from trfcli_pipeline.data.formats.rows import BadRowError, Format, Rows, bounded_lines, lines


def _read_txt(stream: IO[bytes], name: str) -> Rows:
    for number, line in lines(bounded_lines(stream, name)):
        yield number, line if isinstance(line, BadRowError) else {"text": line}


TXT = Format(_read_txt, has_labels=False)
