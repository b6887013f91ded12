"""What each token adds to the score of a label: `doc._.trf_attributions("LABEL")`.

The score is the log-odds of the label, the base is that of an empty input. Tokens add up to their
difference: that is the completeness axiom of integrated gradients (Sundararajan et al. 2017,
"Axiomatic Attribution for Deep Networks", proposition 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from thinc.api import set_dropout_rate

from trfcli_pipeline.encoder.activations import KINDS
from trfcli_pipeline.encoder.attribution import encode_scaled
from trfcli_pipeline.errors import ArgumentError, PipelineError
from trfcli_pipeline.heads.log_odds import log_odds
from trfcli_pipeline.pipeline.component_hooks import CLASSIFIER, ENCODER, find_components
from trfcli_pipeline.pipeline.doc_outputs import assign_outputs, clear_outputs
from trfcli_pipeline.pipeline.doc_rows import start_download, word_pieces
from trfcli_pipeline.pipeline.pending_update import PendingUpdate
from trfcli_pipeline.tokenization.extensions import doc_alignment, install_extension

# Tokens add up to the difference to within this share of it, or this many log-odds.
TOLERANCE = 0.01
# Numbers of steps that are tried until they do.
_STEPS = (16, 32, 64, 128, 256)
# Wordpieces that are encoded together; a longer text goes alone.
_BATCH_PIECES = 4096

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attributions:
    """What the tokens of a text add to the score of a label.

    Attributes:
        label: The label.
        values: float32; 0.0 for a token that the encoder doesn't see. *Shape:* (tokens,)
        score: The log-odds of the label for the text.
        base: The log-odds of the label for an empty input.
        steps: Number of gradients that were averaged; 1 for gradient x input.
    """

    label: str
    values: NDArray[np.float32]
    score: float
    base: float
    steps: int

    @property
    def remainder(self) -> float:
        """What is missing for the tokens to add up to `score - base`."""
        return self.score - self.base - float(self.values.sum(dtype=np.float64))

    @property
    def is_complete(self) -> bool:
        """Whether the remainder is at most 1% of the difference, or 0.01."""
        return abs(self.remainder) <= TOLERANCE * max(abs(self.score - self.base), 1.0)


def install_attributions() -> None:
    """Register `doc._.trf_attributions`."""
    install_extension(Doc, "trf_attributions", method=trf_attributions)


def trf_attributions(doc: Doc, label: str, *, steps: int | None = None) -> NDArray[np.float32]:
    """Compute what each token adds to the log-odds of a label, by the weights as they are now.

    Args:
        doc: A Doc that a pipeline of this process has classified.
        label: The label.
        steps: See `attribute`.

    Returns:
        *Shape:* (tokens,)

    Raises:
        PipelineError: The Doc's pipeline is unknown or gone, or its encoder has no gradients.
        ArgumentError: No classifier of the pipeline has the label, or `steps` is below 1.
    """
    encoder, *_ = [*find_components(doc, ENCODER), None]
    classifiers = list(find_components(doc, CLASSIFIER))
    if not classifiers:
        raise PipelineError(
            "This Doc wasn't classified in this process, so its pipeline isn't known",
            hint="Process the text again: doc = nlp(doc.text)",
        )
    if encoder is None or None in classifiers:
        raise PipelineError(
            "The pipeline that classified this Doc no longer exists",
            hint="Keep it in a variable while you use its Docs, and process the text with it: "
            "doc = nlp(doc.text)",
        )
    classifier = next((each for each in classifiers if label in each.labels), classifiers[0])
    return attribute(doc, encoder, classifier, label, steps=steps).values


def attribute(
    doc: Doc, encoder: Any, classifier: Any, label: str, *, steps: int | None = None
) -> Attributions:
    """Compute what each token of a Doc adds to the log-odds of a label.

    In the empty input, the wordpieces of all tokens have the embedding of padding. Those that
    belong to no token, such as [CLS], stay as they are, so all of the difference is due to tokens.
    The gradients are averaged by Gauss-Legendre quadrature.

    Args:
        doc: The Doc, with wordpieces.
        encoder: The `TransformersTok2Vec` of its pipeline.
        classifier: The `TransformersTextCategorizer`.
        label: One of its labels.
        steps: Number of gradients between the empty input and the text; 1 for gradient x input,
            with which tokens don't add up. By default as many as needed, from 16 to 256.

    Raises:
        ArgumentError: The classifier doesn't have the label, or `steps` is below 1.
        PipelineError: The encoder has no gradients.
    """
    if label not in classifier.labels:
        raise ArgumentError(
            f"{label!r}: not a label of {classifier.name}",
            hint=f"Use one of: {', '.join(classifier.labels)}",
        )
    if steps is not None and steps < 1:
        raise ArgumentError(f"steps: {steps} is too few", hint="Use 1 or more")
    path = _Path(doc, encoder, classifier, label)
    (base, score), (_, at_text) = path.run([0.0, 1.0])
    found = Attributions(label, path.token_values(at_text), score, base, 1)
    for number in _STEPS if steps is None else [steps] if steps > 1 else []:
        nodes, weights = np.polynomial.legendre.leggauss(number)
        # From the interval -1 to 1, to 0 to 1.
        _, products = path.run(((nodes + 1) / 2).tolist())
        found = Attributions(label, path.token_values(weights / 2 @ products), score, base, number)
        if found.is_complete:
            break
    return found


class _Path:
    """The straight path from an empty input to a Doc.

    Args:
        doc: The Doc. It isn't changed.
        encoder: The `TransformersTok2Vec`.
        classifier: The `TransformersTextCategorizer`.
        label: The label whose log-odds are computed.
    """

    def __init__(self, doc: Doc, encoder: Any, classifier: Any, label: str) -> None:
        # An update that is still waiting would change the weights.
        encoder.complete_update()
        self.encoder = encoder.model
        self.exclusive = classifier.exclusive_classes
        self.label = classifier.labels.index(label)
        # Copies, because a backward pass adds to the gradients of a layer's weights.
        self.features = classifier.model.get_ref("features").copy()
        self.output_layer = classifier.model.get_ref("output_layer").copy()
        set_dropout_rate(self.features, 0.0)
        alignment = doc_alignment(doc)
        self.shares = alignment.shares()
        self.is_moved = np.zeros(alignment.n_pieces, bool)
        self.is_moved[self.shares.pieces] = True
        self.alignment = alignment
        self.doc = doc.copy()
        clear_outputs(self.encoder.ops, [self.doc])

    def run(self, scales: Sequence[float]) -> tuple[list[float], FloatArray]:
        """Compute the log-odds at some points of the path, and how each wordpiece moves them.

        Args:
            scales: 0 for the empty input, 1 for the text.

        Returns:
            The log-odds at each point, and for each wordpiece the product of gradient and distance.
            *Shape:* (points, wordpieces)
        """
        size = max(_BATCH_PIECES // max(len(self.is_moved), 1), 1)
        parts = [self._run(scales[at : at + size]) for at in range(0, len(scales), size)]
        values, products = zip(*parts, strict=True)
        return [each for part in values for each in part], np.concatenate(products)

    def token_values(self, products: FloatArray) -> NDArray[np.float32]:
        """Share the values of wordpieces among their tokens. *Shape:* (tokens,)"""
        shared = products[self.shares.pieces] * self.shares.weights
        n_tokens = len(self.shares.pieces_per_token)
        return np.bincount(self.shares.tokens, shared, n_tokens).astype(np.float32)

    def _run(self, scales: Sequence[float]) -> tuple[list[float], FloatArray]:
        docs = [self.doc.copy() for _ in scales]
        alignments = [self.alignment] * len(docs)
        ops = self.encoder.ops
        factors = np.where(self.is_moved, np.array(scales, "f")[:, None], 1.0)
        outputs, backprop = encode_scaled(
            self.encoder.shim,
            word_pieces(docs),
            factors.ravel(),
            words_per_batch=self.encoder.attrs["words_per_batch"],
        )
        rows, activations = start_download(ops, alignments, outputs, KINDS)()
        assign_outputs("trf_tok2vec", ops, docs, rows, activations)
        products: list[Any] = []

        def keep(d_activations: Any) -> None:
            products.append(backprop(d_activations))

        pending = PendingUpdate.begin(docs, outputs, ops, keep)
        values = self._begin_head(docs)
        pending.backprop(pending.take_gradients())
        return values, products[0].reshape(len(scales), -1).astype(np.float64)

    def _begin_head(self, docs: list[Doc]) -> list[float]:
        """Compute the log-odds of the label, and write their gradients to the Docs."""
        ops = self.output_layer.ops
        features, backprop_features = self.features.begin_update(docs)
        logits, backprop_logits = self.output_layer.begin_update(features)
        values, d_logits = log_odds(ops.to_numpy(logits), self.label, exclusive=self.exclusive)
        backprop_features(backprop_logits(ops.asarray2f(d_logits.astype("float32"))))
        return values.tolist()
