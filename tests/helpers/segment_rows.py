"""Segments of Docs, for comparison with plain transformers."""

from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoTokenizer

NAMES = ["bert", "gpt2", "xlnet", "bert-japanese"]
LONG = "the dog and the fox love apple pie, " * 30
TEXTS = [
    "I love this film. Apple pie is delicious! No.",
    f"Short. {LONG}. I hate it; it is a terrible bore. And so on.",
    "x" * 300 + " love it",
    "",
    "Zürich's cafés 😀 reopened 東京\n\n",
]


def plain(nlp: Language) -> Any:
    """Load the tokenizer with transformers."""
    return AutoTokenizer.from_pretrained(nlp.get_pipe("trf_wordpiecer").trf_name)


def rows_of(doc: Doc) -> list[tuple[int, int, slice]]:
    """Return first token, end token and wordpieces of each segment."""
    ends = np.cumsum(doc._.trf_segments[:, 2]).tolist()
    return [
        (first, end, slice(stop - size, stop))
        for (first, end, size), stop in zip(doc._.trf_segments.tolist(), ends, strict=True)
    ]


def assert_same_sums(doc: Doc) -> None:
    hidden = doc._.trf_last_hidden_state
    np.testing.assert_allclose(doc.tensor.sum(axis=0), hidden.sum(axis=0), atol=1e-3, rtol=1e-4)
