"""Training, scoring and saving."""

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import fix_random_seed
from textcats import ARCHITECTURES, LABELS, TEXTS, make, one_hot, with_cats

from trfcli_pipeline import TransformersLanguage, TransformersTextCategorizer
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_the_classifier_trains_together_with_the_encoder(
    tiny_bert: Path, exclusive_classes: bool
) -> None:
    fix_random_seed(0)
    nlp = make(tiny_bert, "FRUIT", "FILM", weights=False, exclusive_classes=exclusive_classes)
    before = nlp.get_pipe("trf_tok2vec").to_bytes()
    data = {
        "apple pie is delicious": "FRUIT",
        "apple shares rose": "FRUIT",
        "I love apple": "FRUIT",
        "this film is great fun": "FILM",
        "I hate this film": "FILM",
        "film is a bore": "FILM",
    }
    examples = [
        Example.from_dict(
            nlp.make_doc(text), {"cats": {each: float(each == label) for each in ("FRUIT", "FILM")}}
        )
        for text, label in data.items()
    ]
    optimizer = TransformersOptimizer(learn_rate=0.02, trf_lr=0.005)
    losses = []
    for _ in range(30):
        losses.append(nlp.update(examples, sgd=optimizer, drop=0.1)["trf_textcat"])
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]
    for text, label in data.items():
        cats = nlp(text).cats
        assert {each for each, score in cats.items() if score > 0.5} == {label}
    scores = nlp.evaluate(examples)
    assert scores["cats_macro_f"] == 1.0
    assert scores["cats_score"] == 1.0
    assert nlp.get_pipe("trf_tok2vec").to_bytes() != before


def test_losses_add_up(exclusive: Language) -> None:
    examples = with_cats(exclusive, one_hot(0), one_hot(1))
    losses = exclusive.update(examples, sgd=False)
    once = losses["trf_textcat"]
    exclusive.update(examples, sgd=False, losses=losses)
    assert losses["trf_textcat"] == pytest.approx(2 * once, rel=1e-5)
    exclusive.get_pipe("trf_tok2vec").complete_update()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_a_saved_classifier_predicts_the_same(
    tiny_bert: Path, tmp_path: Path, architecture: str, way: str
) -> None:
    nlp = make(tiny_bert, architecture=architecture, exclusive_classes=True)
    if way == "disk":
        nlp.to_disk(tmp_path)
        again = spacy.load(tmp_path)
    else:
        again = TransformersLanguage.from_config(nlp.config).from_bytes(nlp.to_bytes())
    textcat = again.get_pipe("trf_textcat")
    assert textcat.labels == LABELS
    assert textcat.cfg == nlp.get_pipe("trf_textcat").cfg
    assert textcat.exclusive_classes
    for one, other in zip(nlp.pipe(TEXTS), again.pipe(TEXTS), strict=True):
        assert one.cats == other.cats


def test_settings_are_in_the_config_and_saved(tiny_bert: Path, tmp_path: Path) -> None:
    settings = {"pooling": "attention", "class_weights": {"DOG": 5.0}, "focal_gamma": 2.0}
    nlp = make(tiny_bert, exclusive_classes=True, **settings)
    config = nlp.get_pipe_config("trf_textcat")
    assert {key: config[key] for key in settings} == settings
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("trf_textcat").cfg == nlp.get_pipe("trf_textcat").cfg
    for one, other in zip(nlp.pipe(TEXTS), again.pipe(TEXTS), strict=True):
        assert one.cats == other.cats


def test_model_creates_a_classifier() -> None:
    model = TransformersTextCategorizer.Model(3, 16, exclusive_classes=True)
    assert model.get_ref("output_layer").get_param("W").shape == (3, 16)
    assert model.has_ref("features")
