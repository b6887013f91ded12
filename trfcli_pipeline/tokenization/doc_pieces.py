"""From a batch of Docs to wordpieces that are aligned with their tokens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice, pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from spacy.tokens import Doc

from trfcli_pipeline.tokenization.alignment import Ints, link_spans
from trfcli_pipeline.tokenization.encodings import Encoding, encode
from trfcli_pipeline.tokenization.fitting import Rows, fit
from trfcli_pipeline.tokenization.packing import pack
from trfcli_pipeline.tokenization.segments import Indices, Layout, Segmentation, lay_out

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedTokenizerBase

_NO_INDICES: Indices = np.empty(0, np.int64)
_NO_SPANS: Indices = np.empty((0, 2), np.int64)


class DocPieces(NamedTuple):
    """The wordpieces of a Doc, in the form of its `._.trf_*` attributes.

    Attributes:
        ids: Id of each wordpiece.
        type_ids: Token type id of each wordpiece; None if all are 0.
        segments: See `alignment.Alignment`.
        checksum: That of the Doc's layout; see `segments.Layout`.
        strings: String of each wordpiece. This and the following are None where nothing reads them.
        links: See `alignment.Alignment`.
        token_spans: Start and end character of each token. *Shape:* (tokens, 2)
        piece_spans: Start and end character of each wordpiece; equal for special tokens.
            *Shape:* (wordpieces, 2)
        unseen: See `alignment.Alignment`; None if there are none.
    """

    ids: list[int]
    type_ids: list[int] | None
    segments: Ints
    checksum: int
    strings: list[str] | None = None
    links: Ints | None = None
    token_spans: Ints | None = None
    piece_spans: Ints | None = None
    unseen: Ints | None = None


class PieceStrings(dict[int, str]):
    """The string of each wordpiece, looked up once: making new strings takes ten times as long."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, id_: int) -> str:
        string = self[id_] = cast(str, self._tokenizer.convert_ids_to_tokens(id_))
        return string


def encode_docs(
    docs: Sequence[Doc],
    tokenizer: "PreTrainedTokenizerBase",
    settings: Segmentation,
    strings: PieceStrings | None,
    *,
    limit: int | None,
    mistakable: frozenset[int] = frozenset(),
) -> list[DocPieces]:
    """Find the wordpieces of a batch of Docs and align them, segment by segment.

    Args:
        docs: The Docs, at least one.
        tokenizer: Prepared for `limit` by `pretrained.encode_whole`.
        settings: How Docs are divided into segments.
        strings: Those of the tokenizer; None to leave out strings and alignment.
        limit: Maximum number of wordpieces in a segment, special tokens included.
        mistakable: What `encodings.find_mistakable` returned.
    """

    def encode_layouts(layouts: Sequence[Layout]) -> list[list[Encoding]]:
        # One call for the segments of all Docs.
        texts = [layout.texts() for layout in layouts]
        flat = [each for own in texts for each in own]
        encodings = iter(encode(tokenizer, flat, limit, mistakable))
        return [list(islice(encodings, len(own))) for own in texts]

    layouts = lay_out(docs, settings)
    encodings = encode_layouts(layouts)
    if settings.segments == "windows":
        room = None if limit is None else limit - tokenizer.num_special_tokens_to_add()
        layouts, encodings = pack(layouts, encodings, encode_layouts, room)
    rows = [
        fit(layout, own, limit, settings.long_sentences)
        for layout, own in zip(layouts, encodings, strict=True)
    ]
    # Many tokenizers return token type ids even for models that don't use them.
    typed = "token_type_ids" in tokenizer.model_input_names
    return join_segments(layouts, rows, strings, typed=typed)


def join_segments(
    layouts: Sequence[Layout],
    rows: Sequence[Rows],
    strings: Mapping[int, str] | None,
    *,
    typed: bool,
) -> list[DocPieces]:
    """Join the wordpieces of each Doc's segments.

    Args:
        layouts: The tokens of each Doc.
        rows: The segments of each Doc, with their wordpieces.
        strings: The string of each wordpiece; see `encode_docs`.
        typed: Whether the encoder uses token type ids.
    """
    lengths = [[len(encoding) for encoding in each.encodings] for each in rows]
    firsts = _concatenate([each.firsts for each in rows])
    ends = _concatenate([each.ends for each in rows])
    segments = np.stack([firsts, ends, np.fromiter(chain.from_iterable(lengths), np.int64)], axis=1)
    pieces = []
    parts = _split(segments, [len(each) for each in lengths])
    for layout, own, part in zip(layouts, rows, parts, strict=True):
        ids = [id_ for encoding in own.encodings for id_ in encoding.ids]
        typed_encodings = own.encodings if typed else ()
        type_ids = [type_id for encoding in typed_encodings for type_id in encoding.type_ids]
        own_types = type_ids if any(type_ids) else None
        pieces.append(DocPieces(ids, own_types, part, layout.checksum))
    if strings is None:
        return pieces
    return list(_align(layouts, rows, pieces, segments[:, 2], strings))


def _align(
    layouts: Sequence[Layout],
    rows: Sequence[Rows],
    pieces: Sequence[DocPieces],
    lengths: Indices,
    strings: Mapping[int, str],
) -> Iterator[DocPieces]:
    """Link the wordpieces of a batch of Docs with the tokens whose characters they overlap.

    Args:
        layouts, rows, strings: See `join_segments`.
        pieces: The wordpieces of each Doc, not yet aligned.
        lengths: Number of wordpieces of each segment. *Shape:* (segments,)
    """
    token_spans = np.concatenate([_NO_SPANS, *(layout.token_spans for layout in layouts)])
    piece_spans = _piece_spans(rows, lengths)
    n_tokens = np.array([len(layout.token_spans) for layout in layouts])
    n_pieces = np.array([len(each.ids) for each in pieces])
    # In the concatenated texts, spans of different Docs may touch, but they don't overlap.
    text_starts = np.cumsum([0, *(len(layout.text) for layout in layouts)])[:-1]
    links = link_spans(
        token_spans + np.repeat(text_starts, n_tokens).reshape(-1, 1),
        piece_spans + np.repeat(text_starts, n_pieces).reshape(-1, 1),
    )
    n_links = np.diff(np.searchsorted(links[:, 0], np.cumsum(n_tokens)), prepend=0)
    # From here on, indices count within each Doc.
    before = np.stack([np.cumsum(n_tokens) - n_tokens, np.cumsum(n_pieces) - n_pieces], axis=1)
    parts = zip(
        _split(links - np.repeat(before, n_links, axis=0), n_links),
        _split(token_spans, n_tokens),
        _split(piece_spans, n_pieces),
        strict=True,
    )
    for each, own, (own_links, own_tokens, own_pieces) in zip(pieces, rows, parts, strict=True):
        yield each._replace(
            strings=[strings[id_] for id_ in each.ids],
            links=own_links,
            token_spans=own_tokens,
            piece_spans=own_pieces,
            unseen=None if own.unseen is None else own.unseen.astype(np.int32),
        )


def _piece_spans(rows: Sequence[Rows], lengths: Indices) -> Indices:
    """Find the characters of the wordpieces of all Docs, within each Doc's text.

    Args:
        lengths: Number of wordpieces of each segment. *Shape:* (segments,)
    """
    offsets = chain.from_iterable(encoding.offsets for each in rows for encoding in each.encodings)
    # From numbers, NumPy makes an array in half the time that it needs for pairs.
    spans = np.fromiter(chain.from_iterable(offsets), np.int64, 2 * int(lengths.sum()))
    starts = np.repeat(_concatenate([each.starts for each in rows]), lengths)
    return spans.reshape(-1, 2) + starts.reshape(-1, 1)


def _concatenate(arrays: Sequence[Indices]) -> Indices:
    return np.concatenate([_NO_INDICES, *arrays])


def _split(rows: Indices, counts: Iterable[int]) -> list[Ints]:
    """Split rows by Doc. The parts are views."""
    ints = rows.astype(np.int32)
    return [ints[start:end] for start, end in pairwise(accumulate(counts, initial=0))]
