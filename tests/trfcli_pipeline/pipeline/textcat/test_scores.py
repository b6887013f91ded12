"""Predicted scores and decision thresholds."""

from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from textcats import (
    ARCHITECTURES,
    CLASS_VECTOR,
    LABELS,
    LAST_HIDDEN,
    POOLER_OUTPUT,
    TEXTS,
    make,
    one_hot,
    with_cats,
)

from trfcli_pipeline.errors import PipelineError


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_scores_follow_from_the_features(
    tiny_bert: Path, architecture: str, exclusive_classes: bool
) -> None:
    nlp = make(tiny_bert, architecture=architecture, exclusive_classes=exclusive_classes)
    output = nlp.get_pipe("trf_textcat").model.get_ref("output_layer")
    for doc in nlp.pipe(TEXTS):
        hidden = doc._.trf_last_hidden_state
        firsts = np.cumsum([0, *doc._.trf_segments[:, 2]])[:-1]
        rows = {
            LAST_HIDDEN: hidden,
            CLASS_VECTOR: hidden[firsts],
            POOLER_OUTPUT: doc._.trf_pooler_output,
        }[architecture]
        features = rows.mean(axis=0) if len(rows) else np.zeros(hidden.shape[1])
        logits = torch.tensor(output.get_param("W") @ features + output.get_param("b"))
        expected = logits.softmax(0) if exclusive_classes else logits.sigmoid()
        assert list(doc.cats) == list(LABELS)
        np.testing.assert_allclose(list(doc.cats.values()), expected, atol=1e-5)
        if exclusive_classes:
            assert sum(doc.cats.values()) == pytest.approx(1.0, abs=1e-5)


def test_multilabel_scores_are_independent(multilabel: Language) -> None:
    sums = [sum(multilabel(text).cats.values()) for text in TEXTS[:3]]
    assert all(abs(total - 1.0) > 1e-3 for total in sums)


@pytest.mark.parametrize("fixture", ["exclusive", "multilabel"])
def test_an_empty_doc_has_the_scores_of_zero_features(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    nlp = request.getfixturevalue(fixture)
    chance = pytest.approx(1 / len(LABELS) if fixture == "exclusive" else 0.5)
    # Among other Docs, among empty Docs, and alone.
    assert [list(nlp.pipe(TEXTS))[3].cats] == [dict.fromkeys(LABELS, chance)]
    assert [doc.cats for doc in nlp.pipe(["", ""])] == [dict.fromkeys(LABELS, chance)] * 2
    assert nlp("").cats == dict.fromkeys(LABELS, chance)


def test_the_threshold_applies(tiny_bert: Path) -> None:
    found = []
    for threshold in (0.0, 0.9999):
        nlp = make(tiny_bert, weights=False, exclusive_classes=False, threshold=threshold)
        scores = nlp.evaluate(with_cats(nlp, one_hot(0), one_hot(1)))
        found.append(scores["cats_micro_r"])
    assert found == [1.0, 0.0]


def test_thresholds_of_single_labels(tiny_bert: Path, tmp_path: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=False, threshold=0.4)
    textcat = nlp.get_pipe("trf_textcat")
    assert textcat.thresholds == {}
    examples = with_cats(nlp, *map(one_hot, (0, 1, 2)))
    plain = nlp.evaluate(examples)
    docs = list(nlp.pipe(TEXTS[:3]))
    # Each is between the lowest and the second lowest score of its label.
    chosen = {
        label: round(float(np.mean(sorted(doc.cats[label] for doc in docs)[:2])), 6)
        for label in ("FRUIT", "FILM")
    }
    textcat.thresholds = chosen
    scores = nlp.evaluate(examples)
    for index, label in enumerate(LABELS):
        threshold = chosen.get(label, 0.4)
        predicted = [doc.cats[label] >= threshold for doc in docs]
        tp = int(predicted[index])
        found = scores["cats_f_per_type"][label]
        assert found["p"] == (tp / sum(predicted) if any(predicted) else 0.0)
        assert found["r"] == tp
    assert scores["cats_macro_auc"] == plain["cats_macro_auc"]
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("trf_textcat").thresholds == pytest.approx(chosen)
    assert (
        again.evaluate(with_cats(again, *map(one_hot, (0, 1, 2))))["cats_f_per_type"]
        == (scores["cats_f_per_type"])
    )


def test_a_score_at_its_threshold_counts(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=False)
    textcat = nlp.get_pipe("trf_textcat")
    cats = nlp(TEXTS[0]).cats
    truth = dict.fromkeys(LABELS, 1.0)
    for shift, recall in ((0.0, 1.0), (1e-6, 0.0)):
        textcat.thresholds = {label: score + shift for label, score in cats.items()}
        assert nlp.evaluate(with_cats(nlp, truth))["cats_micro_r"] == recall


@pytest.mark.parametrize("values", [{"CAT": 0.5}, {"DOG": 0.0}, {"DOG": 1.0}, {"DOG": -1}])
def test_invalid_thresholds_are_an_error(multilabel: Language, values: dict[str, float]) -> None:
    textcat = multilabel.get_pipe("trf_textcat")
    with pytest.raises(PipelineError, match="thresholds"):
        textcat.thresholds = values
    assert textcat.thresholds == {}


def test_thresholds_do_not_affect_exclusive_labels(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=True)
    examples = with_cats(nlp, *map(one_hot, (0, 1, 2)))
    before = nlp.evaluate(examples)
    nlp.get_pipe("trf_textcat").thresholds = {"DOG": 0.999}
    after = nlp.evaluate(examples)
    assert after["cats_f_per_type"] == before["cats_f_per_type"]
