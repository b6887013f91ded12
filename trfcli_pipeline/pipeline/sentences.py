"""Sets on training Docs the sentence boundaries that the pipeline would predict."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
from spacy.attrs import SENT_START
from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.tokenization.segments import Segmentation

# What components that set sentence boundaries declare in `assigns`.
_ATTRIBUTES = {"token.is_sent_start", "doc.sents"}

Component = Callable[[Doc], Doc]


def sentence_setters(nlp: Language, component: Any) -> list[Component]:
    """Return the components before another one up to the last that may set sentence boundaries.

    Those in between may set what that one reads, such as tags or the vectors of a parser. A
    component that doesn't declare what it assigns may set boundaries, too.
    """
    before: list[Component] = []
    last = 0
    for name, pipe in nlp.pipeline:
        if pipe is component:
            break
        before.append(pipe)
        assigns = nlp.get_pipe_meta(name).assigns
        if not assigns or not _ATTRIBUTES.isdisjoint(assigns):
            last = len(before)
    return before[:last]


def set_sentences(docs: Iterable[Doc], setters: Sequence[Component]) -> None:
    """Set the boundaries that some components predict, on Docs without any.

    The components run on copies, so that nothing else changes.
    """
    docs = [doc for doc in docs if not doc.has_annotation("SENT_START")]
    copies = [doc.copy() for doc in docs]
    for pipe in setters:
        copies = list(pipe.pipe(copies)) if hasattr(pipe, "pipe") else [*map(pipe, copies)]
    for doc, copied in zip(docs, copies, strict=True):
        if copied.has_annotation("SENT_START"):
            # By characters, as a component may have merged or split tokens.
            starts = {token.idx for token in copied if token.is_sent_start}
            values = [1 if token.idx in starts else -1 for token in doc]
            doc.from_array([SENT_START], cast(Any, np.array(values, np.int64).astype(np.uint64)))


def warn_without_sentences(docs: Iterable[Doc], settings: Segmentation) -> bool:
    """Warn if Docs have no boundaries although segments depend on them. Returns whether it did."""
    if settings.segments == "doc" or all(
        len(doc) < 2 or doc.has_annotation("SENT_START") for doc in docs
    ):
        return False
    warnings.warn(
        "trf_wordpiecer: the texts have no sentence boundaries, and no pipeline that could set "
        "them is updating it. Each text is treated as one sentence",
        stacklevel=3,
    )
    return True
