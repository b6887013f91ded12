"""Single texts to try a model with: those that were given, or lines of stdin as they come."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trfcli_pipeline.data.formats.rows import BadRowError, bounded_lines, lines
from trfcli_pipeline.data.records import location
from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.tasks.annotation_batches import too_long
from trfcli_pipeline.tasks.predictions import Batch

if TYPE_CHECKING:
    from spacy.language import Language


@dataclass(frozen=True, slots=True)
class BlankLine:
    """A line of stdin that has no text.

    Attributes:
        line: Its number, counted from 1.
    """

    line: int


def check_stdin(texts: Sequence[str] | None, command: str) -> None:
    """Raise a DataError if there are no texts and stdin is closed.

    Args:
        texts: The texts; None for the lines of stdin.
        command: For the hint, such as "trf predict".
    """
    if texts is None and sys.stdin is None:
        raise DataError("stdin: closed", hint=f'Give it a text: {command} MODEL "A text."')


def batches(texts: Sequence[str] | None) -> Iterator[Batch | BlankLine]:
    """Yield the texts as one batch, or each line of stdin as soon as it can be read.

    Args:
        texts: The texts; None for the lines of stdin.

    Raises:
        DataError: A line can't be read.
    """
    if texts is not None:
        numbers = list(range(1, len(texts) + 1))
        yield Batch("", "text", numbers, [*map(without_surrogates, texts)])
        return
    for number, line in lines(bounded_lines(sys.stdin.buffer, "stdin")):
        if isinstance(line, BadRowError):
            raise DataError(
                f"stdin, line {number}: {line.reason}",
                hint="Convert the texts first, for example with: iconv -f latin1 -t utf-8",
            )
        if line.strip():
            yield Batch("stdin", "line", [number], [line])
        else:
            yield BlankLine(number)


def check_lengths(nlp: "Language", batch: Batch) -> None:
    """Raise a DataError if a text is too long for the pipeline."""
    for number, text in zip(batch.lines, batch.texts, strict=True):
        problem = too_long(nlp, text)
        if problem is not None:
            place = location(batch.file, batch.unit, number, number)
            raise DataError(f"{place}: {problem}", hint="Split the text")
