"""Processes streams of Docs in buffers with a bounded number of tokens."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from spacy import util
from spacy.tokens import Doc

# Starts to process Docs, and returns a function that finishes it.
Start = Callable[[Sequence[Doc]], Callable[[], None]]

# Tokens in a buffer: enough for sub-batches with hardly any padding, and few enough to need little
# memory, as each token has several rows of the encoder's width.
_BUFFER = 2**14
# An accelerator is only busy with larger sub-batches.
_DEVICE_BUFFER = 2**15


def pipe_buffers(
    component: Any,
    stream: Iterable[Doc],
    start: Start,
    batch_size: int,
    *,
    ahead: bool = False,
) -> Iterator[Doc]:
    """Process a stream of Docs in order, in buffers whose size doesn't depend on the batch size.

    Args:
        component: Component whose error handler gets the Docs of a batch that fails.
        stream: The Docs.
        start: Starts to process a sequence of Docs in place.
        batch_size: Number of Docs that fail together. With 1, each Doc is yielded before the next
            is read.
        ahead: Whether to read and start the next buffer before a buffer is finished, and to use
            larger buffers. For components that compute on an accelerator.

    Yields:
        The Docs.
    """
    at_once = batch_size == 1
    started: deque[tuple[list[Doc], Callable[[], None]]] = deque()
    for docs in _buffers(stream, _DEVICE_BUFFER if ahead else _BUFFER, at_once=at_once):
        started.append((docs, _try_to_start(start, docs)))
        if at_once or not ahead or len(started) > 1:
            yield from _finish(component, *started.popleft(), start, batch_size)
    while started:
        yield from _finish(component, *started.popleft(), start, batch_size)


def _try_to_start(start: Start, docs: list[Doc]) -> Callable[[], None]:
    try:
        return start(docs)
    except Exception as error:
        return partial(_raise, error)


def _raise(error: Exception) -> None:
    raise error


def _finish(
    component: Any, docs: list[Doc], finish: Callable[[], None], start: Start, batch_size: int
) -> Iterator[Doc]:
    try:
        finish()
    except Exception:
        yield from _pipe_batches(component, docs, start, batch_size)
    else:
        yield from docs


def _pipe_batches(
    component: Any, docs: Sequence[Doc], start: Start, batch_size: int
) -> Iterator[Doc]:
    """Process the Docs of a buffer that failed again, batch by batch."""
    for batch in util.minibatch(docs, size=batch_size):
        try:
            start(batch)()
        except Exception as error:
            component.get_error_handler()(component.name, component, batch, error)
        else:
            yield from batch


def _buffers(stream: Iterable[Doc], size: int, *, at_once: bool) -> Iterator[list[Doc]]:
    docs: list[Doc] = []
    n_tokens = 0
    for doc in stream:
        docs.append(doc)
        n_tokens += len(doc)
        # Docs without tokens need memory, too.
        if at_once or n_tokens + len(docs) >= size:
            yield docs
            docs, n_tokens = [], 0
    if docs:
        yield docs
