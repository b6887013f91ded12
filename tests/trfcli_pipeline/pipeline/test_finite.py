"""Activations, scores and losses that are NaN or infinite are errors that name the text."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from spacy.language import Language
from textcats import TEXTS, make, one_hot, with_cats

from trfcli_pipeline.errors import NonFiniteError
from trfcli_pipeline.pipeline.finite import check_finite
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

ACTIVATIONS = r'trf_tok2vec: the activations for the text "Apple pie.*" are NaN or infinite'
SCORES = r'trf_textcat: the scores for the text "Apple pie.*" are NaN or infinite'


@pytest.fixture
def nlp(tiny_bert: Path) -> Language:
    return make(tiny_bert, exclusive_classes=True)


def break_encoder(nlp: Language, value: float) -> None:
    with torch.no_grad():
        next(nlp.get_pipe("trf_tok2vec").transformers_model.parameters()).fill_(value)


def break_classifier(nlp: Language) -> None:
    output = nlp.get_pipe("trf_textcat").model.get_ref("output_layer")
    output.set_param("b", np.full_like(output.get_param("b"), math.nan))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_encoder_is_an_error_in_prediction_and_training(nlp: Language, value: float) -> None:
    break_encoder(nlp, value)
    for predict in (lambda: nlp(TEXTS[0]), lambda: list(nlp.pipe(TEXTS))):
        with pytest.raises(NonFiniteError, match=ACTIVATIONS):
            predict()
    with pytest.raises(NonFiniteError, match=ACTIVATIONS):
        nlp.update(with_cats(nlp, one_hot(0), one_hot(1)), sgd=TransformersOptimizer())


def test_broken_classifier_is_an_error_in_prediction_and_training(nlp: Language) -> None:
    break_classifier(nlp)
    for predict in (lambda: nlp(TEXTS[0]), lambda: list(nlp.pipe(TEXTS))):
        with pytest.raises(NonFiniteError, match=SCORES):
            predict()
    with pytest.raises(NonFiniteError, match=SCORES):
        nlp.update(with_cats(nlp, one_hot(0), one_hot(1)), sgd=TransformersOptimizer())


def test_the_text_of_the_first_broken_row_is_named(nlp: Language) -> None:
    one, two, three = (nlp.make_doc(text) for text in ("one", "two", "three"))
    docs, counts = [one, nlp.make_doc(""), two, three], [2, 0, 3, 1]
    rows = np.zeros((6, 2), dtype="f")
    check_finite("a", "rows", rows, docs, counts)
    for broken, text in ((5, "three"), (4, "two"), (2, "two"), (1, "one")):
        rows[broken, 1] = -math.inf
        with pytest.raises(NonFiniteError, match=f'a: the rows for the text "{text}" are NaN'):
            check_finite("a", "rows", rows, docs, counts)
