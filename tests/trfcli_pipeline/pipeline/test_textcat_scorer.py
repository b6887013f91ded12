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
# Hundredths, so that scores and thresholds meet.
hundredths = st.integers(0, 100).map(lambda n: n / 100)
between = st.integers(1, 99).map(lambda n: n / 100)
rows = st.lists(
    st.tuples(
        st.lists(hundredths, min_size=3, max_size=3),
        st.lists(st.booleans(), min_size=3, max_size=3),
    ),
    min_size=1,
    max_size=8,
)


def make_example(scores: list[float], truths: list[bool]) -> Example:
    predicted, reference = Doc(VOCAB, words=["a"]), Doc(VOCAB, words=["a"])
    predicted.cats = dict(zip(LABELS, scores, strict=True))
    reference.cats = dict(zip(LABELS, map(float, truths), strict=True))
    return Example(predicted, reference)


@quick
@given(rows, st.dictionaries(st.sampled_from(LABELS), between), between)
def test_each_label_is_scored_by_its_threshold(
    data: list[tuple[list[float], list[bool]]], thresholds: dict[str, float], common: float
) -> None:
    examples = [make_example(*row) for row in data]
    found = score_textcat(examples, labels=LABELS, threshold=common, thresholds=thresholds)
    scores = np.array([row[0] for row in data])
    truths = np.array([row[1] for row in data])
    for column, label in enumerate(LABELS):
        said = scores[:, column] >= thresholds.get(label, common)
        p, r, f, _ = precision_recall_fscore_support(
            truths[:, column], said, average="binary", zero_division=0.0
        )
        expected = {"p": p, "r": r, "f": f}
        assert found["cats_f_per_type"][label] == pytest.approx(expected)
    plain = Scorer.score_cats(examples, "cats", labels=LABELS)["cats_auc_per_type"]
    assert found["cats_auc_per_type"] == pytest.approx(plain, nan_ok=True)


@quick
@given(rows, st.booleans())
def test_without_thresholds_it_is_spacys(
    data: list[tuple[list[float], list[bool]]], multi_label: bool
) -> None:
    examples = [make_example(*row) for row in data]
    options = {"labels": LABELS, "multi_label": multi_label}
    expected = Scorer.score_cats(examples, "cats", **options)
    # Written out, since spaCy's areas under curves may be NaN.
    assert str(score_textcat(examples, **options)) == str(expected)
    assert str(make_textcat_scorer()(examples, **options)) == str(expected)
    if not multi_label:
        # They mean nothing where exactly one label holds.
        assert str(score_textcat(examples, thresholds={"A": 0.9}, **options)) == str(expected)
