"""Annotate the texts of a file with the predictions of a pipeline, as a stream."""

import gzip
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice, tee
from pathlib import Path
from typing import Any, Literal, Self

from trfcli_pipeline.data.formats import STDIN, open_writer
from trfcli_pipeline.data.formats.json import escape_invisible, to_json
from trfcli_pipeline.data.formats.rows import Writer
from trfcli_pipeline.data.outputs.resumable import ResumableFile
from trfcli_pipeline.data.records import BadRecord, Record, iter_all_records, iter_records
from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.pipeline.loading import check_pipeline, keep_what_heads_read, load_pipeline
from trfcli_pipeline.pipeline.processes import forks_work
from trfcli_pipeline.pipeline.saved import pipeline_digest
from trfcli_pipeline.tasks.annotation_batches import (
    Records,
    check_length,
    check_lengths,
    divide,
    make_batches,
    rows_of,
    texts_of,
)
from trfcli_pipeline.tasks.predictions import Batch, Predicted, Predictor
from trfcli_pipeline.tasks.ray_workers import start_ray_workers
from trfcli_pipeline.tasks.skipped_texts import SkippedTexts
from trfcli_pipeline.tasks.worker_pool import start_workers


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
        skipped: Number of texts that were skipped.
        skipped_path: The file that lists them.
    """

    texts: int
    words: int
    labels: Mapping[str, int]
    left_out: Sequence[str]
    words_per_second: float
    skipped: int = 0
    skipped_path: Path | None = None


AnnotationEvent = AnnotationStarted | BatchAnnotated | AnnotationFinished


def annotate(
    model: str,
    source: str,
    output: str,
    *,
    n_process: int | None = None,
    batch_size: int = 256,
    device: str = "auto",
    engine: Literal["local", "ray"] = "local",
    on_error: Literal["stop", "skip"] = "stop",
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
        n_process: Number of processes; None for one, or as many as a Ray cluster has GPUs or cores.
            If there are several, each computes with one thread.
        batch_size: Maximum number of texts per batch. Large batches have many texts of similar
            length, which saves padding.
        device: Device for the encoder.
        engine: Where the processes run: on this machine, or on a Ray cluster; see `ray_workers`.
        on_error: What to do about a text that can't be read or that the pipeline fails on: stop, or
            skip it and list it in a file; see `SkippedTexts`.
        resume: Continue an interrupted run, if there is one.
        force: Overwrite an existing output, and what an interrupted run has left of it.

    Raises:
        DataError, PipelineError, DeviceError, OutputError: The arguments can't be used. Only bad
            records on stdin and failures of the pipeline are reported after work has begun.
    """
    writer = open_writer(output)
    file = _open_output(output, writer, model, source, resume=resume, force=force)
    skip = on_error == "skip"
    with ExitStack() as outputs:
        skipped = None
        if skip:
            # Entered first, it ends last: an output that is complete can't be resumed.
            skipped = outputs.enter_context(
                SkippedTexts(
                    output,
                    resumable=writer.streams and output != STDIN,
                    resume=resume,
                    force=force,
                    models=[model],
                    data=[source],
                )
            )
        outputs.enter_context(file)
        check_pipeline(model)
        read = iter_all_records if skip else iter_records
        total, longest = _survey(source, read)
        if total is not None and isinstance(file, ResumableFile):
            # The predictions come on top, but compression may take as much away.
            file.check_room(Path(source).stat().st_size)
        nlp = load_pipeline(model, device=device)
        if not writer.takes_docs:
            keep_what_heads_read(nlp)
        if longest is not None and not skip:
            check_length(nlp, source, longest)
        predictor = Predictor(nlp, as_docs=writer.takes_docs, skip=skip)
        progress = _Progress(pipeline_digest(nlp.path), skipped)
        records = check_lengths(nlp, source, read(source, labeled=False), skip=skip)
        if isinstance(file, ResumableFile) and file.state:
            progress.restore(file, records)
            writer.state = file.state["writer"]
        if skipped is not None:
            skipped.rewind(file.state.get("skipped"))
        yield AnnotationStarted(total, progress.texts)

        words_before, start = progress.words, time.perf_counter()
        # The workers run ahead of the output, so the batches are read from two places.
        batches, sent = tee(make_batches(records, batch_size))
        with _workers(predictor, n_process, device, engine) as run:
            results = run(texts_of(source, batch) for batch in sent)
            for batch, predicted in zip(batches, results, strict=True):
                done, failed = divide(batch, predicted.failed)
                content = writer.add(rows_of(done, predicted.content))
                progress.add(batch, predicted)
                if skipped is not None:
                    skipped.add(failed)
                if writer.streams:
                    file.append(_compressed(output, content), progress.state(writer))
                yield BatchAnnotated(len(batch), predicted.words)
            if not writer.streams:
                file.append(_compressed(output, writer.end()), progress.state(writer))
        seconds = time.perf_counter() - start
    yield AnnotationFinished(
        texts=progress.texts - (skipped.number if skipped else 0),
        words=progress.words,
        skipped=skipped.number if skipped else 0,
        skipped_path=Path(skipped.name) if skipped else None,
        labels=progress.labels,
        left_out=sorted(writer.left_out),
        words_per_second=(progress.words - words_before) / seconds,
    )


def _workers(
    predictor: Predictor, n_process: int | None, device: str, engine: str
) -> AbstractContextManager[Callable[[Iterable[Batch]], Iterator[Predicted]]]:
    if engine == "ray":
        return start_ray_workers(predictor, n_process, device=device)
    return start_workers(predictor, n_process or 1, fork=forks_work(predictor.nlp))


class _Stdout:
    """Stands in for a `ResumableFile`."""

    state: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def append(self, chunk: bytes, state: Mapping[str, Any]) -> None:
        # The output may be a terminal, which would act on characters in the texts.
        sys.stdout.buffer.write(escape_invisible(chunk.decode()).encode())
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


def _survey(source: str, read: Callable[..., Records]) -> tuple[int | None, Record | None]:
    """Read all records of a file; return their number and the longest one."""
    if source == STDIN:
        return None, None
    total = 0
    longest: Record | None = None
    for record in read(source, labeled=False):
        total += 1
        if isinstance(record, Record) and len(record.text) > len(longest.text if longest else ""):
            longest = record
    return total, longest


class _Progress:
    """Counts what was annotated, and identifies the texts by a hash."""

    def __init__(self, model: str, skipped: SkippedTexts | None) -> None:
        self.model = model
        self.skipped = skipped
        self.texts = 0
        self.words = 0
        self.labels: Counter[str] = Counter()
        self._input = hashlib.sha256()

    def add(self, batch: Iterable[Record | BadRecord], predicted: Predicted) -> None:
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
            **({} if self.skipped is None else {"skipped": self.skipped.progress}),
        }

    def restore(self, file: ResumableFile, records: Records) -> None:
        """Continue from the state of an interrupted run, and skip the records that are done.

        Raises:
            OutputError: The interrupted run had another model or other texts, or listed skipped
                texts, which this one doesn't; or its state lacks a part.
        """
        match file.state:
            case {
                "model": str(model),
                "input": str(digest),
                "texts": int(texts),
                "words": int(words),
                "labels": dict(labels),
                "writer": dict(),
            } if texts >= 0:
                pass
            case _:
                raise OutputError(
                    f"{file.state_path}: damaged, can't be continued",
                    hint="Use --force to start over",
                )
        if "skipped" in file.state and self.skipped is None:
            raise OutputError(
                f"{file.partial}: written with --on-error skip", hint="Use that option again"
            )
        if model != self.model:
            raise file.mismatch("model")
        self._add_records(islice(records, texts))
        if self._input.hexdigest() != digest:
            raise file.mismatch("input")
        self.words = words
        self.labels = Counter(labels)

    def _add_records(self, records: Iterable[Record | BadRecord]) -> None:
        for record in records:
            self.texts += 1
            content = [record.text, None if isinstance(record, BadRecord) else record.extra]
            self._input.update(f"{to_json(content)}\n".encode(errors="replace"))
