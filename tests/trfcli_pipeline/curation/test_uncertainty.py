import numpy as np
import pytest

from trfcli_pipeline.curation.uncertainty import Scorer

SCORES = np.array([[0.5, 0.4, 0.1], [0.9, 0.06, 0.04], [0.2, 0.6, 0.2]])


def test_exclusive_labels() -> None:
    scorer = Scorer("ABC", True, np.full(3, 0.5))
    assert scorer.margins(SCORES) == pytest.approx([0.1, 0.84, 0.4])
    assert scorer.doubts(SCORES[0]) == [("A", 0.5), ("B", 0.4)]
    assert scorer.doubts(SCORES[1]) == [("A", 0.9)]
    # The first of equal labels
    assert scorer.doubts(SCORES[2]) == [("B", 0.6), ("A", 0.2)]


def test_several_labels_with_thresholds_of_their_own() -> None:
    scorer = Scorer("ABC", False, np.array([0.5, 0.5, 0.4]))
    assert scorer.margins(SCORES) == pytest.approx([0.0, 0.8, 0.2])
    # In the last text, C is half-way between its threshold and 0.
    assert [scorer.doubts(row) for row in SCORES] == [[("A", 0.5)], [("A", 0.9)], [("B", 0.6)]]


def test_a_single_label() -> None:
    scorer = Scorer("A", False, np.array([0.5]))
    assert scorer.margins(np.array([[0.75], [0.0]])) == pytest.approx([0.5, 1.0])
