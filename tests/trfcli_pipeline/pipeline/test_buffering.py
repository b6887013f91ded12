from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.pipeline import buffering
from trfcli_pipeline.pipeline.buffering import pipe_buffers

VOCAB = spacy.blank("xx").vocab
ROOM = 20


class Component:
    """Records its batches, and fails for Docs with the word "bad"."""

    name = "component"

    def __init__(self) -> None:
        self.buffers: list[list[int]] = []
        self.events: list[str] = []
        self.failed: list[list[str]] = []
        self.handler: Callable[..., None] = self.note

    def start(self, docs: Sequence[Doc]) -> Callable[[], None]:
        self.events.append(f"start {len(docs)}")
        return partial(self.annotate, docs)

    def annotate(self, docs: Sequence[Doc]) -> None:
        self.events.append(f"finish {len(docs)}")
        self.buffers.append([len(doc) for doc in docs])
        if any(token.text == "bad" for doc in docs for token in doc):
            raise ValueError("a bad Doc")

    def get_error_handler(self) -> Callable[..., None]:
        return self.handler

    def note(self, name: str, component: Any, docs: Sequence[Doc], error: Exception) -> None:
        assert (name, component, str(error)) == ("component", self, "a bad Doc")
        self.failed.append([doc.text for doc in docs])


@pytest.fixture(autouse=True, scope="module")
def small_buffers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffering, "_BUFFER", ROOM)
        patch.setattr(buffering, "_DEVICE_BUFFER", ROOM)
        yield


def doc_of(*words: str) -> Doc:
    return Doc(VOCAB, words=list(words))


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(2, 50))
def test_buffers_are_bounded_with_any_batch_size(lengths: list[int], batch_size: int) -> None:
    component = Component()
    docs = [doc_of(*["a"] * length) for length in lengths]
    found = list(pipe_buffers(component, iter(docs), component.start, batch_size))
    assert all(one is other for one, other in zip(found, docs, strict=True))
    sizes = [[length + 1 for length in buffer] for buffer in component.buffers]
    assert all(sum(buffer[:-1]) < ROOM for buffer in sizes)
    assert all(sum(buffer) >= ROOM for buffer in sizes[:-1])


def test_docs_come_out_one_by_one_with_a_batch_size_of_one() -> None:
    component = Component()
    taken = []

    def stream() -> Iterator[Doc]:
        for word in "abc":
            taken.append(word)
            yield doc_of(word)

    results = pipe_buffers(component, stream(), component.start, 1)
    assert [(doc.text.strip(), len(taken)) for doc in results] == [("a", 1), ("b", 2), ("c", 3)]


def test_a_stream_is_not_read_ahead() -> None:
    component = Component()

    def endless() -> Iterator[Doc]:
        while True:
            yield doc_of("a")

    results = pipe_buffers(component, endless(), component.start, 5)
    next(results)
    results.close()
    assert len(component.buffers) == 1


def test_only_the_batch_that_fails_is_lost() -> None:
    component = Component()
    words = ["a", "b", "c", "bad", "e", "f"]
    stream = (doc_of(word) for word in words)
    results = list(pipe_buffers(component, stream, component.start, 2))
    assert [doc.text.strip() for doc in results] == ["a", "b", "e", "f"]
    assert [[text.strip() for text in batch] for batch in component.failed] == [["c", "bad"]]


def test_the_next_buffer_is_started_before_one_is_finished_if_asked_for() -> None:
    docs = [doc_of(*["a"] * ROOM) for _ in range(3)]
    for ahead, expected in ((True, "ssfsff"), (False, "sfsfsf")):
        component = Component()
        found = list(pipe_buffers(component, iter(docs), component.start, 2, ahead=ahead))
        assert found == docs
        assert "".join(event[0] for event in component.events) == expected


def test_a_buffer_that_fails_ahead_comes_after_the_docs_before_it() -> None:
    component = Component()

    def start(docs: Sequence[Doc]) -> Callable[[], None]:
        component.annotate(docs)
        return lambda: None

    docs = [doc_of(*["a"] * ROOM), doc_of("bad", *["a"] * ROOM), doc_of("c")]
    found = list(pipe_buffers(component, iter(docs), start, 2, ahead=True))
    assert [doc[0].text for doc in found] == ["a", "c"]
    assert len(component.failed) == 1


def test_an_error_is_raised_after_the_docs_before_it_are_yielded() -> None:
    component = Component()
    component.handler = spacy.util.raise_error
    results = pipe_buffers(component, map(doc_of, ["a", "b", "bad", "d"]), component.start, 2)
    assert [next(results).text.strip(), next(results).text.strip()] == ["a", "b"]
    with pytest.raises(ValueError, match="a bad Doc"):
        next(results)


def test_sentences_of_many_docs_are_sorted_into_sub_batches_together(
    make_nlp: Callable[..., Language], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["apple " * (1 + 7 * i % 20) for i in range(100)]
    for words_per_batch, expected in ((200, True), (0, False)):
        nlp = make_nlp(words_per_batch=words_per_batch)
        model = nlp.get_pipe("trf_tok2vec").model
        encode = model.shim.encode
        shapes: list[tuple[int, int]] = []

        def noting(batch: Any, encode: Any = encode, shapes: list[Any] = shapes) -> Any:
            shapes.append(tuple(batch.mask.shape))
            return encode(batch)

        monkeypatch.setattr(model.shim, "encode", noting)
        lengths = [len(doc) for doc in nlp.pipe(texts, batch_size=2)]
        assert lengths == [1 + 7 * i % 20 for i in range(100)]
        assert any(rows > 2 for rows, _ in shapes) == expected
