import json

import numpy as np
import pytest

from trfcli_pipeline.evaluation.deletion import Faithfulness, summarize_drops


def summarize(top: list[float], random: list[list[float]]) -> Faithfulness:
    return summarize_drops(np.array(top), np.array(random), n_short=1, n_deleted=3)


def test_means_and_ratio() -> None:
    found = summarize([0.4, 0.6], [[0.1, 0.3], [0.0, 0.0]])
    assert (found.n_texts, found.n_short, found.draws) == (2, 1, 2)
    assert found.top_drop == pytest.approx(0.5)
    assert found.random_drop == pytest.approx(0.1)
    assert found.ratio == pytest.approx(5)


def test_intervals_hold_the_means() -> None:
    generator = np.random.default_rng(0)
    random = generator.normal(0.1, 0.1, size=(200, 5))
    top = random.mean(axis=1) + generator.normal(0.3, 0.1, size=200)
    found = summarize(top.tolist(), random.tolist())
    assert found.ratio_interval is not None
    assert found.ratio is not None
    for value, (low, high) in (
        (found.top_drop, found.top_interval),
        (found.random_drop, found.random_interval),
        (found.ratio, found.ratio_interval),
    ):
        assert low < value < high
        assert high - low < 0.5 * value


def test_random_tokens_do_not_lower_the_score() -> None:
    found = summarize([0.4, 0.6], [[-0.1], [0.0]])
    assert found.ratio is None
    assert found.ratio_interval is None
    json.dumps(found.as_json(), allow_nan=False)


def test_ratio_without_upper_bound() -> None:
    found = summarize([0.4, 0.6], [[-0.1], [0.2]])
    assert found.ratio == pytest.approx(10)
    assert found.ratio_interval is None
