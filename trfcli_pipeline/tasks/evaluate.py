"""Score a pipeline's text classifier on labeled texts."""

from contextlib import ExitStack
from pathlib import Path

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.data.files import read_object
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.outputs.files import FileKind, OutputFile, check_distinct, open_file
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import ArgumentError, OutputError
from trfcli_pipeline.evaluation import report, run
from trfcli_pipeline.evaluation.classifier import check_threshold, find_classifier
from trfcli_pipeline.evaluation.explanation import Explanation
from trfcli_pipeline.evaluation.results import Evaluation
from trfcli_pipeline.pipeline.loading import (
    check_pipeline,
    keep_what_heads_read,
    load_pipeline,
)
from trfcli_pipeline.progress import track
from trfcli_pipeline.tasks.explainer import Explainer
from trfcli_pipeline.tasks.origin import read_origin

# Keys that every file of metrics has.
_METRICS = {"accuracy", "cats_macro_f", "ece", "intervals", "n_scored", "exclusive_classes"}


def _is_metrics(path: Path) -> bool:
    try:
        return read_object(path, OutputError).keys() >= _METRICS
    except OutputError:
        return False


METRICS = FileKind("metrics of trf evaluate", _is_metrics)
REPORT = FileKind("a report of trf evaluate", report.is_report)

# With many mistakes or long texts, explaining them would take longer than the evaluation.
_EXPLAINED_MISTAKES = 50
_EXPLAINED_TOKENS = 10_000


def evaluate(
    model: str,
    data: DataSource,
    *,
    output: Path | None = None,
    html: Path | None = None,
    explain: bool = False,
    threshold: float | None = None,
    device: str = "auto",
    batch_size: int | None = None,
) -> tuple[Evaluation, list[Record]]:
    """Run a pipeline on labeled texts, score its text classifier, and write the files asked for.

    Files and records are checked before the pipeline runs.

    Args:
        model: Directory or name of a pipeline.
        data: A data file of any format; "-" is JSONL on stdin.
        output: A file to write the metrics to, as JSON.
        html: A file to write the report to.
        explain: Whether to highlight the tokens of the most confident mistakes in the report, up to
            50 mistakes or 10,000 tokens.
        threshold: Decision threshold of a multi-label classifier, by default its own.
        device: The device to run the encoder on.
        batch_size: Texts per batch, by default the pipeline's own.

    Returns:
        The evaluation and the records, in the same order.

    Raises:
        DataError: A record can't be read, or its labels don't fit the classifier.
        PipelineError: The pipeline can't be loaded or has no text classifier.
        DeviceError: The machine has no such device.
        OutputError: A file can't be written, is an input, or is there already and wasn't written
            by this function.
        ArgumentError: `explain` without `html`, or a threshold for exclusive labels.
    """
    if explain and html is None:
        raise ArgumentError(
            "--explain is for mistakes in the report",
            hint="Add --html report.html, or explain single texts with trf explain",
        )
    check_distinct(output, html)
    with ExitStack() as claims:
        metrics, page = (
            None
            if path is None
            else claims.enter_context(open_file(path, kind, models=[model], data=[data]))
            for path, kind in ((output, METRICS), (html, REPORT))
        )
        return _evaluate(
            model,
            data,
            metrics=metrics,
            page=page,
            explain=explain,
            threshold=threshold,
            device=device,
            batch_size=batch_size,
        )


def _evaluate(
    model: str,
    data: DataSource,
    *,
    metrics: OutputFile | None,
    page: OutputFile | None,
    explain: bool,
    threshold: float | None,
    device: str,
    batch_size: int | None,
) -> tuple[Evaluation, list[Record]]:
    check_pipeline(model)
    records = read_records(data, labeled=True)
    nlp = load_pipeline(model, device=device)
    # spaCy takes seconds to import, so the checks above come first.
    from trfcli_pipeline.pipeline.running import few_collections

    keep_what_heads_read(nlp)
    classifier = find_classifier(nlp, model=model)
    check_threshold(threshold, [classifier])
    # Fail now rather than after minutes of prediction.
    explainer = Explainer(nlp, model, threshold=threshold) if explain else None
    history = [] if page is None else report.read_history(nlp.path)
    with few_collections():
        result = run.evaluate_classifier(
            nlp,
            records,
            classifier,
            name=str(as_dataset(data)),
            threshold=threshold,
            batch_size=batch_size,
        )
    if metrics is not None:
        metrics.write(f"{to_json(result.metrics(), indent=2)}\n")
    if page is not None:
        training = read_origin(nlp.meta)["training"] or {}
        page.write(
            report.render_report(
                result,
                records,
                model=model,
                pipeline=f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}",
                data=str(data),
                history=history,
                metric=training.get("metric", "score"),
                explanations=_explain_mistakes(explainer, result, records),
            )
        )
    return result, records


def _explain_mistakes(
    explainer: Explainer | None, result: Evaluation, records: list[Record]
) -> dict[int, Explanation]:
    """Explain the most confident mistakes. Returns the explanations by the texts' indices."""
    found: dict[int, Explanation] = {}
    if explainer is None:
        return found
    n_tokens = 0
    some = result.mistakes[::-1][:_EXPLAINED_MISTAKES]
    for mistake in track(some, "Explaining mistakes", total=len(some), unit="texts"):
        doc = explainer.nlp(records[mistake.index].text)
        n_tokens += len(doc)
        if n_tokens > _EXPLAINED_TOKENS:
            break
        (found[mistake.index],) = explainer.explain(doc, mistake.label)
    return found
