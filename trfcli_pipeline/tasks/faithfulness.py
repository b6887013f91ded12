"""Test explanations on data: does deleting the tokens that add most lower the score most?"""

from collections.abc import Set
from typing import TYPE_CHECKING

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation.deletion import Faithfulness, summarize_drops
from trfcli_pipeline.evaluation.run import predict_texts
from trfcli_pipeline.pipeline.loading import check_pipeline, load_pipeline
from trfcli_pipeline.progress import track
from trfcli_pipeline.tasks.explainer import Explainer

if TYPE_CHECKING:
    from spacy.tokens import Doc

N_DELETED = 3
N_DRAWS = 5
MAX_TEXTS = 200


def measure_faithfulness(
    model: str,
    data: DataSource,
    *,
    label: str | None = None,
    steps: int | None = None,
    max_texts: int = MAX_TEXTS,
    seed: int = 0,
    device: str = "auto",
) -> Faithfulness:
    """Delete three tokens from each text, and see how much the score of its label drops.

    The tokens that add most to the score are compared with random ones. Whitespace isn't deleted.

    Args:
        model: Directory of a pipeline, or name of an installed one.
        data: The texts, whose labels aren't read.
        label: The label whose score is looked at; by default, the predicted label with the highest
            score.
        steps: See `pipeline.attributions.attribute`.
        max_texts: A random sample of so many texts is tested, if there are more.
        seed: Of the sample and of the random tokens.
        device: Device for the encoder.

    Raises:
        DataError: A text can't be read, or all are too short.
        PipelineError: See `explain.explain`.
    """
    check_pipeline(model)
    texts = [record.text for record in read_records(data, labeled=False)]

    import numpy as np

    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(texts))[:max_texts])
    explainer = Explainer(load_pipeline(model, device=device), model)
    if label is not None:
        explainer.check_label(label)
    docs: list[Doc] = []
    predict_texts(
        explainer.nlp, [texts[index] for index in chosen], on_doc=docs.append, title="Predicting"
    )
    long = [doc for doc in docs if len(_words(doc)) > N_DELETED]
    if not long:
        raise DataError(
            f"{data}: no text has more than {N_DELETED} tokens", hint="Use longer texts"
        )
    explained = [label or explainer.labels_to_explain(doc)[0] for doc in long]
    shortened = []
    for doc, each in track(
        zip(long, explained, strict=True), "Explaining", total=len(long), unit="texts"
    ):
        (found,) = explainer.explain(doc, each, steps=steps)
        words = _words(doc)
        top = sorted(words, key=lambda index: -found.tokens[index].value)[:N_DELETED]
        draws = [generator.choice(words, N_DELETED, replace=False) for _ in range(N_DRAWS)]
        shortened += [_without(doc, indices) for indices in (set(top), *map(set, draws))]
    cats = predict_texts(explainer.nlp, shortened, title="Predicting without tokens").cats
    rows = [cats[at : at + 1 + N_DRAWS] for at in range(0, len(cats), 1 + N_DRAWS)]
    drops = np.array(
        [
            [doc.cats[each] - without[each] for without in row]
            for doc, each, row in zip(long, explained, rows, strict=True)
        ]
    )
    return summarize_drops(
        drops[:, 0], drops[:, 1:], n_short=len(docs) - len(long), n_deleted=N_DELETED
    )


def _words(doc: "Doc") -> list[int]:
    return [token.i for token in doc if not token.is_space]


def _without(doc: "Doc", indices: Set[int]) -> str:
    """Return the text without some tokens, and without the space after each."""
    return "".join(token.text_with_ws for token in doc if token.i not in indices)
