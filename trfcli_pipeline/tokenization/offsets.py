"""Where in a text each wordpiece came from, for tokenizers that don't say."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from spacy_alignments import get_alignments

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedTokenizerBase

Span = tuple[int, int]

_WORD = re.compile(r"\S+")


def surfaces(
    tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[str], ids: Sequence[int]
) -> list[str | None]:
    """The text that each wordpiece stands for, without marks such as `##` or `▁`.

    Returns:
        "" for a piece that is a mark and nothing else, None for an unknown one.
    """
    known: dict[str, str | None] = {}
    for token, id_ in zip(tokens, ids, strict=True):
        if token not in known:
            unknown = id_ == tokenizer.unk_token_id
            known[token] = None if unknown else _surface(tokenizer, tokens[0], token)
    return [known[token] for token in tokens]


def _surface(tokenizer: "PreTrainedTokenizerBase", ahead: str, token: str) -> str:
    # Behind another piece, since only there the tokenizer takes the mark of a continuation off.
    before = tokenizer.convert_tokens_to_string([ahead])
    both = tokenizer.convert_tokens_to_string([ahead, token])
    if not both.startswith(before):
        return tokenizer.convert_tokens_to_string([token]).strip()
    return both.removeprefix(before).strip()


def find_offsets(text: str, pieces: Sequence[str | None]) -> list[Span]:
    """Find the characters that each wordpiece came from.

    Characters are matched by spacy-alignments: the shortest difference between text and pieces,
    whatever the case and the accents. What it can't match, such as unknown pieces, gets the
    characters between its neighbours: word by word or character by character if there are as
    many of these as pieces, else all of them.

    Args:
        pieces: What `surfaces` returned.

    Returns:
        Start and end character of each piece; equal for a piece that stands for no character.
    """
    _, matches = get_alignments(list(text), [piece or "" for piece in pieces])
    spans = [(min(chars), max(chars) + 1) if chars else None for chars in matches]
    done = left = 0
    for start, end in _runs_of_none(spans):
        left = max((span[1] for span in spans[done:start] if span), default=left)
        right = next((span[0] for span in spans[end : end + 1] if span), len(text))
        spans[start:end] = _fill(text, left, max(left, right), pieces[start:end])
        done = end
    return [span or (0, 0) for span in spans]


def _runs_of_none(spans: Sequence[Span | None]) -> Iterator[Span]:
    start = None
    for index, span in enumerate([*spans, (0, 0)]):
        if span is None and start is None:
            start = index
        elif span is not None and start is not None:
            yield start, index
            start = None


def _fill(text: str, left: int, right: int, pieces: Sequence[str | None]) -> list[Span]:
    """Divide the characters between left and right among the pieces that weren't matched."""
    words = [(found.start(), found.end()) for found in _WORD.finditer(text, left, right)]
    if not words:
        return [(left, left)] * len(pieces)
    chars = [(i, i + 1) for start, end in words for i in range(start, end)]
    # Marks come from no character, unless nothing else could have come from these.
    candidates = [i for i, piece in enumerate(pieces) if piece != ""] or list(range(len(pieces)))
    if len(candidates) == len(words):
        chosen = words
    elif len(candidates) == len(chars):
        chosen = chars
    else:
        chosen = [(words[0][0], words[-1][1])] * len(candidates)
    spans = [(left, left)] * len(pieces)
    for index, span in zip(candidates, chosen, strict=True):
        spans[index] = span
    return spans
