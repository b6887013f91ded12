from typing import Any

import numpy as np
import pytest
from spacy.tokens import Doc, Span, Token
from spacy.tokens.underscore import Underscore
from spacy.vocab import Vocab

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.extensions import doc_alignment, install_extensions

install_extensions()

# Sentence 1: a b "  ", sentence 2: c d. Both have special tokens, nothing is aligned to the
# whitespace, and d was truncated.
PIECES = ["[CLS]", "a", "b1", "b2", "[SEP]", "[CLS]", "c", "[SEP]"]
ALIGNMENT = [[1], [2, 3], [], [6], []]
SEGMENTS = np.array([[0, 3, 5], [3, 4, 3]], dtype=np.int32)
WIDTH, LAYERS, HEADS = 2, 1, 2

BY_PIECE = ["trf_word_pieces", "trf_word_pieces_", "trf_token_type_ids", "trf_last_hidden_state"]
BY_PIECE += ["trf_d_last_hidden_state"]
BY_LAYER = ["trf_all_hidden_states", "trf_d_all_hidden_states"]
BY_SEGMENT = ["trf_pooler_output", "trf_d_pooler_output"]
BY_SEGMENT += ["trf_all_attentions", "trf_d_all_attentions"]
OF_PARTS = [*BY_PIECE, *BY_LAYER, *BY_SEGMENT, "all_attentions", "trf_alignment"]

# First and last token of a part, and the wordpieces and segments that belong to it.
PARTS = [
    (0, 1, slice(1, 2), slice(0, 1)),
    (1, 2, slice(2, 4), slice(0, 1)),
    (2, 3, slice(0, 0), slice(0, 1)),
    (3, 4, slice(6, 7), slice(1, 2)),
    (4, 5, slice(0, 0), slice(1, 2)),
    (0, 3, slice(1, 4), slice(0, 1)),
    (3, 5, slice(6, 7), slice(1, 2)),
    # Special tokens in between are included.
    (1, 4, slice(2, 7), slice(0, 2)),
    (0, 5, slice(1, 7), slice(0, 2)),
    (2, 2, slice(0, 0), slice(0, 0)),
    (0, 0, slice(0, 0), slice(0, 0)),
]


def make_plain_doc() -> Doc:
    return Doc(Vocab(), words=["a", "b", "  ", "c", "d"])


@pytest.fixture
def doc() -> Doc:
    """Create a Doc with a value of every kind; all numbers are distinct."""
    doc = make_plain_doc()
    numbers = iter(range(1000))

    def floats(*shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        return np.array([next(numbers) for _ in range(size)], dtype="f").reshape(shape)

    doc._.trf_alignment = ALIGNMENT
    doc._.trf_segments = SEGMENTS
    doc._.trf_word_pieces = [100 + i for i in range(len(PIECES))]
    doc._.trf_word_pieces_ = PIECES
    doc._.trf_token_type_ids = [200 + i for i in range(len(PIECES))]
    for name in ("trf_", "trf_d_"):
        doc._.set(f"{name}last_hidden_state", floats(8, WIDTH))
        doc._.set(f"{name}all_hidden_states", [floats(8, WIDTH) for _ in range(LAYERS + 1)])
        doc._.set(f"{name}pooler_output", floats(2, WIDTH))
        doc._.set(f"{name}all_attentions", [floats(LAYERS, HEADS, n, n) for n in (5, 3)])
    return doc


def parts_of(doc: Doc, start: int, end: int) -> list[Span | Token]:
    """Return a span, and its token if there is only one."""
    return [doc[start:end], doc[start]] if end == start + 1 else [doc[start:end]]


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right, strict=True)


@pytest.mark.parametrize(("start", "end", "pieces", "segments"), PARTS)
def test_spans_and_tokens_see_their_part_of_each_kind(
    doc: Doc, start: int, end: int, pieces: slice, segments: slice
) -> None:
    for part in parts_of(doc, start, end):
        for name in BY_PIECE:
            assert_same(part._.get(name), doc._.get(name)[pieces])
        for name in BY_LAYER:
            assert_same(part._.get(name), [layer[pieces] for layer in doc._.get(name)])
        for name in BY_SEGMENT:
            assert_same(part._.get(name), doc._.get(name)[segments])


def test_all_attentions_are_available_under_their_old_name(doc: Doc) -> None:
    assert doc._.all_attentions is doc._.trf_all_attentions
    assert_same(doc[3]._.all_attentions, doc._.trf_all_attentions[1:])
    assert_same(doc[0:3]._.all_attentions, doc._.trf_all_attentions[:1])


def test_alignment_of_doc_span_and_token(doc: Doc) -> None:
    assert doc._.trf_alignment == ALIGNMENT
    assert [token._.trf_alignment for token in doc] == ALIGNMENT
    for start in range(len(doc) + 1):
        for end in range(start, len(doc) + 1):
            # Indices always count from the start of the Doc.
            assert doc[start:end]._.trf_alignment == ALIGNMENT[start:end]


def test_setting_the_alignment_sets_the_links() -> None:
    doc = make_plain_doc()
    doc._.trf_alignment = [[1], [3, 2, 3], [], [6], []]
    assert doc._.trf_alignment == ALIGNMENT
    assert doc._.trf_alignment_links.tolist() == [[0, 1], [1, 2], [1, 3], [3, 6]]
    assert doc._.trf_alignment_links.dtype == np.int32
    assert doc[1]._.trf_alignment == [2, 3]
    doc._.trf_alignment = [[0], [], [], [], []]
    assert doc._.trf_alignment == [[0], [], [], [], []]


@pytest.mark.parametrize("name", OF_PARTS)
def test_attributes_are_none_before_the_components_run(name: str) -> None:
    doc = make_plain_doc()
    assert doc._.get(name) is None
    assert doc[1]._.get(name) is None
    assert doc[1:3]._.get(name) is None


@pytest.mark.parametrize("name", [*BY_LAYER, *BY_SEGMENT, "all_attentions"])
def test_missing_activations_are_none_on_spans_and_tokens(doc: Doc, name: str) -> None:
    doc._.set("trf_all_attentions" if name == "all_attentions" else name, None)
    assert doc[1]._.get(name) is None
    assert doc[0:4]._.get(name) is None


def test_doc_alignment_is_what_the_components_set(doc: Doc) -> None:
    alignment = doc_alignment(doc)
    assert alignment.n_tokens == 5
    assert alignment.n_pieces == len(PIECES)
    assert alignment.links is doc._.trf_alignment_links
    assert alignment.segments is doc._.trf_segments
    with pytest.raises(PipelineError, match="A Doc has no wordpieces") as caught:
        doc_alignment(make_plain_doc())
    # It updates trf_tok2vec without the components before it.
    assert "spacy debug model" in str(caught.value)


def test_everything_survives_to_bytes(doc: Doc) -> None:
    loaded = Doc(doc.vocab).from_bytes(doc.to_bytes())
    for name in OF_PARTS:
        assert_same(loaded._.get(name), doc._.get(name))
        assert_same(loaded[1:4]._.get(name), doc[1:4]._.get(name))
    assert doc_alignment(loaded).n_pieces == len(PIECES)


def registered() -> list[dict[str, Any]]:
    return [
        dict(extensions)
        for extensions in (
            Underscore.doc_extensions,
            Underscore.span_extensions,
            Underscore.token_extensions,
        )
    ]


def test_installing_twice_has_no_effect() -> None:
    before = registered()
    assert all("trf_alignment" in extensions for extensions in before)
    install_extensions()
    assert registered() == before


@pytest.mark.parametrize("owner", ["doc", "span", "token"])
@pytest.mark.parametrize("name", ["trf_pooler_output", "trf_alignment", "all_attentions"])
def test_an_attribute_of_another_package_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, owner: str, name: str
) -> None:
    extensions = getattr(Underscore, f"{owner}_extensions")
    theirs = ("theirs", None, None, None)
    monkeypatch.setitem(extensions, name, theirs)
    with pytest.raises(ValueError, match=name):
        install_extensions()
    assert extensions[name] == theirs


def test_a_token_that_was_divided_has_all_of_its_segments() -> None:
    doc = make_plain_doc()
    doc._.trf_alignment = [[1], [3, 5, 7], [], [8], [9]]
    doc._.trf_segments = np.array([[0, 1, 3], [1, 2, 2], [1, 2, 2], [1, 5, 4]], dtype=np.int32)
    doc._.trf_pooler_output = np.arange(8, dtype="f").reshape(4, WIDTH)
    expected = [slice(0, 1), slice(1, 4), slice(3, 4), slice(3, 4), slice(3, 4)]
    for token, segments in zip(doc, expected, strict=True):
        assert_same(token._.trf_pooler_output, doc._.trf_pooler_output[segments])
    assert_same(doc[0:2]._.trf_pooler_output, doc._.trf_pooler_output)
