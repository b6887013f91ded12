"""Cross-fitted predictions: each text is predicted by a classifier that hasn't seen it."""

import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import cast

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import fit_probe, log_loss
from trfcli_pipeline.data.duplicates import normal_form
from trfcli_pipeline.evaluation.eval_prediction import FloatArray
from trfcli_pipeline.progress import phase, track

Indices = NDArray[np.int_]
# Trains on some texts and predicts others: indices of both -> (texts to predict, labels)
FitPredict = Callable[[Indices, Indices], FloatArray]

FOLDS = 5
# Penalties to choose from, the strongest first.
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
# Held-out texts that are enough to choose a penalty.
_ENOUGH_TEXTS = 1000


def cross_fit(
    fit_predict: FitPredict, folds: Indices, n_labels: int, *, n_threads: int = 1
) -> FloatArray:
    """Predict each fold by a classifier that was trained on the others.

    Args:
        fit_predict: Trains on the texts with the first indices, and predicts those with the second.
        folds: The fold of each text; see `assign_folds`. *Shape:* (texts,)
        n_labels: Number of labels that are predicted.
        n_threads: Number of folds to work on at once. If several, each computes with one thread.

    Returns:
        Probability of each label for each text. *Shape:* (texts, labels)
    """
    scores = np.zeros((len(folds), n_labels))
    numbers = np.unique(folds).tolist()

    def run(fold: int) -> None:
        held_out = folds == fold
        scores[held_out] = fit_predict(np.flatnonzero(~held_out), np.flatnonzero(held_out))

    with ExitStack() as stack:
        runs: Iterable[None] = map(run, numbers)
        if n_threads > 1:
            stack.enter_context(one_blas_thread())
            runs = stack.enter_context(ThreadPoolExecutor(n_threads)).map(run, numbers)
        for _ in track(runs, "Cross-fitting", total=len(numbers), unit="folds"):
            pass
    return scores


def one_blas_thread() -> AbstractContextManager[object]:
    """Let numpy multiply matrices with one thread.

    For those of a linear probe, several threads spend more time on waiting for each other.
    """
    from threadpoolctl import threadpool_limits

    return cast(AbstractContextManager[object], threadpool_limits(1, user_api="blas"))


def linear_probe(features: Features, gold: Gold, *, penalty: float) -> FitPredict:
    """Make a function that fits a linear probe to some texts and predicts others.

    Args:
        features: *Shape:* (texts, width)
        gold: The labels of the texts.
        penalty: See `probe.fit_probe`. With one that is too weak, scores dip where there are about
            as many texts as features, and the curve isn't a power law.
    """

    def fit_predict(seen: Indices, held_out: Indices) -> FloatArray:
        probe = fit_probe(features[seen], gold.take(seen), penalty=penalty)
        return probe.predict(features[held_out])

    return fit_predict


def choose_penalty(features: Features, gold: Gold, folds: Indices) -> float:
    """Choose the penalty of a linear probe by its log loss on held-out texts.

    The best one depends on the number of texts and labels, and on wrong labels. One fold is held
    out, or as many as it takes for a thousand texts.

    Args:
        features: *Shape:* (texts, width)
        gold: The labels of the texts.
        folds: The fold of each text; see `assign_folds`. *Shape:* (texts,)
    """
    return choose_features([features], gold, folds)[1]


def choose_features(
    candidates: Sequence[Features], gold: Gold, folds: Indices
) -> tuple[Features, float]:
    """Choose the features for linear probes, and with them the penalty; see `choose_penalty`.

    Args:
        candidates: Several features of the same texts. *Shape of each:* (texts, any width)
        gold: The labels of the texts.
        folds: The fold of each text; see `assign_folds`. *Shape:* (texts,)
    """
    with phase("Choosing a linear probe"), one_blas_thread():
        losses = [_held_out_losses(features, gold, folds) for features in candidates]
    best, penalty = min(
        ((index, penalty) for index, each in enumerate(losses) for penalty in each),
        key=lambda choice: losses[choice[0]][choice[1]],
    )
    return candidates[best], penalty


def _held_out_losses(features: Features, gold: Gold, folds: Indices) -> dict[float, float]:
    """The log loss of probes with each penalty on held-out texts."""
    losses = dict.fromkeys(PENALTIES, 0.0)
    n_held_out = 0
    for fold in np.unique(folds):
        held_out = folds == fold
        known, unknown = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        probe = None
        for penalty in PENALTIES:
            # From the strongest penalty on, each fit starts where the one before ended.
            probe = fit_probe(features[known], gold.take(known), penalty=penalty, start=probe)
            loss = log_loss(probe.predict(features[unknown]), gold.take(unknown))
            losses[penalty] += loss * len(unknown)
        n_held_out += len(unknown)
        if n_held_out >= _ENOUGH_TEXTS:
            break
    return losses


def assign_folds(
    texts: Sequence[str], gold: Gold, *, n_folds: int = FOLDS, seed: int = 0
) -> Indices:
    """Divide texts into folds with similar shares of each label.

    Copies of a text, also with other case or punctuation, are in the same fold: otherwise a
    classifier would have seen what it predicts. A text with several labels counts for the rarest.

    Args:
        texts: The texts.
        gold: Their labels.
        n_folds: Number of folds; at most one per text.
        seed: The same seed gives the same folds.

    Returns:
        The fold of each text. *Shape:* (texts,)
    """
    groups: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        groups.setdefault(normal_form(text), []).append(index)
    shuffled = list(groups.values())
    random.Random(seed).shuffle(shuffled)
    rarest = _rarest_labels(gold)
    # Dealt out one by one, each label's texts get to all folds.
    shuffled.sort(key=lambda members: rarest[members[0]])
    folds = np.zeros(len(texts), dtype=np.int_)
    for number, members in enumerate(shuffled):
        folds[members] = number % n_folds
    return folds


def _rarest_labels(gold: Gold) -> list[int]:
    """The column of the rarest label of each text, or the number of labels if it has none."""
    applies = np.nan_to_num(gold.values) > 0
    counts = np.where(applies, gold.counts, np.inf)
    found = np.where(applies.any(axis=1), counts.argmin(axis=1), len(gold.labels))
    return [int(each) for each in found]
