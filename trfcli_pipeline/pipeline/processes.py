"""How worker processes for a pipeline are started."""

import multiprocessing
from collections.abc import Iterator
from itertools import chain, islice

from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.encoder.devices import can_fork
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec


def forks_work(nlp: Language) -> bool:
    """Whether forks of this process can run a pipeline."""
    encoders = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, TransformersTok2Vec)]
    return can_fork() and all(each.model.shim.can_fork for each in encoders)


def spawn_if_needed(nlp: Language, docs: Iterator[Doc]) -> Iterator[Doc]:
    """Yield the Docs of spaCy's workers, and have these spawned where forks can't work.

    Args:
        nlp: The pipeline.
        docs: spaCy starts the processes, in the way that is set then, ahead of the first Doc.
    """
    if forks_work(nlp):
        return docs
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        return chain(list(islice(docs, 1)), docs)
    finally:
        multiprocessing.set_start_method(before, force=True)
