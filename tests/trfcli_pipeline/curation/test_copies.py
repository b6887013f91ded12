import numpy as np

from trfcli_pipeline.curation.copies import find_disagreements, find_leaks
from trfcli_pipeline.curation.neighbors import find_neighbors
from trfcli_pipeline.data.records import Record


def records(*texts: tuple[str, str]) -> list[Record]:
    return [Record(text, {label: 1.0}, line) for line, (text, label) in enumerate(texts, 1)]


def unit(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_copies_with_other_labels_are_found_the_most_similar_first() -> None:
    texts = records(("near", "A"), ("Hi!", "A"), ("hi", "B"), ("nearly", "B"), ("Hi!", "A"))
    features = unit(0, 60, 60, 5, 60)
    found = find_disagreements(texts, features, find_neighbors(features, 4))
    assert [(pair.index, pair.other, pair.kind) for pair in found] == [
        (1, 2, "alike"),
        (2, 4, "alike"),
        (0, 3, "near"),
    ]
    assert found[-1].similarity > 0.99


def test_copies_with_the_same_labels_are_fine() -> None:
    texts = records(("Hi", "A"), ("hi", "A"), ("other", "B"))
    features = unit(0, 0, 90)
    assert not find_disagreements(texts, features, find_neighbors(features, 2))


def test_leaks_are_found_by_text_words_and_features() -> None:
    texts = records(("one", "A"), ("Two!", "A"), ("three", "B"), ("four", "B"))
    others = records(("two", "A"), ("one ", "B"), ("3", "B"), ("unlike", "A"))
    leaks = find_leaks(texts, others, unit(0, 90, 180, 45), unit(91, 1, 178, 270))
    assert [(pair.index, pair.other, pair.kind) for pair in leaks] == [
        (0, 1, "same"),
        (1, 0, "alike"),
        (2, 2, "near"),
    ]
