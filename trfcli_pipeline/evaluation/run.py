"""Run a pipeline on labeled texts, and score its text classifier."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from trfcli_pipeline.data.formats.rows import quoted
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import NonFiniteError, PipelineError, TrfError, one_line
from trfcli_pipeline.evaluation.classifier import Classifier, gold_cats
from trfcli_pipeline.evaluation.eval_prediction import Threshold, read_gold
from trfcli_pipeline.evaluation.results import Evaluation, score_cats
from trfcli_pipeline.progress import track

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc


class PredictionOutput(NamedTuple):
    """What a pipeline predicted for some texts, and how long it took.

    Attributes:
        cats: The scores of each text.
        n_words: Number of tokens that aren't whitespace.
        seconds: Wall-clock time of `nlp.pipe` with all components, including tokenization.
    """

    cats: list[dict[str, float]]
    n_words: int
    seconds: float


def evaluate_classifier(
    nlp: "Language",
    records: Sequence[Record],
    classifier: Classifier,
    *,
    name: str,
    threshold: Threshold | None = None,
    batch_size: int | None = None,
    title: str = "Predicting",
) -> Evaluation:
    """Run a pipeline on labeled texts, and score its text classifier.

    Args:
        records: The texts with their gold labels.
        classifier: The text classifier to score, with its labels in the order of the results.
        threshold: Decision threshold for multi-label classifiers, for all labels or per label. By
            default, the classifier's own.
        name: Name of the data file for messages.
        batch_size: Number of texts in a batch of `nlp.pipe`, by default the pipeline's own.
        title: What to call the predictions as a phase of the work.

    Raises:
        PipelineError: The pipeline predicted no scores for a text.
        NonFiniteError: It predicted one that is NaN or infinite.
        DataError: There is nothing to score, or the labels don't fit the classifier. This is
            checked before the pipeline runs.
    """
    gold = gold_cats(records, classifier, name=name)
    # Fail now rather than after minutes of prediction.
    read_gold(gold, classifier.labels, exclusive=classifier.exclusive)
    texts = [record.text for record in records]
    output = predict_texts(nlp, texts, batch_size=batch_size or nlp.batch_size, title=title)
    evaluation = score_cats(
        gold,
        output.cats,
        classifier.labels,
        exclusive=classifier.exclusive,
        threshold=classifier.threshold if threshold is None else threshold,
    )
    # Nothing was promised for other thresholds, or by spaCy's own classifiers.
    decides_itself = threshold is None or classifier.exclusive
    component: Any = nlp.get_pipe(classifier.name)
    return replace(
        evaluation,
        n_words=output.n_words,
        seconds=output.seconds,
        fitted_abstention=getattr(component, "fitted_abstention", None) if decides_itself else None,
    )


def predict_texts(
    nlp: "Language",
    texts: Sequence[str],
    *,
    batch_size: int = 128,
    on_doc: Callable[["Doc"], None] | None = None,
    title: str | None = None,
) -> PredictionOutput:
    """Run a pipeline on texts, and time it.

    Args:
        on_doc: Called with each Doc, for callers that need more than its scores.
        title: What to call this as a phase of the work; None if it is a part of one.

    Raises:
        PipelineError: The pipeline failed, or didn't return all texts.
        NonFiniteError: The score of a text is NaN or infinite.
    """
    cats: list[dict[str, float]] = []
    n_words = 0
    start = time.perf_counter()
    docs = _annotated(nlp, texts, batch_size)
    if title is not None:
        docs = track(docs, title, total=len(texts), unit="texts")
    for doc in docs:
        check_scores(doc)
        cats.append(dict(doc.cats))
        n_words += count_words(doc)
        if on_doc is not None:
            on_doc(doc)
    seconds = time.perf_counter() - start
    if len(cats) != len(texts):
        raise PipelineError(f"The pipeline returned {len(cats)} of {len(texts)} texts")
    return PredictionOutput(cats, n_words, seconds)


def _annotated(nlp: "Language", texts: Sequence[str], batch_size: int) -> Iterator["Doc"]:
    try:
        yield from nlp.pipe(texts, batch_size=batch_size)
    except TrfError:
        raise
    # Its components may be anyone's.
    except Exception as error:
        raise PipelineError(
            f"The pipeline failed: {one_line(error)}",
            hint="Run the command again with --debug for the traceback",
        ) from error


def check_scores(doc: "Doc") -> None:
    """Check that the scores of a Doc are numbers: other components than ours don't.

    Raises:
        NonFiniteError: One is NaN or infinite.
    """
    for label, score in doc.cats.items():
        if not math.isfinite(score):
            raise NonFiniteError(
                f"the score of {label} for the text {quoted(doc.text)} is {score}",
                hint="The model's weights are damaged: load or train it again",
            )


def count_words(doc: "Doc") -> int:
    """Number of tokens that aren't whitespace."""
    return len(doc) - int(doc.to_array("IS_SPACE").sum())
