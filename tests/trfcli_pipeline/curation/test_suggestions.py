import numpy as np
import pytest
from grouped_features import FEATURES, GROUPS, NONE, store_of

from trfcli_pipeline.curation.suggesting import suggest_texts
from trfcli_pipeline.curation.suggestions import Suggestion, are_unlike, count_represented
from trfcli_pipeline.curation.uncertainty import Scorer
from trfcli_pipeline.data.records import Record

RECORDS = [Record(f"text {number}", None, number) for number in range(100)]


@pytest.mark.parametrize(
    ("doubts", "exclusive", "is_unlike", "stands_for", "reason"),
    [
        ([("A", 0.41), ("B", 0.38)], True, False, 0, "unsure between A (0.41) and B (0.38)"),
        ([("A", 0.93)], True, True, 0, "probably A (0.93); unlike anything labeled"),
        ([("A", 0.52)], False, False, 1, "unsure about A (0.52); stands for 1 other"),
        ([], True, False, 312, "stands for 312 others"),
        ([], True, True, 0, "unlike anything labeled"),
        ([], True, False, 0, "the only one of its kind"),
    ],
)
def test_reasons(
    doubts: list[tuple[str, float]], exclusive: bool, is_unlike: bool, stands_for: int, reason: str
) -> None:
    assert Suggestion(RECORDS[0], doubts, exclusive, is_unlike, stands_for).reason == reason


def test_texts_that_each_chosen_one_stands_for() -> None:
    chosen = np.array([0, 95])
    assert count_represented(store_of(FEATURES[GROUPS != 1]), np.array([0, 65]), NONE)[1] >= 9
    labeled = FEATURES[[45, 75]]
    counts = count_represented(store_of(FEATURES), chosen, labeled)
    assert counts == [39, 9]


def test_unlike_anything_labeled() -> None:
    labeled = FEATURES[GROUPS == 0]
    assert are_unlike(FEATURES[[1, 95]], labeled).tolist() == [False, True]
    assert are_unlike(FEATURES[[95]], labeled[:5]).tolist() == [False]
    assert are_unlike(FEATURES[[95]], NONE).tolist() == [False]


def test_suggestions_of_a_cold_start() -> None:
    found = suggest_texts(RECORDS, store_of(FEATURES), NONE, 4)
    assert [each.stands_for for each in found] == [39, 29, 19, 9]
    assert [each.doubts for each in found] == [()] * 4
    assert len(suggest_texts(RECORDS[:2], store_of(FEATURES[:2]), NONE, 50)) == 2


def test_suggestions_of_a_classifier() -> None:
    scores = np.where(np.arange(100)[:, np.newaxis] % 10 == 0, [0.55, 0.45], [1.0, 0.0])
    scorer = Scorer("AB", True, np.full(2, 0.5))
    found = suggest_texts(
        RECORDS, store_of(FEATURES), FEATURES[:20], 4, scorer=scorer, scores=store_of(scores)
    )
    assert all("unsure between A (0.55) and B (0.45)" in each.reason for each in found)
    assert len({GROUPS[each.record.line] for each in found}) >= 3
