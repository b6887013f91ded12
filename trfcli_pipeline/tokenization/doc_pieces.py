"""From a batch of Docs to wordpieces that are aligned with their tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class DocPieces:
    """The wordpieces of a Doc, in the form of its `._.trf_*` attributes.

    Attributes:
        ids: Id of each wordpiece.
        strings: String of each wordpiece.
        type_ids: Token type id of each wordpiece; None if all are 0.
        links: See `alignment.Alignment`.
        segments: See `alignment.Alignment`.
        token_spans: Start and end character of each token. *Shape:* (tokens, 2)
        piece_spans: Start and end character of each wordpiece; equal for special tokens.
            *Shape:* (wordpieces, 2)
        unseen: See `alignment.Alignment`; None if there are none.
        checksum: That of the Doc's layout; see `segments.Layout`.
    """

    ids: list[int]
    strings: list[str]
    type_ids: list[int] | None
    links: Ints
    segments: Ints
    token_spans: Ints
    piece_spans: Ints
    unseen: Ints | None = None
    checksum: int = 0


def encode_docs(
    docs: Sequence[Doc],
    tokenizer: "PreTrainedTokenizerBase",
    settings: Segmentation,
    *,
    limit: int | None,
    mistakable: frozenset[int] = frozenset(),
) -> list[DocPieces]:
    """Find the wordpieces of a batch of Docs and align them, segment by segment.

    Args:
        docs: The Docs, at least one.
        tokenizer: Prepared for `limit` by `pretrained.encode_whole`.
        settings: How Docs are divided into segments.
        limit: Maximum number of wordpieces in a segment, special tokens included.
        mistakable: What `encodings.find_mistakable` returned.
    """

    def encode_layouts(layouts: Sequence[Layout]) -> list[list[Encoding]]:
        # One call for the segments of all Docs.
        texts = [layout.texts() for layout in layouts]
        flat = [each for own in texts for each in own]
        encodings = iter(encode(tokenizer, flat, limit, mistakable))
        return [list(islice(encodings, len(own))) for own in texts]

    layouts = [lay_out(doc, settings) for doc in docs]
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
    unknown = (tokenizer.unk_token_id, tokenizer.unk_token or "")
    return link_docs(layouts, rows, typed=typed, unknown=unknown)


def link_docs(
    layouts: Sequence[Layout],
    rows: Sequence[Rows],
    *,
    typed: bool,
    unknown: tuple[int | None, str],
) -> list[DocPieces]:
    """Link the wordpieces of a batch of Docs with the tokens whose characters they overlap.

    Args:
        layouts: The tokens of each Doc.
        rows: The segments of each Doc, with their wordpieces.
        typed: Whether the encoder uses token type ids.
        unknown: Id and string of the unknown token.
    """
    lengths = [[len(encoding) for encoding in each.encodings] for each in rows]
    firsts = _concatenate([each.firsts for each in rows])
    ends = _concatenate([each.ends for each in rows])
    segments = np.stack([firsts, ends, np.fromiter(chain.from_iterable(lengths), np.int64)], axis=1)
    token_spans = np.concatenate([_NO_SPANS, *(layout.token_spans for layout in layouts)])
    piece_spans = _piece_spans(rows, segments[:, 2])
    n_tokens = np.array([len(layout.token_spans) for layout in layouts])
    n_pieces = np.array([sum(each) for each in lengths])
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
        _split(segments, [len(each) for each in lengths]),
        _split(token_spans, n_tokens),
        _split(piece_spans, n_pieces),
        strict=True,
    )
    outputs = []
    for layout, own, arrays in zip(layouts, rows, parts, strict=True):
        ids = [id_ for encoding in own.encodings for id_ in encoding.ids]
        typed_encodings = own.encodings if typed else ()
        type_ids = [type_id for encoding in typed_encodings for type_id in encoding.type_ids]
        outputs.append(
            DocPieces(
                ids,
                _strings(own, ids, unknown),
                type_ids if any(type_ids) else None,
                *arrays,
                unseen=None if own.unseen is None else own.unseen.astype(np.int32),
                checksum=layout.checksum,
            )
        )
    return outputs


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


def _strings(rows: Rows, ids: Sequence[int], unknown: tuple[int | None, str]) -> list[str]:
    strings = [string for encoding in rows.encodings for string in encoding.tokens]
    unknown_id, unknown_string = unknown
    if unknown_id not in ids:
        return strings
    # Some tokenizers return the text of an unknown piece instead of the unknown token.
    return [
        unknown_string if id_ == unknown_id else string
        for id_, string in zip(ids, strings, strict=True)
    ]
