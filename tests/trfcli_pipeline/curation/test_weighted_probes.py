import numpy as np

from trfcli_pipeline.curation.cross_fitting import choose_penalty, cross_fit, linear_probe
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.weighted_probes import WeightedProbes

RNG = np.random.default_rng(0)
CLASSES = np.arange(60) % 2
FEATURES = (2 * np.eye(2, 4)[CLASSES] + RNG.normal(size=(60, 4))).astype(np.float32)
GOLD = Gold(("A", "B"), np.eye(2)[CLASSES], exclusive=True)
FOLDS = np.arange(60) // 2 % 5


def test_without_weights_probes_are_those_of_cross_fitting() -> None:
    probes = WeightedProbes.choose([FEATURES], GOLD, FOLDS)
    penalty = choose_penalty(FEATURES, GOLD, FOLDS)
    scores = cross_fit(linear_probe(FEATURES, GOLD, penalty=penalty), FOLDS, 2)
    np.testing.assert_array_equal(probes.predict(None), scores)


def test_text_without_weight_has_no_influence() -> None:
    weights = np.ones(60)
    weights[3] = 0
    values = GOLD.values.copy()
    values[3] = [1, 0]
    changed = Gold(GOLD.labels, values, exclusive=True)
    one, other = (WeightedProbes(FEATURES, gold, FOLDS, 0.1) for gold in (GOLD, changed))
    np.testing.assert_array_equal(one.predict(weights), other.predict(weights))
    assert (one.predict(None) != other.predict(None)).any()
