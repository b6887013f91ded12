"""Annotate the texts of a file with the predictions of a pipeline, as a stream."""

import gzip
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, tee
from pathlib import Path
from typing import Any, Self

from spacy.language import Language

from trfcli_pipeline.data.formats import STDIN, open_writer
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.formats.rows import LABEL_KEYS, Writer
from trfcli_pipeline.data.outputs.resumable import ResumableFile
from trfcli_pipeline.data.records import Record, iter_records, where
from trfcli_pipeline.errors import DataError, OutputError
from trfcli_pipeline.pipeline.loading import check_pipeline, keep_what_heads_read, load_pipeline
from trfcli_pipeline.pipeline.processes import forks_work
from trfcli_pipeline.pipeline.saved import pipeline_digest
from trfcli_pipeline.tasks.predictions import Batch, Predicted, Predictor
from trfcli_pipeline.tasks.worker_pool import start_workers

# Limits the activations that long texts keep in memory at the same time.
_BATCH_CHARACTERS = 50_000


@dataclass(frozen=True, slots=True)
class AnnotationStarted:
    """The first event.

    Attributes:
        total: Number of texts; None if unknown, as on stdin.
        done: Number of texts that an interrupted run has annotated already.
    """

    total: int | None
    done: int


@dataclass(frozen=True, slots=True)
class BatchAnnotated:
    """A batch was annotated and written."""

    texts: int
    words: int


@dataclass(frozen=True, slots=True)
class AnnotationFinished:
    """The last event: the output is complete.

    Attributes:
        texts, words: Totals of the output, including the texts of an interrupted run.
        labels: Number of texts that each label was predicted for.
        left_out: Keys without a column in the table, because the first text doesn't have them.
        words_per_second: Speed of this run.
    """

    texts: int
    words: int
    labels: Mapping[str, int]
    left_out: Sequence[str]
    words_per_second: float


AnnotationEvent = AnnotationStarted | BatchAnnotated | AnnotationFinished


def annotate(
    model: str,
    source: str,
    output: str,
    *,
    n_process: int = 1,
    batch_size: int = 256,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
) -> Generator[AnnotationEvent, None, None]:
    """Run a pipeline on every text of a file, and write the texts with its predictions, in order.

    A row of the output has the text, the other keys of the record, and the keys described in
    `Predictor`. If a record's own key is one of those or gives labels, it is written with the
    prefix "input_".

    A file is read once before anything else, so that bad records are reported at once. On stdin
    they are reported when they are reached. A run that was interrupted or failed can be continued
    with `resume`, which checks that the model and the texts are the same.

    Args:
        model: Directory of a pipeline, or name of an installed one.
        source: A data file in any format; "-" reads JSONL from stdin.
        output: A .jsonl, .csv, .tsv or .spacy file, optionally with .gz; "-" writes JSONL to
            stdout. All formats are written as a stream, except .spacy, which is collected in
            memory.
        n_process: Number of processes. If there are several, each computes with one thread.
        batch_size: Maximum number of texts per batch. Large batches have many texts of similar
            length, which saves padding.
        device: Device for the encoder.
        resume: Continue an interrupted run, if there is one.
        force: Overwrite an existing output, and what an interrupted run has left of it.

    Raises:
        DataError, PipelineError, DeviceError, OutputError: The arguments can't be used. Only bad
            records on stdin and failures of the pipeline are reported after work has begun.
    """
    writer = open_writer(output)
    with _open_output(output, writer, model, source, resume=resume, force=force) as file:
        check_pipeline(model)
        total, longest = _survey(source)
        if total is not None and isinstance(file, ResumableFile):
            # The predictions come on top, but compression may take as much away.
            file.check_room(Path(source).stat().st_size)
        nlp = load_pipeline(model, device=device)
        if not writer.takes_docs:
            keep_what_heads_read(nlp)
        if longest is not None:
            _check_length(nlp, source, longest)
        predictor = Predictor(nlp, as_docs=writer.takes_docs)
        progress = _Progress(model=pipeline_digest(nlp.path))
        records = iter_records(source, labeled=False)
        if isinstance(file, ResumableFile) and file.state:
            progress.restore(file, records)
            writer.state = file.state["writer"]
        yield AnnotationStarted(total, progress.texts)

        words_before, start = progress.words, time.perf_counter()
        # The workers run ahead of the output, so the batches are read from two places.
        batches, sent = tee(_batches(nlp, source, records, batch_size))
        with start_workers(predictor, n_process, fork=forks_work(nlp)) as run:
            results = run(_texts(source, batch) for batch in sent)
            for batch, predicted in zip(batches, results, strict=True):
                content = writer.add(_rows(batch, predicted.content))
                progress.add(batch, predicted)
                if writer.streams:
                    file.append(_compressed(output, content), progress.state(writer))
                yield BatchAnnotated(len(batch), predicted.words)
            if not writer.streams:
                file.append(_compressed(output, writer.end()), progress.state(writer))
        seconds = time.perf_counter() - start
    yield AnnotationFinished(
        texts=progress.texts,
        words=progress.words,
        labels=progress.labels,
        left_out=sorted(writer.left_out),
        words_per_second=(progress.words - words_before) / seconds,
    )


class _Stdout:
    """Stands in for a `ResumableFile`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def append(self, chunk: bytes, state: Mapping[str, Any]) -> None:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _open_output(
    output: str, writer: Writer, model: str, source: str, *, resume: bool, force: bool
) -> ResumableFile | _Stdout:
    if output == STDIN:
        if resume:
            raise OutputError("stdout can't be resumed", hint="Write to a file instead")
        return _Stdout()
    if resume and not writer.streams:
        raise OutputError(
            f"{output}: can't be resumed, because it is only written at the end",
            hint="Use .jsonl, .csv or .tsv",
        )
    return ResumableFile(output, resume=resume, force=force, models=[model], data=[source])


def _compressed(output: str, content: bytes) -> bytes:
    """Compress a chunk if the output is a .gz file; gzip members can be concatenated."""
    return gzip.compress(content, mtime=0) if output.lower().endswith(".gz") else content


def _survey(source: str) -> tuple[int | None, Record | None]:
    """Read all records of a file; return their number and the longest one."""
    if source == STDIN:
        return None, None
    total, longest = 0, None
    for record in iter_records(source, labeled=False):
        total += 1
        if longest is None or len(record.text) > len(longest.text):
            longest = record
    return total, longest


class _Progress:
    """Counts what was annotated, and identifies the texts by a hash."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.texts = 0
        self.words = 0
        self.labels: Counter[str] = Counter()
        self._input = hashlib.sha256()

    def add(self, batch: Iterable[Record], predicted: Predicted) -> None:
        self.words += predicted.words
        self.labels += predicted.labels
        self._add_records(batch)

    def state(self, writer: Writer) -> dict[str, Any]:
        return {
            "model": self.model,
            "input": self._input.hexdigest(),
            "texts": self.texts,
            "words": self.words,
            "labels": dict(self.labels),
            "writer": writer.state,
        }

    def restore(self, file: ResumableFile, records: Iterator[Record]) -> None:
        """Continue from the state of an interrupted run, and skip the records that are done.

        Raises:
            OutputError: The interrupted run had another model or other texts.
        """
        state = file.state
        if state["model"] != self.model:
            raise file.mismatch("model")
        self._add_records(islice(records, state["texts"]))
        if self._input.hexdigest() != state["input"]:
            raise file.mismatch("input")
        self.words = state["words"]
        self.labels = Counter(state["labels"])

    def _add_records(self, records: Iterable[Record]) -> None:
        for record in records:
            self.texts += 1
            self._input.update(f"{to_json([record.text, record.extra])}\n".encode(errors="replace"))


def _check_length(nlp: Language, source: str, record: Record) -> None:
    if len(record.text) > nlp.max_length:
        raise DataError(
            f"{where(source, record.line)}: the text has {len(record.text):,} characters, but the "
            f"pipeline takes at most {nlp.max_length:,}",
            hint="Split the text",
        )


def _batches(
    nlp: Language, source: str, records: Iterable[Record], size: int
) -> Iterator[list[Record]]:
    batch: list[Record] = []
    characters = 0
    for record in records:
        _check_length(nlp, source, record)
        batch.append(record)
        characters += len(record.text)
        if len(batch) == size or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _texts(source: str, batch: Sequence[Record]) -> Batch:
    place = where(source, batch[0].line, batch[-1].line)
    return Batch(place, [record.text for record in batch])


def _rows(
    batch: Sequence[Record], content: list[dict[str, Any]] | bytes
) -> list[dict[str, Any]] | bytes:
    if isinstance(content, bytes):
        return content
    return [_row(record, found) for record, found in zip(batch, content, strict=True)]


def _row(record: Record, predicted: Mapping[str, Any]) -> dict[str, Any]:
    taken = {*LABEL_KEYS, *predicted}
    renamed = {f"input_{key}": value for key, value in record.extra.items() if key in taken}
    # In the output of an earlier run, "input_" keys are the original ones.
    kept = {key: value for key, value in record.extra.items() if key not in taken}
    return {"text": record.text, **renamed, **kept, **predicted}
