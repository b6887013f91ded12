"""Explain the predictions of a text classifier, token by token."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from trfcli_pipeline.data.outputs.files import FileKind, OutputFile, open_file
from trfcli_pipeline.evaluation.explanation import Explanation
from trfcli_pipeline.evaluation.explanation_page import is_explanation_page, render_explanations
from trfcli_pipeline.evaluation.run import predict_texts
from trfcli_pipeline.pipeline.loading import load_pipeline
from trfcli_pipeline.progress import track
from trfcli_pipeline.tasks.explainer import Explainer
from trfcli_pipeline.tasks.single_texts import BlankLine, batches, check_lengths, check_stdin

if TYPE_CHECKING:
    from spacy.tokens import Doc

PAGE = FileKind("a page of trf explain", is_explanation_page)


def explain(
    model: str,
    texts: Sequence[str] | None,
    *,
    label: str | None = None,
    steps: int | None = None,
    threshold: float | None = None,
    html: Path | None = None,
    device: str = "auto",
) -> Iterator[Explanation | BlankLine]:
    """Load a pipeline with a text classifier, to explain its predictions.

    Args:
        model: Directory of a pipeline, or name of an installed one.
        texts: The texts; None for the lines of stdin, as they come.
        label: The label to explain. By default, each label that applies, or the one with the
            highest score.
        steps: Number of gradients that are averaged; see `pipeline.attributions.attribute`.
        threshold: Decision threshold of multi-label classifiers, by default each one's own.
        html: A file to write the explanations to, once there are no more texts.
        device: Device for the encoder.

    Returns:
        An iterator over the explanations.

    Raises:
        PipelineError: The pipeline can't be loaded, has no `trf_textcat`, or no gradients.
        ArgumentError: The classifier doesn't have the label.
        DeviceError: The machine has no such device.
        DataError: A text is too long, or stdin can't be read.
        OutputError: The file can't be written, or wasn't written by this function.
    """
    check_stdin(texts, "trf explain")
    with ExitStack() as claims:
        page = None if html is None else claims.enter_context(open_file(html, PAGE, models=[model]))
        explainer = Explainer(load_pipeline(model, device=device), model, threshold=threshold)
        if label is not None:
            explainer.check_label(label)
        # Released when the last text is explained.
        return _explain(explainer, texts, label, steps, model, page, claims.pop_all())


def _explain(
    explainer: Explainer,
    texts: Sequence[str] | None,
    label: str | None,
    steps: int | None,
    model: str,
    page: OutputFile | None,
    claims: ExitStack,
) -> Iterator[Explanation | BlankLine]:
    shown: list[Explanation] = []
    with claims:
        for batch in batches(texts):
            if isinstance(batch, BlankLine):
                yield batch
                continue
            check_lengths(explainer.nlp, batch)
            docs: list[Doc] = []
            predict_texts(explainer.nlp, batch.texts, on_doc=docs.append)
            for doc in track(docs, "Explaining", total=len(docs), unit="texts"):
                for each in explainer.explain(doc, label, steps=steps):
                    if page is not None:
                        shown.append(each)
                    yield each
        if page is not None:
            page.write(render_explanations(shown, model=model))
