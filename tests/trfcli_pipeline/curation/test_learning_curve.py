import numpy as np
import pytest

from trfcli_pipeline.curation.cross_fitting import Indices, linear_probe
from trfcli_pipeline.curation.extrapolation import Extrapolation
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.learning_curve import (
    cross_fitted_draws,
    curve_sizes,
    dev_draws,
    measure_curve,
    predict_labels,
)
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

LABELS = ("EASY", "HARD", "REST")


def make_gold(classes: Indices) -> Gold:
    return Gold(LABELS, np.eye(3)[classes], exclusive=True)


@pytest.fixture
def data() -> tuple[FloatArray, Gold, list[str]]:
    """Three labels, of which the last two overlap."""
    rng = np.random.default_rng(0)
    classes = np.arange(240) % 3
    centers = np.array([[4.0, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 1.5, 0]])
    features = centers[classes] + rng.standard_normal((240, 4))
    return features, make_gold(classes), [f"text {number}" for number in range(240)]


def test_each_text_is_predicted_once_by_probes_that_have_not_seen_it() -> None:
    texts = [f"text {number}" for number in range(43)]
    draws = cross_fitted_draws(texts, make_gold(np.arange(43) % 3))
    assert sorted(np.concatenate([draw.test for draw in draws])) == list(range(43))
    for draw in draws:
        assert not set(draw.train) & set(draw.test)
        assert len(set(draw.train)) == len(draw.train)


def test_a_dev_set_is_predicted_from_each_draw() -> None:
    draws = dev_draws(20, 5)
    assert all(draw.test.tolist() == [20, 21, 22, 23, 24] for draw in draws)
    assert all(sorted(draw.train) == list(range(20)) for draw in draws)
    assert curve_sizes(draws)[-1] == 20


def test_the_score_at_a_size_is_that_of_its_predictions() -> None:
    gold = make_gold(np.arange(40) % 3)
    draws = cross_fitted_draws([str(number) for number in range(40)], gold)

    def first_n_are_right(seen: Indices, held_out: Indices) -> FloatArray:
        # With 10 texts all predictions are wrong, with 30 all are right.
        shift = 0 if len(seen) == 30 else 1
        return np.eye(3)[(gold.classes[held_out] + shift) % 3]

    curve = measure_curve(first_n_are_right, gold, draws, np.array([10, 30]), "Measuring")
    assert Extrapolation(curve, 40).measured[0].tolist() == [0, 1]


def test_more_texts_score_higher_within_a_band(data: tuple[FloatArray, Gold, list[str]]) -> None:
    features, gold, texts = data
    draws = cross_fitted_draws(texts, gold)
    probe = linear_probe(features.astype(np.float32), gold, penalty=1.0)
    curve = measure_curve(probe, gold, draws, curve_sizes(draws), "Measuring")
    found = Extrapolation(curve, 240)
    now, then = found.at(240), found.at(480)
    assert now.low < now.value < now.high
    assert now.value <= then.value <= 1
    assert then.high - then.low < 0.15
    gains = found.label_gains(480)
    assert set(gains) == set(LABELS)
    values = [gain.value for _, gain in gains.values()]
    assert values == sorted(values, reverse=True)
    # What is predicted well has little to gain.
    assert [*gains][-1] == "EASY"


def test_the_same_seed_gives_the_same_bands(data: tuple[FloatArray, Gold, list[str]]) -> None:
    features, gold, texts = data
    draws = cross_fitted_draws(texts, gold, seed=3)
    probe = linear_probe(features.astype(np.float32), gold, penalty=1.0)
    curve = measure_curve(probe, gold, draws, curve_sizes(draws), "Measuring")
    one, other = (Extrapolation(curve, 240, seed=1).at(480) for _ in range(2))
    assert one == other
    assert one != Extrapolation(curve, 240, seed=2).at(480)


def test_unknown_labels_do_not_count() -> None:
    records = [Record(str(i), {"A": float(i % 2)}, i, partial=True) for i in range(20)]
    records += [Record(f"b{i}", {"B": 1.0}, i, partial=True) for i in range(20)]
    gold = Gold.from_records(records)
    draws = cross_fitted_draws([record.text for record in records], gold)

    def everything(_: Indices, held_out: Indices) -> FloatArray:
        return np.ones((len(held_out), 2))

    curve = measure_curve(everything, gold, draws, np.array([10]), "Measuring")
    tp, fp, fn = (each[0, 0].tolist() for each in curve.label_counts(np.ones((1, 40))))
    assert (tp, fp, fn) == ([10, 20], [10, 0], [0, 0])


def test_the_threshold_that_gives_the_highest_expected_f() -> None:
    scores = np.array([[0.9, 0.4], [0.35, 0.05], [0.1, 0.02]])
    best = max(
        2 * scores[scores >= t].sum() / ((scores >= t).sum() + scores.sum()) for t in scores.ravel()
    )
    chosen = predict_labels(scores, exclusive=False)
    assert 2 * scores[chosen].sum() / (chosen.sum() + scores.sum()) == pytest.approx(best)
    assert chosen.tolist() == [[True, True], [True, False], [False, False]]
