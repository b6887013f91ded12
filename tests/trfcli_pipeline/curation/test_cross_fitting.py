from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.curation import cross_fitting
from trfcli_pipeline.curation.cross_fitting import (
    PENALTIES,
    Indices,
    assign_folds,
    choose_features,
    choose_penalty,
    cross_fit,
    linear_probe,
)
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

RNG = np.random.default_rng(1)
CENTERS = 2 * RNG.normal(size=(3, 6))
CLASSES = np.arange(90) % 3
FEATURES = (CENTERS[CLASSES] + RNG.normal(size=(90, 6))).astype(np.float32)
GOLD = Gold(("A", "B", "C"), np.eye(3)[CLASSES], exclusive=True)
FOLDS = np.arange(90) // 3 % 5


def predict(gold: Gold, penalty: float) -> FloatArray:
    return cross_fit(linear_probe(FEATURES, gold, penalty=penalty), FOLDS, 3)


def test_no_text_is_predicted_by_what_has_seen_it() -> None:
    seen_with: dict[int, set[int]] = {}

    def fit_predict(seen: Indices, held_out: Indices) -> FloatArray:
        seen_with.update((int(text), set(seen.tolist())) for text in held_out)
        return np.repeat(held_out[:, np.newaxis], 3, axis=1).astype(float)

    found = cross_fit(fit_predict, FOLDS, 3)
    assert found[:, 0].tolist() == list(range(90))
    for text, others in seen_with.items():
        assert others == set(np.flatnonzero(FOLDS[text] != FOLDS).tolist())


def test_own_label_does_not_change_the_prediction_for_a_text() -> None:
    before = predict(GOLD, 0.1)
    values = GOLD.values.copy()
    values[7] = [0, 0, 1]
    after = predict(Gold(GOLD.labels, values, True), 0.1)
    same_fold = FOLDS[7] == FOLDS
    assert (before[same_fold] == after[same_fold]).all()
    assert (before[~same_fold] != after[~same_fold]).all()


def test_probe_predicts_held_out_texts() -> None:
    scores = predict(GOLD, choose_penalty(FEATURES, GOLD, FOLDS))
    assert (scores.argmax(axis=1) == CLASSES).mean() > 0.8
    np.testing.assert_allclose(scores.sum(axis=1), 1)


@pytest.mark.parametrize("enough", [10, 10**6])
def test_penalty_with_the_lowest_held_out_loss_is_chosen(
    enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_fitting, "_ENOUGH_TEXTS", enough)
    folds = set()
    losses = iter(range(100, 0, -1))

    def fit_probe(features: np.ndarray, gold: Gold, **_: object) -> "FakeProbe":
        folds.add(len(features))
        return FakeProbe()

    class FakeProbe:
        def predict(self, features: np.ndarray) -> np.ndarray:
            return np.zeros((len(features), 3))

    monkeypatch.setattr(cross_fitting, "fit_probe", fit_probe)
    monkeypatch.setattr(cross_fitting, "log_loss", lambda scores, gold: next(losses))
    assert choose_penalty(FEATURES, GOLD, FOLDS) == PENALTIES[-1]
    tried = 100 - next(losses)
    assert tried == len(PENALTIES) * (1 if enough == 10 else 5)


def test_features_that_tell_more_about_held_out_texts_are_chosen() -> None:
    noise = RNG.normal(size=FEATURES.shape).astype(np.float32)
    for candidates in ([noise, FEATURES], [FEATURES, noise]):
        features, penalty = choose_features(candidates, GOLD, FOLDS)
        assert features is FEATURES
        assert penalty == choose_penalty(FEATURES, GOLD, FOLDS)


def test_random_labels_need_a_strong_penalty() -> None:
    shuffled = Gold(GOLD.labels, RNG.permutation(GOLD.values), exclusive=True)
    assert choose_penalty(FEATURES, shuffled, FOLDS) > choose_penalty(FEATURES, GOLD, FOLDS)


texts = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.integers(0, 2)), min_size=1)


@given(texts, st.integers(2, 5), st.integers(0, 3))
def test_copies_are_in_the_same_fold(rows: list[tuple[str, int]], n_folds: int, seed: int) -> None:
    names = [text.upper() + "!" if index % 2 else text for index, (text, _) in enumerate(rows)]
    gold = Gold(("A", "B", "C"), np.eye(3)[[label for _, label in rows]], exclusive=True)
    folds = assign_folds(names, gold, n_folds=n_folds, seed=seed)
    assert ((folds >= 0) & (folds < n_folds)).all()
    for name, _ in rows:
        assert (
            len({int(fold) for fold, (other, _) in zip(folds, rows, strict=True) if other == name})
            == 1
        )
    assert (folds == assign_folds(names, gold, n_folds=n_folds, seed=seed)).all()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(2, 5))
def test_each_fold_has_its_share_of_each_label(classes: list[int], n_folds: int) -> None:
    gold = Gold(("A", "B", "C"), np.eye(3)[classes], exclusive=True)
    folds = assign_folds([f"text {i}" for i in range(len(classes))], gold, n_folds=n_folds)
    for label in range(3):
        counts = Counter(folds[np.array(classes) == label].tolist())
        numbers = [counts[fold] for fold in range(n_folds)]
        assert max(numbers) - min(numbers) <= 1


def test_texts_with_several_labels_count_for_the_rarest() -> None:
    values = np.array([[1.0, 0]] * 18 + [[1, 1]] * 6 + [[0, np.nan]])
    gold = Gold(("COMMON", "RARE"), values, exclusive=False)
    folds = assign_folds([f"text {i}" for i in range(25)], gold, n_folds=3)
    assert Counter(folds[18:24].tolist()) == {0: 2, 1: 2, 2: 2}


def test_seed_changes_the_folds() -> None:
    names = [f"text {i}" for i in range(90)]
    assert (assign_folds(names, GOLD, seed=0) != assign_folds(names, GOLD, seed=1)).any()


def test_threads_predict_the_same() -> None:
    def fit_predict(seen: Indices, held_out: Indices) -> FloatArray:
        return np.outer(held_out, [seen.sum(), len(seen), 1.0])

    one, several = (cross_fit(fit_predict, FOLDS, 3, n_threads=n) for n in (1, 3))
    assert (one == several).all()


def test_failure_of_a_thread_is_raised() -> None:
    def fit_predict(seen: Indices, held_out: Indices) -> FloatArray:
        raise ValueError("singular")

    with pytest.raises(ValueError, match="singular"):
        cross_fit(fit_predict, FOLDS, 3, n_threads=2)
