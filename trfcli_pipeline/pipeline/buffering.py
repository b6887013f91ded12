"""Streams of Docs, processed in buffers of a bounded number of tokens."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from spacy import util
from spacy.tokens import Doc

# Tokens of a buffer. Enough for sub-batches with hardly any padding, few enough to take little
# memory: each has several rows of the encoder's width.
_BUFFER = 2**14


def pipe_buffers(
    component: Any,
    stream: Iterable[Doc],
    annotate: Callable[[Sequence[Doc]], None],
    batch_size: int,
) -> Iterator[Doc]:
    """Process Docs as a stream, in order, as many at once as are worth it.

    That takes neither more memory with a large batch size nor more time with a small one.

    Args:
        component: Its error handler gets the Docs of a batch that fails.
        annotate: Processes some Docs.
        batch_size: How many Docs fail together. 1 makes each come out before the next is taken.
    """
    for docs in _buffers(stream, at_once=batch_size == 1):
        try:
            annotate(docs)
        except Exception:
            yield from _pipe_batches(component, docs, annotate, batch_size)
        else:
            yield from docs


def _pipe_batches(
    component: Any,
    docs: Sequence[Doc],
    annotate: Callable[[Sequence[Doc]], None],
    batch_size: int,
) -> Iterator[Doc]:
    """Process Docs again of which some made the others fail."""
    for batch in util.minibatch(docs, size=batch_size):
        try:
            annotate(batch)
        except Exception as error:
            component.get_error_handler()(component.name, component, batch, error)
        else:
            yield from batch


def _buffers(stream: Iterable[Doc], *, at_once: bool) -> Iterator[list[Doc]]:
    docs: list[Doc] = []
    n_tokens = 0
    for doc in stream:
        docs.append(doc)
        n_tokens += len(doc)
        # Docs without tokens take memory, too.
        if at_once or n_tokens + len(docs) >= _BUFFER:
            yield docs
            docs, n_tokens = [], 0
    if docs:
        yield docs
