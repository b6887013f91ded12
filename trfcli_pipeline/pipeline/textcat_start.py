"""Where a new classifier starts from, if not from equal scores for all labels."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from spacy.training import Example
from thinc.api import NumpyOps

from trfcli_pipeline.encoder.activations import Floats
from trfcli_pipeline.heads.linear_probe import fit_probe

if TYPE_CHECKING:
    from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer

# Rarer labels start as if they had this share of the texts: lower scores would take long to rise.
_LEAST_SHARE = 0.01


def start_at_shares(
    classifier: "TransformersTextCategorizer", cats: Iterable[Mapping[str, float]]
) -> None:
    """Have the scores of labels that aren't exclusive start at their shares of some texts.

    Where most labels are rare, a classifier that starts at 0.5 for each would spend its first
    hundreds of steps on learning that they are (Lin et al. 2017, "Focal Loss for Dense Object
    Detection", section 3.3).

    Args:
        cats: For each text its labels with 1.0 or 0.0; those left out are unknown. Labels that
            all leave out start at 0.5.
    """
    held, known = Counter[str](), Counter[str]()
    for each in cats:
        held.update(each)
        known.update(each.keys())
    shares = np.array(
        [held[label] / known[label] if known[label] else 0.5 for label in classifier.labels]
    )
    shares = shares.clip(_LEAST_SHARE, 1 - _LEAST_SHARE)
    output = classifier.model.get_ref("output_layer")
    # Those of other people's architectures may have none.
    if output.has_param("b"):
        output.set_param("b", classifier.model.ops.asarray1f(np.log(shares / (1 - shares))))


def start_at_probe(
    classifier: "TransformersTextCategorizer", features: Floats, examples: Iterable[Example]
) -> None:
    """Have the scores start as those of a linear probe, fitted to the encoder as it is.

    Training then changes the encoder less, which of few texts would learn by heart what holds
    for no others (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution").

    Args:
        features: What the classifier reads off the examples' Docs. *Shape:* (texts, width)
    """
    ops, cpu = classifier.model.ops, NumpyOps()
    truths, known = map(ops.to_numpy, classifier._examples_to_truth(list(examples)))
    exclusive = classifier.exclusive_classes
    number = truths.any(axis=1).sum() if exclusive else known.sum()

    def loss(logits: Floats) -> tuple[float, Floats]:
        scores = cpu.softmax(logits) if exclusive else cpu.sigmoid(logits)
        mean, d_logits = classifier.loss_against(truths, known, scores, cpu)
        return number * mean, number * d_logits

    weights, bias = fit_probe(ops.to_numpy(features), loss, len(classifier.labels))
    output = classifier.model.get_ref("output_layer")
    output.set_param("W", ops.asarray2f(weights))
    output.set_param("b", ops.asarray1f(bias))
