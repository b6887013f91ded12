"""Annotate the texts of a file with the predictions of a pipeline, as a stream."""

import gzip
import sys
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from trfcli_pipeline.data.dataset import STDIN, DataSet, DataSource, as_dataset
from trfcli_pipeline.data.formats import open_writer
from trfcli_pipeline.data.formats.json import escape_invisible
from trfcli_pipeline.data.formats.writing import Writer
from trfcli_pipeline.data.outputs.resumable import ResumableFile
from trfcli_pipeline.data.reading import Reading
from trfcli_pipeline.data.reading.tracking import track_reading
from trfcli_pipeline.data.records import BadRecord, Record
from trfcli_pipeline.errors import DataError, OutputError, PipelineError
from trfcli_pipeline.pipeline.loading import check_pipeline, keep_what_heads_read, load_pipeline
from trfcli_pipeline.pipeline.saved import pipeline_digest
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tasks.annotated_rows import AnnotatedRows
from trfcli_pipeline.tasks.annotation_batches import (
    check_record,
    check_records,
    divide,
    make_batches,
    texts_of,
    uses_accelerator,
)
from trfcli_pipeline.tasks.annotation_progress import Progress
from trfcli_pipeline.tasks.annotation_survey import Survey
from trfcli_pipeline.tasks.skipped_texts import SkippedTexts
from trfcli_pipeline.tasks.table_predictions import TableForm


@dataclass(frozen=True, slots=True)
class AnnotationStarted:
    """The first event.

    Attributes:
        total: Number of texts; None if unknown, as on stdin.
        done: Number of texts that an interrupted run has annotated already.
        resumable: Whether the output can be continued if this run is interrupted.
    """

    total: int | None
    done: int
    resumable: bool = True


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
        left_out: Keys without a column in the table, because its header was written before.
        words_per_second: Speed of this run.
        skipped: Number of texts that were skipped.
        skipped_path: The file that lists them.
        renamed: The name of each prediction whose own name is taken by the input.
        replaced: Columns of the input that an earlier run had written, and this one has replaced.
    """

    texts: int
    words: int
    labels: Mapping[str, int]
    left_out: Sequence[str]
    words_per_second: float
    skipped: int = 0
    skipped_path: Path | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    replaced: Collection[str] = ()


AnnotationEvent = AnnotationStarted | BatchAnnotated | AnnotationFinished


def annotate(  # noqa: PLR0915
    model: str,
    source: DataSource,
    output: str,
    *,
    n_process: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    engine: Literal["local", "ray"] = "local",
    scores: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    resume: bool = False,
    force: bool = False,
) -> Generator[AnnotationEvent, None, None]:
    """Run a pipeline on every text of a file, and write the texts with its predictions, in order.

    The output keeps all columns (or keys) of the input, with their names and in their order. Then
    come the predictions: in .jsonl files as described in `Predictor`, in tables as described in
    `TableForm`. `OutputColumns` says what a prediction is called whose name is taken. Columns that
    an earlier run has written are replaced; see `EarlierPredictions`.

    A file is read once before anything else, so that bad records are reported at once. On stdin
    they are reported when they are reached. A run that was interrupted or failed can be continued
    with `resume`, which checks that the model and the texts are the same.

    Args:
        model: Directory of a pipeline, or name of an installed one.
        source: A data file in any format; "-" reads JSONL from stdin.
        output: A .jsonl, .csv, .tsv, .parquet, .xlsx or .spacy file, optionally with .gz; "-"
            writes JSONL to stdout. All formats are written as a stream, except .xlsx and .spacy,
            which are collected in memory.
        n_process: Number of processes; None for one, or as many as a Ray cluster has GPUs or cores.
            If there are several, each computes with one thread.
        batch_size: Maximum number of texts per batch; None for 256, or 4,096 if a single process
            uses an accelerator. Large batches have many texts of similar length, which saves
            padding, and keep an accelerator busy.
        device: Device for the encoder.
        engine: Where the processes run: on this machine, or on a Ray cluster; see `ray_workers`.
        scores: Whether a table has a column with the score of each label. Other formats have all
            scores anyway.
        on_error: What to do about a text that can't be read or that the pipeline fails on: stop, or
            skip it and list it in a file; see `SkippedTexts`.
        resume: Continue an interrupted run, if there is one; only .jsonl, .csv and .tsv files.
        force: Overwrite an existing output, and what an interrupted run has left of it.

    Raises:
        ArgumentError, DataError, PipelineError, DeviceError, OutputError: The arguments can't be
            used. Only bad records on stdin and failures of the pipeline are reported after work
            has begun.
    """
    writer, data = open_writer(output), as_dataset(source)
    file = _open_output(output, writer, model, source, resume=resume, force=force)
    skip = on_error == "skip"
    with ExitStack() as outputs:
        skipped = None
        if skip:
            # Entered first, it ends last: an output that is complete can't be resumed.
            skipped = outputs.enter_context(
                SkippedTexts(
                    output,
                    resumable=writer.resumable and output != STDIN,
                    resume=resume,
                    force=force,
                    models=[model],
                    data=[source],
                )
            )
        outputs.enter_context(file)
        check_pipeline(model)
        reading = Reading(data, labeled=False)
        read = reading.everything if skip else reading.__iter__
        survey = Survey(writer)
        if not data.is_stdin:
            survey.add_all(track_reading(read(), data))
            survey.header = reading.columns
            _check_number(survey.total, data, output, writer)
        total = None if data.is_stdin else survey.total
        if total is not None and isinstance(file, ResumableFile):
            # The predictions come on top, but compression may take as much away.
            file.check_room(data.size())
        nlp = load_pipeline(model, device=device)
        # torch takes seconds to import, so the checks above come first.
        from trfcli_pipeline.pipeline.running import few_collections
        from trfcli_pipeline.tasks.engines import start_engine
        from trfcli_pipeline.tasks.predictions import Batch, Predictor

        if not writer.takes_docs:
            keep_what_heads_read(nlp)
        if not skip:
            for record in filter(None, (survey.refused, survey.longest)):
                check_record(nlp, writer, record)
        predictor = Predictor(nlp, as_docs=writer.takes_docs, skip=skip)
        form = TableForm(predictor.labels, exclusive=predictor.exclusive, scores=scores)
        rows = AnnotatedRows(writer, survey, surveyed=total is not None, form=form)
        progress = Progress(pipeline_digest(nlp.path), rows, scores=scores, skipped=skipped)
        records = check_records(nlp, writer, read(), skip=skip)
        if isinstance(file, ResumableFile) and file.state:
            progress.restore(file, records)
        if skipped is not None:
            skipped.rewind(file.state.get("skipped"))
        yield AnnotationStarted(total, progress.texts, writer.resumable)

        state = progress.state if writer.resumable else dict[str, Any]
        words_before, start = progress.words, time.perf_counter()
        is_alone = engine == "local" and (n_process or 1) == 1
        for_device = is_alone and uses_accelerator(nlp)
        # The workers run ahead of the output.
        pending: deque[list[Record | BadRecord]] = deque()

        def send() -> Iterator[Batch]:
            for batch in make_batches(records, batch_size, for_device=for_device):
                pending.append(batch)
                yield texts_of(batch)

        with (
            phase("Annotating", total=total, unit="texts", done=progress.texts) as annotating,
            start_engine(predictor, engine, n_process, device=device) as run,
            few_collections(),
        ):
            for predicted in run(send()):
                batch = pending.popleft()
                done, failed = divide(batch, predicted.failed)
                content = rows.write(done, predicted.content)
                progress.add(batch, predicted)
                if skipped is not None:
                    skipped.add(failed)
                if content or writer.resumable:
                    file.append(_compressed(output, content), state())
                annotating.done = progress.texts
                words = progress.words - words_before
                annotating.note = f"{words / (time.perf_counter() - start):,.0f} words/s"
                yield BatchAnnotated(len(batch), predicted.words)
            if pending:
                raise PipelineError(f"{len(pending)} batches of texts got no predictions")
            if content := rows.end():
                file.append(_compressed(output, content), state())
        seconds = time.perf_counter() - start
    yield AnnotationFinished(
        texts=progress.texts - (skipped.number if skipped else 0),
        words=progress.words,
        skipped=skipped.number if skipped else 0,
        skipped_path=Path(skipped.name) if skipped else None,
        labels=progress.labels,
        left_out=sorted(writer.left_out),
        words_per_second=(progress.words - words_before) / seconds,
        renamed={} if rows.columns is None else rows.columns.renamed,
        replaced=() if rows.columns is None else rows.columns.replaced,
    )


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
    output: str, writer: Writer, model: str, source: DataSource, *, resume: bool, force: bool
) -> ResumableFile | _Stdout:
    if output == STDIN:
        if resume:
            raise OutputError("stdout can't be resumed", hint="Write to a file instead")
        return _Stdout()
    if resume and not writer.resumable:
        raise OutputError(
            f"{output}: files of this format can't be resumed", hint="Use .jsonl, .csv or .tsv"
        )
    return ResumableFile(output, resume=resume, force=force, models=[model], data=[source])


def _compressed(output: str, content: bytes) -> bytes:
    """Compress a chunk if the output is a .gz file; gzip members can be concatenated."""
    return gzip.compress(content, mtime=0) if output.lower().endswith(".gz") else content


def _check_number(texts: int, data: DataSet, output: str, writer: Writer) -> None:
    """Check that the output can hold so many texts.

    Raises:
        DataError: It can't.
    """
    most = writer.most_rows
    if most is not None and texts > most:
        raise DataError(
            f"{data}: has {texts:,} texts, but {output} can hold at most {most:,}",
            hint=writer.instead,
        )
