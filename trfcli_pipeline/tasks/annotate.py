"""Applies a pipeline to every text of a file, as a stream, and writes what it predicts."""

import gzip
import hashlib
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Self

from spacy.language import Language

from trfcli_pipeline.data.formats import STDIN, open_writer
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.formats.rows import LABEL_KEYS, Writer
from trfcli_pipeline.data.records import Record, iter_records, where
from trfcli_pipeline.errors import DataError, DeviceError, OutputError
from trfcli_pipeline.pipeline.components import find_component
from trfcli_pipeline.pipeline.loading import check_pipeline, directory_digest, load_pipeline
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.tasks.predictions import Batch, Predicted, Predictor
from trfcli_pipeline.tasks.resumable_file import ResumableFile
from trfcli_pipeline.tasks.worker_pool import Workers

# Texts of a batch: enough to find many of like length.
BATCH_SIZE = 256
# A batch of long texts ends earlier, because their activations are in memory together.
_BATCH_CHARACTERS = 50_000


@dataclass(frozen=True, slots=True)
class Started:
    """The first event.

    Attributes:
        total: Number of texts; None if it isn't known, as on stdin.
        done: Texts among them that an earlier run has annotated.
    """

    total: int | None
    done: int


@dataclass(frozen=True, slots=True)
class Advanced:
    """An event after each batch, once it is written."""

    texts: int
    words: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the output is complete and in its place.

    Attributes:
        texts, words: All of the output's.
        labels: Texts that each label holds for.
        left_out: Keys that the first text doesn't have, and that a table has no column for.
        words_per_second: Of this run.
    """

    texts: int
    words: int
    labels: Mapping[str, int]
    left_out: Sequence[str]
    words_per_second: float


Event = Started | Advanced | Finished


def annotate(
    model: str,
    source: str,
    output: str,
    *,
    n_process: int = 1,
    batch_size: int | None = None,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
) -> Iterator[Event]:
    """Run a pipeline on every text of a file, and write the texts with what it predicts, in order.

    A row of the output has the text, the record's other keys, and those of `Predictor`. A key of
    the record that has the name of one of these, or gives labels, gets the prefix "input_".

    A file is read once before any work, so that a bad record shows at once. On stdin it shows in
    its turn. Whatever ends the work too early, it can be continued with `resume`; whether model
    and texts are the same is checked.

    Args:
        model: Directory or name of a pipeline.
        source: A data file of any format; "-" is JSONL on stdin.
        output: A .jsonl, .csv, .tsv or .spacy file, each also with .gz; "-" is JSONL on stdout.
            A .spacy file is gathered in memory, the others are written as a stream.
        n_process: Number of processes; with several, each computes with one thread.
        batch_size: The most texts of a batch.
        resume: Continue what an interrupted run has left, if it has left something.
        force: Replace an output that exists.

    Raises:
        DataError, PipelineError, DeviceError, OutputError: Something can't be used. All but bad
            records on stdin, and what the pipeline can't do, show before any work.
    """
    writer = open_writer(output)
    file = _open_output(output, writer, resume=resume, force=force)
    check_pipeline(model)
    survey = _Survey.of(source)
    nlp = load_pipeline(model, device=device)
    survey.check(nlp, source)
    _check_processes(nlp, n_process)
    predictor = Predictor(nlp, as_docs=writer.takes_docs)
    progress = _Progress(model=directory_digest(nlp.path))
    records = iter_records(source, labelled=False)
    if isinstance(file, ResumableFile) and file.state:
        progress.restore(file, records)
        writer.state = file.state["writer"]
    yield Started(survey.texts, progress.texts)

    words_before, start = progress.words, time.perf_counter()
    waiting: deque[list[Record]] = deque()
    batches = _batches(nlp, source, records, batch_size or BATCH_SIZE)
    with file, Workers(predictor, n_process) as workers:
        for predicted in workers.map(_sent(source, batches, waiting)):
            batch = waiting.popleft()
            content = writer.add(_rows(batch, predicted.content))
            progress.add(batch, predicted)
            if writer.streams:
                file.append(_packed(output, content), progress.state(writer))
            yield Advanced(len(batch), predicted.words)
        if not writer.streams:
            file.append(_packed(output, writer.end()), progress.state(writer))
    seconds = time.perf_counter() - start
    yield Finished(
        texts=progress.texts,
        words=progress.words,
        labels=progress.labels,
        left_out=sorted(writer.left_out),
        words_per_second=(progress.words - words_before) / seconds,
    )


class _Stdout:
    """Takes what a `ResumableFile` takes, but can't be continued."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def append(self, chunk: bytes, state: Mapping[str, Any]) -> None:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _open_output(
    output: str, writer: Writer, *, resume: bool, force: bool
) -> ResumableFile | _Stdout:
    if output == STDIN:
        if resume:
            raise OutputError("stdout can't be continued", hint="Name a file for the output")
        return _Stdout()
    if resume and not writer.streams:
        raise OutputError(
            f"{output}: can't be continued, because it is only written at the end",
            hint="Use .jsonl, .csv or .tsv",
        )
    return ResumableFile(output, resume=resume, force=force)


def _packed(output: str, content: bytes) -> bytes:
    """The content as the file's name says. What is compressed in parts is read as one."""
    return gzip.compress(content, mtime=0) if output.lower().endswith(".gz") else content


@dataclass(frozen=True, slots=True)
class _Survey:
    """What one look at all records tells; nothing is known about stdin."""

    texts: int | None = None
    longest: int = 0
    longest_line: int = 0

    @classmethod
    def of(cls, source: str) -> "_Survey":
        if source == STDIN:
            return cls()
        texts = longest = line = 0
        for record in iter_records(source, labelled=False):
            texts += 1
            if len(record.text) > longest:
                longest, line = len(record.text), record.line
        return cls(texts, longest, line)

    def check(self, nlp: Language, source: str) -> None:
        _check_length(nlp, source, self.longest, self.longest_line)


class _Progress:
    """What has been annotated so far."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.texts = 0
        self.words = 0
        self.labels: Counter[str] = Counter()
        self._input = hashlib.sha256()

    def add(self, batch: Iterable[Record], predicted: Predicted) -> None:
        self.words += predicted.words
        self.labels += predicted.labels
        self._see(batch)

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
        """Go to where an earlier run has ended, in the records too.

        Raises:
            OutputError: It had another model or other texts.
        """
        state = file.state
        if state["model"] != self.model:
            raise file.made_with_another("model")
        self._see(islice(records, state["texts"]))
        if self._input.hexdigest() != state["input"]:
            raise file.made_with_another("input")
        self.words = state["words"]
        self.labels = Counter(state["labels"])

    def _see(self, records: Iterable[Record]) -> None:
        for record in records:
            self.texts += 1
            self._input.update(f"{to_json([record.text, record.extra])}\n".encode(errors="replace"))


def _check_processes(nlp: Language, n_process: int) -> None:
    encoder = find_component(nlp, TransformersTok2Vec)
    if n_process > 1 and encoder is not None and encoder.model.shim.device.type != "cpu":
        raise DeviceError(
            f"{encoder.model.shim.device}: several processes can't share this device",
            hint="Leave out --n-process, or use --device cpu",
        )


def _check_length(nlp: Language, source: str, length: int, line: int) -> None:
    if length > nlp.max_length:
        raise DataError(
            f"{where(source, line)}: {length:,} characters, and the pipeline takes at most "
            f"{nlp.max_length:,} in a text",
            hint="Split the text",
        )


def _batches(
    nlp: Language, source: str, records: Iterable[Record], size: int
) -> Iterator[list[Record]]:
    batch: list[Record] = []
    characters = 0
    for record in records:
        _check_length(nlp, source, len(record.text), record.line)
        batch.append(record)
        characters += len(record.text)
        if len(batch) == size or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _sent(
    source: str, batches: Iterable[list[Record]], waiting: deque[list[Record]]
) -> Iterator[Batch]:
    """The part of each batch that predicting needs; the records wait here for their results."""
    for batch in batches:
        waiting.append(batch)
        place = where(source, batch[0].line, batch[-1].line)
        yield Batch(place, [record.text for record in batch])


def _rows(
    batch: Sequence[Record], content: list[dict[str, Any]] | bytes
) -> list[dict[str, Any]] | bytes:
    if isinstance(content, bytes):
        return content
    return [_row(record, found) for record, found in zip(batch, content, strict=True)]


def _row(record: Record, found: Mapping[str, Any]) -> dict[str, Any]:
    taken = {*LABEL_KEYS, *found}
    renamed = {f"input_{key}": value for key, value in record.extra.items() if key in taken}
    # A record that was annotated before keeps what it had at first.
    kept = {key: value for key, value in record.extra.items() if key not in taken}
    return {"text": record.text, **renamed, **kept, **found}
