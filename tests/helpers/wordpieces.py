"""Pipelines that only find wordpieces, and their outputs."""

from pathlib import Path

import numpy as np
from spacy.language import Language

from trfcli_pipeline.tokenization.doc_pieces import DocPieces

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Apple shares rose. Apple pie is delicious!  And so on.",
    "",
    " ",
    "\n\n I love\tthis film .\n",
    "Zürich's cafés 😀 reopened 👩‍👩‍👧! Unbelievable!",
    "e\u0301 n\u0303 \u0301",
    "don't can't U.S.A. [SEP] [CLS]. </s>",
    "x" * 300 + " " + "love" * 40,
]
MAX_LENGTH = 64


def wordpieces_only(path: Path, nlp: Language) -> Language:
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(path)})
    nlp.initialize()
    return nlp


def equal(one: DocPieces, other: DocPieces) -> bool:
    return (
        one.ids == other.ids
        and one.type_ids == other.type_ids
        and np.array_equal(one.segments, other.segments)
        and one.strings == other.strings
        and np.array_equal(one.links, other.links)
    )
