"""Character offsets of wordpieces, for tokenizers that don't return them."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from spacy_alignments import get_alignments

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedTokenizerBase

Span = tuple[int, int]

_WORD = re.compile(r"\S+")


def surfaces(
    tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[str], ids: Sequence[int]
) -> list[str | None]:
    """Return the text that each wordpiece stands for, without marks such as `##` or `▁`.

    Args:
        tokenizer: The tokenizer that the wordpieces come from.
        tokens: String of each wordpiece.
        ids: Id of each wordpiece.

    Returns:
        One text per wordpiece: "" if it is only a mark, None if it is the unknown token.
    """
    known: dict[str, str | None] = {}
    for token, id_ in zip(tokens, ids, strict=True):
        if token not in known:
            unknown = id_ == tokenizer.unk_token_id
            known[token] = None if unknown else _surface(tokenizer, tokens[0], token)
    return [known[token] for token in tokens]


def _surface(tokenizer: "PreTrainedTokenizerBase", previous: str, token: str) -> str:
    # The tokenizer removes the mark of a continuation only after another wordpiece.
    before = tokenizer.convert_tokens_to_string([previous])
    both = tokenizer.convert_tokens_to_string([previous, token])
    if not both.startswith(before):
        return tokenizer.convert_tokens_to_string([token]).strip()
    return both.removeprefix(before).strip()


def find_offsets(text: str, pieces: Sequence[str | None]) -> list[Span]:
    """Find the characters that each wordpiece comes from.

    spacy-alignments matches the characters by the shortest edit script between text and
    wordpieces, ignoring case and accents. Wordpieces without a match, such as unknown ones, get
    the characters between their neighbors: word by word or character by character if the numbers
    agree, else all of them.

    Args:
        text: The text.
        pieces: What `surfaces` returned.

    Returns:
        Start and end character of each wordpiece; equal if it stands for no character.
    """
    _, matches = get_alignments(list(text), [piece or "" for piece in pieces])
    spans: list[Span] = []
    left = 0
    for is_matched, group in groupby(matches, key=bool):
        run = list(group)
        start, end = len(spans), len(spans) + len(run)
        if is_matched:
            spans += [(min(chars), max(chars) + 1) for chars in run]
            left = max(stop for _, stop in spans[start:])
        else:
            right = min(matches[end]) if end < len(matches) else len(text)
            spans += _fill(text, left, max(left, right), pieces[start:end])
    return spans


def _fill(text: str, left: int, right: int, pieces: Sequence[str | None]) -> list[Span]:
    """Divide the characters from left to right among wordpieces without a match."""
    words = [(found.start(), found.end()) for found in _WORD.finditer(text, left, right)]
    if not words:
        return [(left, left)] * len(pieces)
    chars = [(i, i + 1) for start, end in words for i in range(start, end)]
    # A mark stands for no character, unless no other wordpiece could stand for these.
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
