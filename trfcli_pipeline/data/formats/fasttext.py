"""Read the files of fastText, whose lines start with labels such as __label__A."""

import re

from trfcli_pipeline.data.formats.rows import (
    BadRowError,
    Format,
    RawFile,
    Rows,
    bounded_lines,
    lines,
)

PREFIX = "__label__"
_LABEL = re.compile(rf"{PREFIX}(\S+)\s*")


def is_fasttext(sample: str) -> bool:
    """Whether every line of a text starts with a label. The last one may be cut off."""
    found = [line for line in sample[: sample.rfind("\n") + 1].split("\n") if line.strip()]
    return bool(found) and all(line.lstrip().startswith(PREFIX) for line in found)


def read_fasttext(file: RawFile) -> Rows:
    file.remarks.guess("labels start with __label__, as in fastText")
    for number, line in lines(bounded_lines(file.stream, file.name)):
        if isinstance(line, BadRowError):
            yield number, line
        elif line.strip():
            text, labels = line.strip(), []
            while found := _LABEL.match(text):
                labels.append(found[1])
                text = text[found.end() :]
            yield number, {"text": text, "labels": labels}


FASTTEXT = Format(read_fasttext)
