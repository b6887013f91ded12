"""Pipelines with an encoder and text classifiers, and examples for them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.training import Example

from trfcli_pipeline import TransformersLanguage

DATA = [
    ("I love this film.", "GOOD"),
    ("I hate this film. It is a bore!", "BAD"),
    ("It is great fun", "GOOD"),
    ("a terrible dog", "BAD"),
]


def multilingual() -> TransformersLanguage:
    """A multi-language pipeline, which loads much faster than an English one."""
    return TransformersLanguage(meta={"lang": "xx"})


def make(nlp: Language, path: Path, *heads: str, **cfg: Any) -> Language:
    """Add an encoder and text classifiers with random weights to a pipeline."""
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(path)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(path), **cfg})
    for name in heads:
        head = nlp.add_pipe("trf_textcat", name=name, config={"exclusive_classes": True})
        head.add_label("GOOD")
        head.add_label("BAD")
    nlp.initialize()
    generator = np.random.default_rng(1)
    for name in heads:
        # With the initial zeros, the encoder would get no gradient in the first step.
        output = nlp.get_pipe(name).model.get_ref("output_layer")
        output.set_param("W", generator.normal(size=output.get_param("W").shape).astype("f"))
    return nlp


def examples(nlp: Language) -> list[Example]:
    return [
        Example.from_dict(
            nlp.make_doc(text), {"cats": {each: float(each == label) for each in ("GOOD", "BAD")}}
        )
        for text, label in DATA
    ]


def encoder_weights(nlp: Language) -> dict[str, torch.Tensor]:
    state = nlp.get_pipe("trf_tok2vec").transformers_model.state_dict()
    return {key: value.detach().cpu().clone() for key, value in state.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
