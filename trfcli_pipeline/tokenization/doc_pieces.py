"""The wordpieces of each Doc of a batch, linked with its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trfcli_pipeline.tokenization.alignment import Ints, link_spans
from trfcli_pipeline.tokenization.segments import Indices, Layout, Rows

_NO_SPANS: Indices = np.empty((0, 2), np.int64)


@dataclass(frozen=True, slots=True)
class DocPieces:
    """The wordpieces of a Doc, as they are set on its `._.trf_*` attributes.

    Attributes:
        ids, strings, type_ids: Of each wordpiece; type_ids None where all are 0.
        links, segments, unseen: See `alignment.Alignment`; unseen None where there are none.
    """

    ids: list[int]
    strings: list[str]
    type_ids: list[int] | None
    links: Ints
    segments: Ints
    unseen: Ints | None


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
        typed: Whether the encoder distinguishes the texts of a pair.
        unknown: Id and string of the piece for what the tokenizer doesn't know.
    """
    lengths = [
        np.fromiter(map(len, each.encodings), np.int64, len(each.encodings)) for each in rows
    ]
    links = _link(layouts, rows, lengths)
    outputs = []
    token = piece = link = 0
    for layout, own, counts in zip(layouts, rows, lengths, strict=True):
        last_token = token + len(layout.token_spans)
        last_link = int(np.searchsorted(links[:, 0], last_token))
        ids = [id_ for encoding in own.encodings for id_ in encoding.ids]
        type_ids = [type_id for encoding in own.encodings for type_id in encoding.type_ids]
        outputs.append(
            DocPieces(
                ids=ids,
                strings=_strings(own, ids, unknown),
                type_ids=type_ids if typed and any(type_ids) else None,
                # Counted from the Doc's own start.
                links=(links[link:last_link] - (token, piece)).astype(np.int32),
                segments=np.stack([own.firsts, own.ends, counts], axis=1).astype(np.int32),
                unseen=None if own.unseen is None else own.unseen.astype(np.int32),
            )
        )
        token, piece, link = last_token, piece + int(counts.sum()), last_link
    return outputs


def _link(layouts: Sequence[Layout], rows: Sequence[Rows], lengths: Sequence[Indices]) -> Ints:
    """Link the tokens and wordpieces of all Docs at once, counted over the whole batch.

    The Docs are laid out one behind the other on a common line of characters, where spans of two
    Docs may touch but don't overlap.
    """
    sizes = np.array([len(layout.text) for layout in layouts])
    n_tokens = [len(layout.token_spans) for layout in layouts]
    line_starts = np.cumsum(sizes) - sizes
    token_spans = np.concatenate([_NO_SPANS, *(layout.token_spans for layout in layouts)])
    piece_spans = np.array(
        [span for each in rows for encoding in each.encodings for span in encoding.offsets],
        dtype=np.int64,
    ).reshape(-1, 2)
    starts = np.concatenate(
        [
            np.repeat(each.starts + line_start, own)
            for each, line_start, own in zip(rows, line_starts, lengths, strict=True)
        ]
    )
    return link_spans(
        token_spans + np.repeat(line_starts, n_tokens).reshape(-1, 1),
        piece_spans + starts.reshape(-1, 1),
    )


def _strings(rows: Rows, ids: Sequence[int], unknown: tuple[int | None, str]) -> list[str]:
    strings = [string for encoding in rows.encodings for string in encoding.tokens]
    unknown_id, unknown_string = unknown
    if unknown_id not in ids:
        return strings
    # Some tokenizers give the text in place of the unknown token.
    return [
        unknown_string if id_ == unknown_id else string
        for id_, string in zip(ids, strings, strict=True)
    ]
