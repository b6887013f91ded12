"""Pipelines with a text classifier, and examples for it."""

from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.training import Example

from trfcli_pipeline import TransformersLanguage

LAST_HIDDEN = "softmax_last_hidden"
CLASS_VECTOR = "softmax_class_vector"
POOLER_OUTPUT = "softmax_pooler_output"
ARCHITECTURES = [LAST_HIDDEN, CLASS_VECTOR, POOLER_OUTPUT]
LABELS = ("FRUIT", "DOG", "FILM")
TEXTS = ["Apple pie is delicious!", "The lazy dog. Jumps over!", "I love this film", "", " "]


def make(
    path: Path, *labels: str, weights: bool = True, keep: Any = "all", **config: Any
) -> Language:
    """Create a pipeline whose classifier has random weights, or zeros."""
    # English would take longer to load than everything else.
    nlp = TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(path)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(path), "keep": keep})
    textcat = nlp.add_pipe("trf_textcat", config=config)
    for label in labels or LABELS:
        textcat.add_label(label)
    nlp.initialize()
    if weights:
        output = textcat.model.get_ref("output_layer")
        shape = output.get_param("W").shape
        output.set_param("W", np.random.default_rng(0).normal(size=shape).astype("f") / 4)
    return nlp


def set_scores(nlp: Language, scores: dict[str, float], name: str = "trf_textcat") -> None:
    """Let a classifier without weights give every text the same scores."""
    textcat: Any = nlp.get_pipe(name)
    odds = np.array(list(scores.values()), "f")
    logits = np.log(odds) if textcat.exclusive_classes else np.log(odds / (1 - odds))
    textcat.model.get_ref("output_layer").set_param("b", logits)


def with_cats(nlp: Language, *cats: dict[str, float]) -> list[Example]:
    return [
        Example.from_dict(nlp.make_doc(text), {"cats": each})
        for text, each in zip(TEXTS * 2, cats, strict=False)
    ]


def one_hot(index: int) -> dict[str, float]:
    return {label: float(i == index) for i, label in enumerate(LABELS)}
