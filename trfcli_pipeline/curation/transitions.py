"""How often one label is given in place of another: label noise that depends on the class."""

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.evaluation.eval_prediction import FloatArray

Classes = NDArray[np.int_]

_ITERATIONS = 15
# Share of the wrong labels that is spread evenly over all classes. Some texts are hard to
# classify, and would otherwise look like labels that people confuse.
_EVEN = 0.5
# Added to each count, so that no transition is impossible.
_PSEUDO_COUNT = 0.1


def confident_joint(scores: FloatArray, given: Classes) -> FloatArray:
    """Estimate how many texts have each pair of given and true label.

    A text counts for the class with the highest score among those whose score is at least the
    mean score of the texts with that label (Northcutt et al. 2021, "Confident Learning: Estimating
    Uncertainty in Dataset Labels", equations 1 to 3).

    Args:
        scores: Cross-fitted probability of each class. *Shape:* (texts, classes)
        given: The given class of each text. *Shape:* (texts,)

    Returns:
        Number of texts. *Shape:* (given classes, true classes)
    """
    n_classes = scores.shape[1]
    counts = np.bincount(given, minlength=n_classes)
    own = np.bincount(given, scores[np.arange(len(given)), given], n_classes)
    thresholds = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    confident = np.where(scores >= thresholds, scores, 0.0)
    is_counted = confident.any(axis=1)
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (given[is_counted], confident[is_counted].argmax(axis=1)), 1)
    # A class without any confident text is taken to be correct.
    empty = np.flatnonzero(joint.sum(axis=1) == 0)
    joint[empty, empty] = 1
    return joint * (counts / joint.sum(axis=1))[:, np.newaxis]


def estimate_transitions(scores: FloatArray, given: Classes) -> FloatArray:
    """Estimate the probability of each given label for each true one.

    Expectation maximization, from the confident joint on: what a text's label probably is follows
    from its scores and the transitions, and the transitions follow from that (Dawid and Skene
    1979, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", with the
    given labels as the only observer). A part of the wrong labels is then spread evenly.

    Args: See `confident_joint`.

    Returns:
        Probabilities; columns sum to 1. *Shape:* (given classes, true classes)
    """
    joint = confident_joint(scores, given) + _PSEUDO_COUNT
    for _ in range(_ITERATIONS):
        transitions = joint / joint.sum(axis=0)
        truths = posterior(scores, given, transitions)
        joint = np.full_like(joint, _PSEUDO_COUNT)
        np.add.at(joint, given, truths)
    return _spread(joint)


def posterior(scores: FloatArray, given: Classes, transitions: FloatArray) -> FloatArray:
    """The probability of each true label, given the scores and the label of each text.

    Args:
        scores: *Shape:* (texts, classes)
        given: *Shape:* (texts,)
        transitions: *Shape:* (given classes, true classes)

    Returns:
        *Shape:* (texts, classes)
    """
    joint = scores * transitions[given]
    return joint / joint.sum(axis=1, keepdims=True)


def _spread(joint: FloatArray) -> FloatArray:
    """Spread a part of the wrong labels evenly, and return transitions."""
    n_classes = len(joint)
    if n_classes < 2:
        return np.ones_like(joint)
    wrong = ~np.eye(n_classes, dtype=bool)
    even = np.where(wrong, joint.sum(axis=0), 0.0)
    even *= joint[wrong].sum() / even.sum()
    mixed = np.where(wrong, (1 - _EVEN) * joint + _EVEN * even, joint)
    return mixed / mixed.sum(axis=0)
