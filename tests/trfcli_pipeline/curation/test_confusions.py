import numpy as np
import pytest

from trfcli_pipeline.curation.confusions import find_confusions


def test_frequent_pairs_come_first_with_the_given_label_first() -> None:
    pairs = np.array([[50, 2, 0.5], [7, 40, 20], [0.4, 10, 30]])
    first, second = find_confusions(pairs, ["A", "B", "C"])
    assert first.labels == ("B", "C")
    assert first.texts == pytest.approx(30)
    assert first.interval == (20, 41)  # of a Poisson distribution
    assert second.labels == ("B", "A")
    assert second.texts == pytest.approx(9)
