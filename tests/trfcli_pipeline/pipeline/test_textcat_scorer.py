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

quick = settings(max_examples=60)

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


def with_gold(scores: list[float], **gold: float) -> Example:
    example = make_example(scores, [None] * len(LABELS))
    example.reference.cats = dict(gold)
    return example


@pytest.mark.parametrize("thresholds", [{}, {"A": 0.5, "B": 0.5}])
@pytest.mark.parametrize("multi_label", [True, False])
def test_gold_labels_may_be_shares(thresholds: dict[str, float], multi_label: bool) -> None:
    examples = [
        with_gold([0.6, 0.4, 0], A=0.9, B=0.2),
        with_gold([0.4, 0.6, 0], A=0.2, B=0.9),
        with_gold([0.6, 0.4, 0], A=0.2, B=0.9),
    ]
    certain = [
        with_gold(
            list(each.predicted.cats.values()),
            **{label: round(value) for label, value in each.reference.cats.items()},
        )
        for each in examples
    ]
    options = {"labels": LABELS[:2], "multi_label": multi_label, "thresholds": thresholds}
    found = score_textcat(examples, **options)
    assert found == score_textcat(certain, **options)
    assert found["cats_macro_auc"] == pytest.approx(0.75)
    assert found["cats_micro_f"] == pytest.approx(2 / 3)


def test_text_without_an_exclusive_label_is_not_scored() -> None:
    examples = [with_gold([0.6, 0.4, 0], A=1.0, B=0.0), with_gold([0, 1, 0], A=0.4, B=0.35, C=0.25)]
    found, expected = (
        score_textcat(each, labels=LABELS, multi_label=False) for each in (examples, examples[:1])
    )
    assert found == expected
