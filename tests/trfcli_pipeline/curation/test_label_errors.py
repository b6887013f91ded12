from functools import partial

import numpy as np
import pytest

from trfcli_pipeline.curation.features import normalized
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.label_errors import DOUBTFUL, find_label_errors
from trfcli_pipeline.curation.neighbors import Neighbors, find_neighbors
from trfcli_pipeline.curation.weighted_probes import WeightedProbes
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

RNG = np.random.default_rng(0)
N = 300
TRUE = np.arange(N) % 3
FEATURES = normalized((4 * np.eye(3, 8)[TRUE] + RNG.normal(size=(N, 8))).astype(np.float32))
NEIGHBORS = find_neighbors(FEATURES, 20)
FOLDS = np.arange(N) // 3 % 5
WRONG = np.arange(0, N, 20)
LABELS = ("A", "B", "C")


def exclusive_gold() -> Gold:
    given = TRUE.copy()
    given[WRONG] = (TRUE[WRONG] + 1) % 3
    return Gold(LABELS, np.eye(3)[given], exclusive=True)


def multilabel_gold() -> Gold:
    """The same labels, but not exclusive."""
    values = np.eye(3)[TRUE]
    values[WRONG] = 0
    values[WRONG, (TRUE[WRONG] + 1) % 3] = 1
    return Gold(LABELS, values, exclusive=False)


@pytest.mark.parametrize("gold", [exclusive_gold(), multilabel_gold()])
def test_wrong_labels_are_found_and_corrected(gold: Gold) -> None:
    found = find_label_errors(
        WeightedProbes.choose([FEATURES], gold, FOLDS).predict, gold, NEIGHBORS, FOLDS
    )
    first = found.ranked[: len(WRONG)]
    assert set(first.tolist()) >= set(WRONG.tolist()[2:])
    assert (found.suggested[WRONG].argmax(axis=1) == TRUE[WRONG]).mean() > 0.9
    low, high = found.interval
    assert low <= len(WRONG) <= high
    assert low <= found.number <= high


def test_ranked_texts_are_doubtful_in_descending_order() -> None:
    gold = exclusive_gold()
    found = find_label_errors(
        WeightedProbes.choose([FEATURES], gold, FOLDS).predict, gold, NEIGHBORS, FOLDS
    )
    doubts = found.doubts[found.ranked]
    assert (np.diff(doubts) <= 0).all()
    assert (doubts >= DOUBTFUL).all()
    # None of them keeps its labels, and all others do.
    changed = np.flatnonzero((found.suggested != found.applies).any(axis=1))
    assert sorted(found.ranked.tolist()) == changed.tolist()
    assert found.pairs.sum() == pytest.approx(N)


def test_doubtful_texts_count_less_in_the_second_round() -> None:
    gold = exclusive_gold()
    rounds: list[FloatArray | None] = []

    def predict(weights: FloatArray | None) -> FloatArray:
        rounds.append(weights)
        return np.full((N, 3), 0.05) + 0.85 * np.eye(3)[TRUE]

    find_label_errors(predict, gold, NEIGHBORS, FOLDS)
    assert rounds[0] is None
    weights = rounds[1]
    assert weights is not None
    assert weights[WRONG].max() < weights[np.setdiff1d(np.arange(N), WRONG)].min()
    find_label_errors(predict, gold, NEIGHBORS, FOLDS, rounds=1)
    assert len(rounds) == 3


def test_missing_label_is_suggested() -> None:
    values = np.eye(3)[TRUE]
    scores = np.full((N, 3), 0.02) + 0.93 * values
    scores[0, 1] = 0.97  # it has another label already, which is right
    gold = Gold(LABELS, values, exclusive=False)
    found = find_label_errors(lambda _: scores, gold, NEIGHBORS, FOLDS, rounds=1)
    assert found.ranked[0] == 0
    assert found.suggested[0, [0, 1]].any()
    assert found.suggested[0, 1]


def test_unknown_label_is_not_judged() -> None:
    values = np.eye(3)[TRUE]
    values[5, 0] = np.nan
    scores = np.full((N, 3), 0.02) + 0.93 * np.eye(3)[TRUE]
    scores[5, 0] = 0.999
    gold = Gold(LABELS, values, exclusive=False)
    found = find_label_errors(lambda _: scores, gold, NEIGHBORS, FOLDS, rounds=1)
    assert not found.suggested[5, 0]
    assert found.doubts[5] < DOUBTFUL
    assert np.isfinite(found.doubts).all()


@pytest.mark.parametrize("exclusive", [True, False])
def test_label_with_one_text_is_not_judged(exclusive: bool) -> None:
    values = np.hstack([np.eye(3)[TRUE], np.zeros((N, 1))])
    values[7] = [0, 0, 0, 1] if exclusive else [0, 1, 0, 1]
    gold = Gold((*LABELS, "ONCE"), values, exclusive)
    found = find_label_errors(
        WeightedProbes.choose([FEATURES], gold, FOLDS).predict, gold, NEIGHBORS, FOLDS
    )
    assert found.judged.tolist() == [True, True, True, False]
    assert found.doubts[7] < DOUBTFUL
    assert found.suggested[7, 3]


@pytest.mark.parametrize(
    ("folds", "is_judged"),
    [
        ((0, 1), False),
        ((0, 1, 1), False),
        ((0, 1, 2), True),
        ((0, 0, 1, 1), True),
        ((0, 0, 0, 1, 2), True),
    ],
)
def test_classifiers_have_seen_two_other_texts(folds: tuple[int, ...], is_judged: bool) -> None:
    rare = np.arange(7, 7 + len(folds))
    values = np.hstack([np.eye(3)[TRUE], np.zeros((N, 1))])
    values[rare] = [0, 0, 0, 1]
    assigned = FOLDS.copy()
    assigned[rare] = folds
    gold = Gold((*LABELS, "RARE"), values, exclusive=True)
    predict = WeightedProbes.choose([FEATURES], gold, assigned).predict
    found = find_label_errors(predict, gold, NEIGHBORS, assigned)
    assert found.judged.tolist() == [True, True, True, is_judged]
    assert (found.doubts[rare] > 0).all() == is_judged


def test_no_label_can_be_judged() -> None:
    values = np.eye(3)[TRUE]
    gold = Gold(LABELS, values, exclusive=True)
    found = find_label_errors(lambda _: np.full((N, 3), 0.3), gold, NEIGHBORS, TRUE)
    assert not found.judged.any()
    assert found.number == 0
    assert found.interval == (0, 0)


def test_same_input_gives_the_same_bytes() -> None:
    gold = exclusive_gold()
    find = partial(find_label_errors, gold=gold, neighbors=NEIGHBORS, folds=FOLDS)
    one, other = (find(WeightedProbes.choose([FEATURES], gold, FOLDS).predict) for _ in range(2))
    assert one.doubts.tobytes() == other.doubts.tobytes()
    assert one.interval == other.interval


def test_label_that_none_replaces_clearly_is_still_given_another() -> None:
    scores = np.full((N, 3), 0.02) + 0.94 * np.eye(3)[TRUE]
    scores[0] = [0.4, 0.35, 0.25]
    gold = Gold(LABELS, np.eye(3)[TRUE], exclusive=True)
    unlike = Neighbors(NEIGHBORS.indices.copy(), NEIGHBORS.similarities)
    unlike.indices[0, :15] = np.arange(1, 16)
    found = find_label_errors(lambda _: scores, gold, unlike, FOLDS, rounds=1)
    assert (found.doubts[0] >= DOUBTFUL) == (not found.suggested[0, 0])
