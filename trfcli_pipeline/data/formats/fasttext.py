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
# The comma isn't a part of the label: some files have one after each.
_LABEL = re.compile(rf"(?:^|(?<=\s)){PREFIX}(\S+?),?(?:\s+(?:,\s+)?|$)")


def is_fasttext(sample: str) -> bool:
    """Whether most lines of a text have a label, as fastText writes it, at their start or end."""
    found = [line for line in sample[: sample.rfind("\n") + 1].split("\n") if line.strip()]
    return bool(found) and sum(map(_is_labeled, found)) > len(found) / 2


def read_fasttext(file: RawFile) -> Rows:
    file.remarks.guess("labels start with __label__, as in fastText")
    # If lines may have several labels, they may have none.
    several = file.sample.decode("utf-8-sig", errors="replace").split("\n")
    may_have_none = any(line.count(PREFIX) > 1 for line in several)
    for number, line in lines(bounded_lines(file.stream, file.name)):
        if isinstance(line, BadRowError):
            yield number, line
        elif line.strip():
            labels = _LABEL.findall(line)
            found = {"labels": labels} if labels or may_have_none else {}
            yield number, {"text": _LABEL.sub("", line).strip(), **found}


def _is_labeled(line: str) -> bool:
    return line.lstrip().startswith(PREFIX) or line.rsplit(None, 1)[-1].startswith(PREFIX)


FASTTEXT = Format(read_fasttext)
