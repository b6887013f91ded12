"""Initial weights of a new classifier."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textcats import LABELS, TEXTS, make, with_cats


def test_multilabel_classifiers_start_at_the_frequency_of_each_label(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, *LABELS, "RARE", "UNKNOWN", weights=False)
    cats: list[dict[str, float]] = [{"FRUIT": 1.0, "DOG": 0.0, "RARE": 0.0}] * 3
    cats += [{"FRUIT": 0.0, "FILM": 1.0}, {"DOG": 1.0, "FILM": 0.0, "RARE": 0.0}]
    examples = with_cats(nlp, *cats)
    nlp.initialize(lambda: examples)
    expected = {"FRUIT": 3 / 4, "DOG": 1 / 4, "FILM": 1 / 2, "RARE": 0.01, "UNKNOWN": 1 / 2}
    for text in TEXTS:
        assert nlp(text).cats == {label: pytest.approx(expected[label]) for label in expected}


def test_exclusive_labels_start_equally_likely(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=True)
    assert nlp(TEXTS[0]).cats == dict.fromkeys(LABELS, pytest.approx(1 / 3))


@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_the_probe_fits_the_known_labels(tiny_bert: Path, exclusive_classes: bool) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=exclusive_classes)
    textcat = nlp.get_pipe("trf_textcat")
    cats: list[dict[str, float]] = [
        {label: float(label == gold) for label in LABELS} for gold in LABELS
    ]
    examples = with_cats(nlp, *cats)
    # If labels aren't exclusive, only one of them is known here.
    examples += with_cats(nlp, {} if exclusive_classes else {"FRUIT": 1.0})
    docs = list(nlp.pipe([example.text for example in examples]))
    features = textcat.model.get_ref("features").predict(docs)

    def loss() -> float:
        return float(textcat.get_loss(examples, textcat.predict(docs))[0])

    before = loss()
    textcat.initialize_from_probe(features, examples)
    assert loss() < before
    output = textcat.model.get_ref("output_layer")
    best = output.get_param("W").copy()
    scale = np.linalg.norm(features, axis=1).mean()
    n_terms = 3 if exclusive_classes else 10

    def objective(weights: Any) -> float:
        output.set_param("W", weights)
        return n_terms * loss() + 0.5 * float(((scale * weights) ** 2).sum())

    generator = np.random.default_rng(0)
    for _ in range(10):
        other = best + generator.normal(scale=0.1 / scale, size=best.shape).astype("f")
        assert objective(best) < objective(other)
