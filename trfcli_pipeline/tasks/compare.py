"""Compare the text classifiers of two pipelines on the same texts."""

from collections.abc import Iterator
from contextlib import contextmanager

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation import run
from trfcli_pipeline.evaluation.classifier import check_threshold, find_classifier
from trfcli_pipeline.evaluation.comparison import Comparison, check_comparable
from trfcli_pipeline.pipeline.loading import check_pipeline, load_pipeline


def compare(
    a: str,
    b: str,
    data: DataSource,
    *,
    threshold: float | None = None,
    device: str = "auto",
    batch_size: int | None = None,
) -> tuple[Comparison, list[Record]]:
    """Evaluate two pipelines on the same labeled texts and compare their predictions.

    Args:
        a, b: Directories or names of the pipelines.
        data: A data file of any format; "-" is JSONL on stdin.
        threshold: Decision threshold of multi-label classifiers, by default each one's own.
        device: The device to run the encoders on.
        batch_size: Texts per batch, by default each pipeline's own.

    Returns:
        The comparison and the records, in the same order.

    Raises:
        DataError: A record can't be read, or its labels don't fit the classifiers.
        PipelineError: A pipeline can't be loaded, has no text classifier or fails, or their labels
            differ. The message says which one.
        DeviceError: The machine has no such device.
        ArgumentError: A threshold for exclusive labels.
    """
    for model in (a, b):
        check_pipeline(model)
    records = read_records(data, labeled=True)
    pipelines = [load_pipeline(model, device=device) for model in (a, b)]
    classifiers = [
        find_classifier(nlp, model=model) for nlp, model in zip(pipelines, (a, b), strict=True)
    ]
    names = (f"A ({a})", f"B ({b})")
    check_comparable(*classifiers, names=names)
    check_threshold(threshold, classifiers)
    evaluations = []
    for name, nlp, classifier in zip(names, pipelines, classifiers, strict=True):
        with _named(name):
            evaluation = run.evaluate_classifier(
                nlp,
                records,
                classifier._replace(labels=classifiers[0].labels),
                name=str(as_dataset(data)),
                threshold=threshold,
                batch_size=batch_size,
                title=f"Predicting with {name}",
            )
        evaluations.append(evaluation)
    return Comparison(*evaluations), records


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Add to the error of a pipeline that fails which of the two it is."""
    try:
        yield
    except PipelineError as error:
        raise PipelineError(f"{name}: {error.message}", hint=error.hint) from error
