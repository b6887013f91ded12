from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from trfcli_pipeline.pipeline.textcat_scorer import make_textcat_scorer, score_textcat

quick = settings(max_examples=60, deadline=None)

LABELS = ("A", "B", "C")
VOCAB = Vocab()
# Hundredths, so that some scores equal a threshold.
hundredths = st.integers(0, 100).map(lambda n: n / 100)
between = st.integers(1, 99).map(lambda n: n / 100)
# None is an unknown gold label.
gold_labels = st.none() | st.booleans()
rows = st.lists(
    st.tuples(
        st.lists(hundredths, min_size=3, max_size=3),
        st.lists(st.booleans(), min_size=3, max_size=3),
    ),
    min_size=1,
    max_size=8,
)
partial_rows = st.lists(
    st.tuples(
        st.lists(hundredths, min_size=3, max_size=3),
        st.lists(gold_labels, min_size=3, max_size=3),
    ),
    max_size=8,
)


def make_example(scores: list[float], gold: Sequence[bool | None]) -> Example:
    predicted, reference = Doc(VOCAB, words=["a"]), Doc(VOCAB, words=["a"])
    predicted.cats = dict(zip(LABELS, scores, strict=True))
    pairs = zip(LABELS, gold, strict=True)
    reference.cats = {label: float(applies) for label, applies in pairs if applies is not None}
    return Example(predicted, reference)


@quick
@given(rows, st.dictionaries(st.sampled_from(LABELS), between), between)
def test_each_label_has_its_own_threshold(
    data: list[tuple[list[float], list[bool]]], thresholds: dict[str, float], common: float
) -> None:
    examples = [make_example(*row) for row in data]
    found = score_textcat(examples, labels=LABELS, threshold=common, thresholds=thresholds)
    scores = np.array([row[0] for row in data])
    truths = np.array([row[1] for row in data])
    for column, label in enumerate(LABELS):
        predicted = scores[:, column] >= thresholds.get(label, common)
        p, r, f, _ = precision_recall_fscore_support(
            truths[:, column], predicted, average="binary", zero_division=0.0
        )
        expected = {"p": p, "r": r, "f": f}
        assert found["cats_f_per_type"][label] == pytest.approx(expected)
    plain = Scorer.score_cats(examples, "cats", labels=LABELS)["cats_auc_per_type"]
    assert found["cats_auc_per_type"] == pytest.approx(plain, nan_ok=True)


@quick
@given(partial_rows, between)
def test_equal_thresholds_give_the_scores_of_spacy(
    data: list[tuple[list[float], list[bool | None]]], threshold: float
) -> None:
    examples = [make_example(*row) for row in data]
    expected = Scorer.score_cats(examples, "cats", labels=LABELS, threshold=threshold)
    found = score_textcat(examples, labels=LABELS, thresholds=dict.fromkeys(LABELS, threshold))
    assert list(found) == list(expected)
    for name, value in expected.items():
        if "auc" in name or name == "cats_score":
            assert found[name] == pytest.approx(value, nan_ok=True)
        else:
            assert found[name] == value, name


@quick
@given(rows, st.booleans())
def test_without_thresholds_scores_are_those_of_spacy(
    data: list[tuple[list[float], list[bool]]], multi_label: bool
) -> None:
    examples = [make_example(*row) for row in data]
    options = {"labels": LABELS, "multi_label": multi_label}
    expected = Scorer.score_cats(examples, "cats", **options)
    # Compared as text because spaCy's AUC may be NaN.
    assert str(score_textcat(examples, **options)) == str(expected)
    assert str(make_textcat_scorer()(examples, **options)) == str(expected)
    if not multi_label:
        # Thresholds do not affect exclusive labels.
        assert str(score_textcat(examples, thresholds={"A": 0.9}, **options)) == str(expected)
