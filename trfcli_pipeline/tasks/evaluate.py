"""Score a pipeline's text classifier on labeled texts."""

import json
from pathlib import Path

from trfcli_pipeline.data import atomic
from trfcli_pipeline.data.records import Record, read_records
from trfcli_pipeline.evaluation import report, run
from trfcli_pipeline.evaluation.classifier import find_classifier
from trfcli_pipeline.evaluation.results import Evaluation
from trfcli_pipeline.pipeline.loading import keep_what_heads_read, load_pipeline


def evaluate(
    model: str,
    data: str,
    *,
    output: Path | None = None,
    html: Path | None = None,
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
        threshold: Decision threshold of a multi-label classifier, by default its own.
        device: The device to run the encoder on.
        batch_size: Texts per batch, by default the pipeline's own.

    Returns:
        The evaluation and the records, in the same order.

    Raises:
        DataError: A record can't be read, or its labels don't fit the classifier.
        PipelineError: The pipeline can't be loaded or has no text classifier.
        DeviceError: The machine has no such device.
        OutputError: A file can't be written.
    """
    for path in (output, html):
        if path is not None:
            atomic.check_file(path)
    records = read_records(data, labeled=True)
    nlp = load_pipeline(model, device=device)
    keep_what_heads_read(nlp)
    classifier = find_classifier(nlp, model=model)
    history = [] if html is None else report.read_history(nlp.path)
    result = run.evaluate_classifier(
        nlp, records, classifier, name=data, threshold=threshold, batch_size=batch_size
    )
    if output is not None:
        metrics = json.dumps(result.metrics(), indent=2, ensure_ascii=False)
        atomic.write_text(output, f"{metrics}\n")
    if html is not None:
        pipeline = f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"
        page = report.render_report(
            result, records, model=model, pipeline=pipeline, data=data, history=history
        )
        atomic.write_text(html, page)
    return result, records
