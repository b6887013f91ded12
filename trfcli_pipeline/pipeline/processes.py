"""How `nlp.pipe` starts its worker processes."""

import multiprocessing
from collections.abc import Iterator
from itertools import chain, islice

from spacy.tokens import Doc

from trfcli_pipeline.encoder.devices import can_fork


def spawn_if_needed(docs: Iterator[Doc]) -> Iterator[Doc]:
    """Yield the Docs of spaCy's workers, and have these spawned where forks can't work.

    Args:
        docs: spaCy starts the processes, in the way that is set then, ahead of the first Doc.
    """
    if can_fork():
        return docs
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        return chain(list(islice(docs, 1)), docs)
    finally:
        multiprocessing.set_start_method(before, force=True)
