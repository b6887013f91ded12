import importlib

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("curve", "needed"),
    [([0.5, 0.7, 0.9], 25), ([0.5, 0.8], 18), ([0.8, 0.9], 10), ([0.5, 0.6], None)],
)
def test_texts_needed_for_an_accuracy(curve: list[float], needed: int | None) -> None:
    active_learning = importlib.import_module("active_learning")
    goal = 0.8 if len(curve) == 3 else 0.74
    assert active_learning.texts_needed(np.array(curve), goal, 10) == needed
