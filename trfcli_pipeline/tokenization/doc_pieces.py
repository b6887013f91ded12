"""From a batch of Docs to wordpieces that are aligned with their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
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
        unseen: See `alignment.Alignment`; None if there are none.
        token_spans: Start and end character of each token. *Shape:* (tokens, 2)
        piece_spans: Start and end character of each wordpiece; equal for special tokens.
            *Shape:* (wordpieces, 2)
        checksum: That of the Doc's layout before packing; see `segments.Layout.checksum`.
    """

    ids: list[int]
    strings: list[str]
    type_ids: list[int] | None
    links: Ints
    segments: Ints
    unseen: Ints | None
    token_spans: Ints
    piece_spans: Ints
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
    checksums = [layout.checksum for layout in layouts]
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
    linked = link_docs(layouts, rows, typed=typed, unknown=unknown)
    return [replace(one, checksum=each) for one, each in zip(linked, checksums, strict=True)]


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
    lengths = [
        np.fromiter(map(len, each.encodings), np.int64, len(each.encodings)) for each in rows
    ]
    text_starts = np.cumsum([0, *(len(layout.text) for layout in layouts)])[:-1]
    piece_spans = _piece_spans(rows, lengths, text_starts)
    links = _link(layouts, piece_spans, text_starts)
    outputs = []
    token = piece = link = 0
    for layout, own, counts, text_start in zip(layouts, rows, lengths, text_starts, strict=True):
        last_token = token + len(layout.token_spans)
        last_piece = piece + int(counts.sum())
        last_link = int(np.searchsorted(links[:, 0], last_token))
        ids = [id_ for encoding in own.encodings for id_ in encoding.ids]
        type_ids = [type_id for encoding in own.encodings for type_id in encoding.type_ids]
        outputs.append(
            DocPieces(
                ids=ids,
                strings=_strings(own, ids, unknown),
                type_ids=type_ids if typed and any(type_ids) else None,
                # Indices within the Doc.
                links=(links[link:last_link] - (token, piece)).astype(np.int32),
                segments=np.stack([own.firsts, own.ends, counts], axis=1).astype(np.int32),
                unseen=None if own.unseen is None else own.unseen.astype(np.int32),
                token_spans=layout.token_spans.astype(np.int32),
                piece_spans=(piece_spans[piece:last_piece] - text_start).astype(np.int32),
            )
        )
        token, piece, link = last_token, last_piece, last_link
    return outputs


def _link(layouts: Sequence[Layout], piece_spans: Indices, text_starts: Indices) -> Ints:
    """Link the tokens and wordpieces of all Docs in one go; indices count over the batch."""
    n_tokens = [len(layout.token_spans) for layout in layouts]
    token_spans = np.concatenate([_NO_SPANS, *(layout.token_spans for layout in layouts)])
    return link_spans(token_spans + np.repeat(text_starts, n_tokens).reshape(-1, 1), piece_spans)


def _piece_spans(rows: Sequence[Rows], lengths: Sequence[Indices], text_starts: Indices) -> Indices:
    """Find the characters of the wordpieces of all Docs, in the concatenated texts.

    There, spans of different Docs may touch, but they don't overlap.
    """
    piece_spans = np.array(
        [span for each in rows for encoding in each.encodings for span in encoding.offsets],
        dtype=np.int64,
    ).reshape(-1, 2)
    starts = np.concatenate(
        [
            np.repeat(each.starts + text_start, own)
            for each, text_start, own in zip(rows, text_starts, lengths, strict=True)
        ]
    )
    return piece_spans + starts.reshape(-1, 1)


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
