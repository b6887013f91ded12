"""Batches of records to annotate: from the records of a file to the rows of the output."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.formats.rows import LABEL_KEYS
from trfcli_pipeline.data.records import BadRecord, Record, where
from trfcli_pipeline.errors import DataError

if TYPE_CHECKING:
    from spacy.language import Language

    from trfcli_pipeline.tasks.predictions import Batch

Records = Iterator[Record] | Iterator[Record | BadRecord]

# Limits the activations that long texts keep in memory at the same time.
_BATCH_CHARACTERS = 50_000


def check_length(nlp: "Language", record: Record) -> None:
    """Check that a text isn't longer than the pipeline takes.

    Raises:
        DataError: It is. The message names its place.
    """
    problem = too_long(nlp, record.text)
    if problem is not None:
        raise DataError(f"{where(record)}: {problem}", hint="Split the text")


def check_lengths(nlp: "Language", records: Records, *, skip: bool) -> Records:
    """Check the length of each text, as `check_length`.

    Args:
        nlp: The pipeline.
        records: The records.
        skip: Yield a text that is too long as a `BadRecord`, instead of raising an error.

    Raises:
        DataError: A text is too long.
    """
    for record in records:
        if isinstance(record, Record) and not skip:
            check_length(nlp, record)
        problem = too_long(nlp, record.text) if isinstance(record, Record) else None
        yield record if problem is None or isinstance(record, BadRecord) else record.bad(problem)


def too_long(nlp: "Language", text: str) -> str | None:
    """Say that a text is longer than the pipeline takes; None if it isn't."""
    if len(text) <= nlp.max_length:
        return None
    return (
        f"the text has {len(text):,} characters, but the pipeline takes at most {nlp.max_length:,}"
    )


def make_batches(records: Records, size: int) -> Iterator[list[Record | BadRecord]]:
    """Divide records into batches of at most `size` records, fewer if their texts are long."""
    batch: list[Record | BadRecord] = []
    characters = 0
    for record in records:
        batch.append(record)
        characters += len(record.text) if isinstance(record, Record) else 0
        if len(batch) == size or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def texts_of(batch: Iterable[Record | BadRecord]) -> "Batch":
    """Return the texts of the good records of a batch."""
    from trfcli_pipeline.tasks.predictions import Batch

    records = [record for record in batch if isinstance(record, Record)]
    lines, texts = [record.line for record in records], [record.text for record in records]
    file, unit = (records[0].file, records[0].unit) if records else ("", "line")
    return Batch(file, unit, lines, texts)


def divide(
    batch: Iterable[Record | BadRecord], failed: Mapping[int, str]
) -> tuple[list[Record], list[BadRecord]]:
    """Divide a batch into the records that were annotated, and those that weren't.

    Args:
        failed: Why records failed, by their index among the good ones.
    """
    done: list[Record] = []
    bad: list[BadRecord] = []
    index = count()
    for record in batch:
        if isinstance(record, BadRecord):
            bad.append(record)
        elif (reason := failed.get(next(index))) is not None:
            bad.append(record.bad(reason))
        else:
            done.append(record)
    return done, bad


def rows_of(
    batch: Sequence[Record], content: list[dict[str, Any]] | bytes
) -> list[dict[str, Any]] | bytes:
    """Return the rows of the output, or the DocBin that holds them.

    Args:
        batch: The records that were annotated.
        content: Their predictions; see `Predicted`.
    """
    if isinstance(content, bytes):
        return content
    return [_row(record, found) for record, found in zip(batch, content, strict=True)]


def _row(record: Record, predicted: Mapping[str, Any]) -> dict[str, Any]:
    extra = {key: value for key, value in record.row.items() if key != "text"}
    taken = {*LABEL_KEYS, *predicted}
    renamed = {f"input_{key}": value for key, value in extra.items() if key in taken}
    # In the output of an earlier run, "input_" keys are the original ones.
    kept = {key: value for key, value in extra.items() if key not in taken}
    return {"text": record.text, **renamed, **kept, **predicted}
