"""Run pipelines on many texts: only as far as needed, and with bounded memory."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

# Each takes about 400 bytes in the vocab.
_KEPT_WORDS = 20_000


def run_up_to(nlp: Language, last: str, docs: Iterable[Doc]) -> list[Doc]:
    """Run the pipeline on Docs, up to and including the component named `last`."""
    return list(pipe_up_to(nlp, last, docs))


def pipe_up_to(nlp: Language, last: str, docs: Iterable[Doc]) -> Iterator[Doc]:
    """Do what `run_up_to` does, and yield each Doc as soon as it is done."""
    enabled = nlp.pipe_names[: nlp.pipe_names.index(last) + 1]
    with nlp.select_pipes(enable=enabled):
        yield from nlp.pipe(docs)


@contextmanager
def few_collections() -> Iterator[None]:
    """Exclude existing objects from garbage collection inside the context.

    Each Doc has a dozen lists and arrays, so the collector would look through all of spaCy and
    torch every few hundred Docs. Use it around a whole stream. If objects are excluded already, it
    does nothing.
    """
    if gc.get_freeze_count():
        yield
        return
    # Excluded garbage would keep its memory, which may be that of a GPU.
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def bounded_vocab(nlp: Language) -> AbstractContextManager[Any]:
    """A context in which new words are forgotten at the end, once the vocab has many.

    Tokenizing known words is several times faster, and the first words include the common ones.
    Keeping all words of a long stream would exhaust memory. Docs mustn't be used after the context.
    """
    return nullcontext() if len(nlp.vocab) < _KEPT_WORDS else nlp.memory_zone()
