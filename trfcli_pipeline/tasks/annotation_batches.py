"""Batches of records to annotate."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING

from trfcli_pipeline.data.formats.writing import Writer
from trfcli_pipeline.data.records import BadRecord, Record, where
from trfcli_pipeline.errors import DataError

if TYPE_CHECKING:
    from spacy.language import Language

    from trfcli_pipeline.tasks.predictions import Batch

Records = Iterator[Record] | Iterator[Record | BadRecord]

# Texts in a batch, unless its size is given.
_BATCH_TEXTS = 256
# Limits the activations that long texts keep in memory at the same time.
_BATCH_CHARACTERS = 50_000
# A process that has an accelerator for itself encodes some texts while it reads the predictions of
# those before. This needs batches of several times what the accelerator encodes at once.
_DEVICE_FACTOR = 16


def check_record(nlp: "Language", writer: Writer, record: Record) -> None:
    """Check that the pipeline takes a text, and that the output holds its row.

    Raises:
        DataError: One of them doesn't. The message names the record's place.
    """
    bad = _bad_record(nlp, writer, record)
    if bad is not None:
        raise _refused(bad)


def check_records(nlp: "Language", writer: Writer, records: Records, *, skip: bool) -> Records:
    """Check each record, as `check_record`.

    Args:
        nlp: The pipeline.
        writer: The writer of the output.
        records: The records.
        skip: Yield a record that can't be annotated as a `BadRecord`, instead of raising an error.

    Raises:
        DataError: A record can't be annotated.
    """
    for record in records:
        bad = _bad_record(nlp, writer, record) if isinstance(record, Record) else None
        if bad is not None and not skip:
            raise _refused(bad)
        yield bad or record


def _refused(bad: BadRecord) -> DataError:
    return DataError(f"{where(bad)}: {bad.reason}", hint=bad.advice)


def _bad_record(nlp: "Language", writer: Writer, record: Record) -> BadRecord | None:
    if problem := too_long(nlp, record.text):
        return record.bad(problem, "Split the text")
    if problem := writer.refusal(record.row):
        return record.bad(problem, writer.instead)
    return None


def too_long(nlp: "Language", text: str) -> str | None:
    """Say that a text is longer than the pipeline takes; None if it isn't."""
    if len(text) <= nlp.max_length:
        return None
    return (
        f"the text has {len(text):,} characters, but the pipeline takes at most {nlp.max_length:,}"
    )


def make_batches(
    records: Records, size: int | None, *, for_device: bool = False
) -> Iterator[list[Record | BadRecord]]:
    """Divide records into batches, which end early if their texts are long.

    Args:
        records: The records.
        size: Maximum number of records in a batch; None for a number that is fast.
        for_device: Whether the batches are for a process that has an accelerator for itself.
    """
    factor = _DEVICE_FACTOR if for_device and size is None else 1
    size = factor * _BATCH_TEXTS if size is None else size
    batch: list[Record | BadRecord] = []
    characters = 0
    for record in records:
        batch.append(record)
        characters += len(record.text) if isinstance(record, Record) else 0
        if len(batch) == size or characters >= factor * _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def uses_accelerator(nlp: "Language") -> bool:
    """Whether the pipeline's encoder runs on an accelerator."""
    from trfcli_pipeline.pipeline.components import find_component
    from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec

    encoder = find_component(nlp, TransformersTok2Vec)
    return encoder is not None and encoder.model.shim.device.type != "cpu"


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
