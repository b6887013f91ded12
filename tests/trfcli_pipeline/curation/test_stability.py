import numpy as np
import pytest
from grouped_features import FEATURES, GROUPS, store_of

from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.stability import Stability, cohen_kappa, measure_stability

LABELS = ("a", "b", "c", "d")


def gold_of(groups: np.ndarray) -> Gold:
    return Gold(LABELS, np.eye(4)[groups], exclusive=True)


def test_kappa_of_exclusive_labels() -> None:
    # Cohen's example has 200 decisions; this is the textbook one with kappa 0.4.
    one = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    other = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    rows = np.eye(2, dtype=np.bool_)
    assert cohen_kappa(rows[one], rows[other]) == pytest.approx(0.4)
    assert cohen_kappa(rows[one], rows[one]) == 1


def test_kappa_of_several_labels_and_of_a_constant() -> None:
    one = np.array([[True, True], [False, False]])
    assert cohen_kappa(one, one) == 1
    assert cohen_kappa(one, ~one) == -1
    constant = np.tile([True, False], (3, 1))
    assert cohen_kappa(constant, constant) == 1


def test_predictions_that_no_longer_change_are_stable() -> None:
    order = np.argsort(np.arange(100) % 10, kind="stable")
    pool = store_of(FEATURES)
    found = measure_stability(FEATURES[order], gold_of(GROUPS[order]), pool, 20, penalty=0.1)
    assert found is not None
    assert found.changed == 0
    assert list(found.kappas) == [1, 1, 1]
    assert found.is_stable


def test_a_new_label_changes_predictions() -> None:
    # Among the last 20 texts are all ten of one label.
    found = measure_stability(FEATURES, gold_of(GROUPS), store_of(FEATURES), 20, penalty=0.1)
    assert found is not None
    assert found.changed == pytest.approx(0.1)
    assert found.kappas[0] < 0.99
    assert not found.is_stable


def test_batches_that_are_too_small_to_judge_by_are_enlarged() -> None:
    pool = store_of(FEATURES)
    one, other = (
        measure_stability(FEATURES, gold_of(GROUPS), pool, batch, penalty=0.1) for batch in (2, 20)
    )
    # The last two labels are known already: they change nothing.
    assert one == other
    assert one is not None
    assert one.batch == 20
    assert not one.is_stable


@pytest.mark.parametrize(("number", "batch"), [(1, 1), (20, 2), (40, 20), (50, 50)])
def test_too_few_labels_to_compare(number: int, batch: int) -> None:
    gold = gold_of(GROUPS[:number])
    pool = store_of(FEATURES)
    assert measure_stability(FEATURES[:number], gold, pool, batch, penalty=0.1) is None


def test_one_batch_is_not_enough_to_stop() -> None:
    assert not Stability(50, 0.0, [1.0]).is_stable
