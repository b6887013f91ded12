"""Batches of records to annotate."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from spacy.language import Language

from trfcli_pipeline.data.formats.writing import Writer
from trfcli_pipeline.data.records import BadRecord, Record, where
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.tasks.predictions import Batch

Records = Iterator[Record] | Iterator[Record | BadRecord]

# Limits the activations that long texts keep in memory at the same time.
_BATCH_CHARACTERS = 50_000


def row_of(record: Record) -> dict[str, Any]:
    """The row of the input that a record is from."""
    return {"text": record.text, **record.extra}


def check_record(nlp: Language, writer: Writer, source: str, record: Record) -> None:
    """Check that the pipeline takes a text, and that the output holds its row.

    Raises:
        DataError: One of them doesn't. The message names the record's line in the file `source`.
    """
    bad = _bad_record(nlp, writer, record)
    if bad is not None:
        raise DataError(f"{where(source, bad.line)}: {bad.reason}", hint=bad.advice)


def check_records(
    nlp: Language, writer: Writer, source: str, records: Records, *, skip: bool
) -> Records:
    """Check each record, as `check_record`.

    Args:
        nlp: The pipeline.
        writer: The writer of the output.
        source: The data file.
        records: Its records.
        skip: Yield a record that can't be annotated as a `BadRecord`, instead of raising an error.

    Raises:
        DataError: A record can't be annotated.
    """
    for record in records:
        if isinstance(record, Record) and not skip:
            check_record(nlp, writer, source, record)
        bad = _bad_record(nlp, writer, record) if isinstance(record, Record) else None
        yield bad or record


def _bad_record(nlp: Language, writer: Writer, record: Record) -> BadRecord | None:
    if len(record.text) > nlp.max_length:
        reason = (
            f"the text has {len(record.text):,} characters, but the pipeline takes at most "
            f"{nlp.max_length:,}"
        )
        return BadRecord(record.line, reason, "Split the text", record.text)
    refusal = writer.refusal(row_of(record))
    return BadRecord(record.line, refusal, writer.instead, record.text) if refusal else None


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


def texts_of(source: str, batch: Iterable[Record | BadRecord]) -> Batch:
    """Return the texts of the good records of a batch."""
    records = [record for record in batch if isinstance(record, Record)]
    lines, texts = [record.line for record in records], [record.text for record in records]
    return Batch(source, lines, texts)


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
            bad.append(BadRecord(record.line, reason, text=record.text))
        else:
            done.append(record)
    return done, bad
