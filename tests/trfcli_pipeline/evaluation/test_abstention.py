import json

import numpy as np
import pytest
import srsly

from trfcli_pipeline.evaluation.abstention import (
    Abstention,
    Aim,
    FittedAbstention,
    answer_confidence,
    fit_abstention,
)
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction

LABELS = ("A", "B", "C")
HALVES = np.full(3, 0.5)


def predict(number: int, *, exclusive: bool = True, seed: int = 0) -> EvalPrediction:
    """Calibrated predictions of a classifier that is right in 94 % of cases."""
    rng = np.random.default_rng(seed)
    if exclusive:
        scores = rng.dirichlet([8.0, 0.2, 0.2], number)
        gold = np.eye(3)[[rng.choice(3, p=each) for each in scores]]
    else:
        scores = rng.beta(0.05, 0.05, (number, 3))
        gold = (rng.random(scores.shape) < scores).astype(float)
    return EvalPrediction(LABELS, exclusive, HALVES, np.arange(number), gold, scores)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("aim", [None, Aim("accuracy", 0.97), Aim("coverage", 0.8)])
def test_fitted_to_dev_texts(exclusive: bool, aim: Aim | None) -> None:
    prediction = predict(2000, exclusive=exclusive)
    fitted = fit_abstention(prediction, aim)
    assert fitted is not None
    assert fitted.texts == 2000
    assert fitted.abstention.temperature == pytest.approx(1.0, abs=0.15)
    assert fitted.aim == (aim or Aim("accuracy", 0.95))
    unsure = fitted.abstention.is_unsure(prediction.scores, HALVES, exclusive=exclusive)
    answered = ~np.array(unsure)
    assert fitted.coverage == pytest.approx(answered.mean(), abs=1e-6)
    assert fitted.accuracy == pytest.approx(prediction.correct[answered].mean(), abs=1e-6)
    assert fitted.accuracy >= (fitted.accuracy_bound or 0.0)
    if fitted.aim.kind == "coverage":
        assert fitted.coverage == pytest.approx(0.8, abs=0.001)
    else:
        assert fitted.accuracy_bound == fitted.aim.value
        assert 0.5 < fitted.coverage < 1.0


def test_survives_json() -> None:
    fitted = fit_abstention(predict(500))
    assert fitted is not None
    assert FittedAbstention.from_json(json.loads(json.dumps(fitted.as_json()))) == fitted
    # spaCy saves a component's cfg by srsly, which rounds.
    assert (
        FittedAbstention.from_json(srsly.json_loads(srsly.json_dumps(fitted.as_json()))) == fitted
    )


def test_too_few_texts() -> None:
    assert fit_abstention(predict(99)) is None
    assert fit_abstention(predict(100)) is not None


def test_accuracy_out_of_reach() -> None:
    fitted = fit_abstention(predict(150), Aim("accuracy", 0.99))
    assert fitted is not None
    assert (fitted.coverage, fitted.accuracy, fitted.accuracy_bound) == (None, None, None)
    assert fitted.abstention.is_unsure(np.eye(3), HALVES, exclusive=True) is None
    # There are label sets all the same.
    assert fitted.abstention.label_sets(np.eye(3), LABELS, exclusive=True)[0] == ["A"]
    assert fitted.summary == (
        "Answers every text: no confidence threshold ensures on the dev set that 99.0 % of the "
        "answers are right"
    )


def test_summary_names_what_is_promised() -> None:
    fitted = FittedAbstention(Abstention(1.0, 0.5, 0.1), Aim(), 500, 0.912, 0.973, 0.95, 1.2)
    assert fitted.summary == (
        "Answers 91.2 % of the texts, and is right in 97.3 % of those (dev); on new texts like "
        "these, in at least 95.0 % with 90 % confidence"
    )
    assert fitted._replace(coverage=1.0).summary.startswith("Answers all texts")


def test_confidence_computed_by_hand() -> None:
    scores = np.array([[0.7, 0.2, 0.1]])
    assert answer_confidence(scores, HALVES, 1.0, exclusive=True) == pytest.approx([0.7])
    # A is predicted, B and C aren't.
    expected = 0.7 * 0.8 * 0.9
    assert answer_confidence(scores, HALVES, 1.0, exclusive=False) == pytest.approx([expected])
    lower = np.array([0.5, 0.15, 0.5])
    assert answer_confidence(scores, lower, 1.0, exclusive=False) == pytest.approx(
        [0.7 * 0.2 * 0.9]
    )


def test_sets_are_ordered_by_score() -> None:
    abstention = Abstention(1.0, None, 0.15)
    scores = np.array([[0.2, 0.7, 0.1], [0.1, 0.05, 0.02]])
    assert abstention.label_sets(scores, LABELS, exclusive=False) == [["B", "A"], []]
    assert abstention.label_sets(scores[:1], LABELS, exclusive=True) == [["B", "A"]]
