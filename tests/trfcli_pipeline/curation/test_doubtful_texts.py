import numpy as np

from trfcli_pipeline.curation.copies import Copy
from trfcli_pipeline.curation.doubtful_texts import find_doubtful_texts
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.label_errors import LabelErrors
from trfcli_pipeline.data.records import Record

ANGLES = np.radians([0, 5, 20, 90, 91])
FEATURES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
GIVEN = np.eye(2, dtype=bool)[[1, 0, 0, 1, 0]]
GOLD = Gold(("A", "B"), GIVEN.astype(float), exclusive=True)
RECORDS = [
    Record(f"text {number}", {GOLD.labels[row.argmax()]: 1.0}, number + 1)
    for number, row in enumerate(GIVEN)
]


def errors(*doubts: float) -> LabelErrors:
    suggested = np.where(np.array(doubts)[:, np.newaxis] >= 0.5, ~GIVEN, GIVEN)
    return LabelErrors(
        np.array(doubts), GIVEN, suggested, np.zeros((2, 2)), (0, 2), np.ones(2, dtype=bool)
    )


def test_nearest_trusted_text_with_the_suggested_label_is_shown() -> None:
    found = find_doubtful_texts(RECORDS, GOLD, FEATURES, errors(0.9, 0.6, 0.1, 0.0, 0.1), [])
    first, second = found
    assert (first.index, first.given, first.suggested) == (0, ("B",), ("A",))
    # The second text is nearer, but doubtful itself.
    assert first.nearest == 2
    assert first.reason == "probably wrong (90 %)"
    assert (second.index, second.suggested, second.nearest) == (1, ("B",), 3)


def test_copies_that_disagree_follow_with_the_label_of_the_less_doubtful_one() -> None:
    pairs = [Copy(3, 4, "same", 1.0), Copy(1, 2, "near", 0.97), Copy(0, 2, "alike", 0.94)]
    found = find_doubtful_texts(RECORDS, GOLD, FEATURES, errors(0.9, 0.0, 0.1, 0.1, 0.2), pairs)
    assert [each.index for each in found] == [0, 4]
    assert found[1].suggested == ("B",)
    assert found[1].reason == "a copy has other labels (line 4)"
    assert found[1].nearest == 3


def test_suggestion_that_no_trusted_text_has_comes_without_a_neighbor() -> None:
    found = find_doubtful_texts(RECORDS, GOLD, FEATURES, errors(0.0, 0.9, 0.9, 0.9, 0.9), [])
    nearest = {each.index: each.nearest for each in found}
    assert nearest[1] == 0  # the only text with B that isn't doubtful
    assert nearest[3] is None
