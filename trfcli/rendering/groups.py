"""Group aligned tokens and wordpieces, which stay together in the drawing."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trfcli.text import visible

Json = dict[str, Any]

CUT = "(cut)"
NONE = "(none)"

# Readable on dark and on light backgrounds. Neighbors differ in hue.
COLORS = ("color(32)", "color(166)", "color(35)", "color(134)", "color(136)", "color(161)")
DIM = "dim"


@dataclass
class Group:
    """Aligned wordpieces and tokens, or a wordpiece shared by the whole sentence."""

    pieces: list[Json] = field(default_factory=list)
    tokens: list[Json] = field(default_factory=list)
    style: str = DIM


@dataclass
class Sentence:
    number: int
    tokens: list[Json] = field(default_factory=list)
    pieces: list[Json] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)


def split_sentences(report: Json) -> list[Sentence]:
    """Split a report into sentences, and color their groups so that neighbors differ."""
    sentences = [Sentence(number) for number, _ in enumerate(report["sentences"], start=1)]
    starts = [start for start, _ in report["sentences"]]
    sentence_of_token = {}
    for token in report["tokens"]:
        sentence_of_token[token["i"]] = max(bisect_right(starts, token["start"]) - 1, 0)
        sentences[sentence_of_token[token["i"]]].tokens.append(token)
    indices = _sentence_of_pieces(report["wordpieces"], sentence_of_token, len(sentences))
    for piece, index in zip(report["wordpieces"], indices, strict=True):
        sentences[index].pieces.append(piece)
    n_colored = 0
    for sentence in sentences:
        sentence.groups = _link(sentence)
        for group in sentence.groups:
            if group.pieces and group.tokens:
                group.style = COLORS[n_colored % len(COLORS)]
                n_colored += 1
    return sentences


def _sentence_of_pieces(
    pieces: list[Json], sentence_of_token: dict[int, int], n_sentences: int
) -> list[int]:
    """Return the index of the sentence of each wordpiece.

    Tokens tell the sentence of aligned wordpieces. The others are placed by the special ones, which
    start or end each segment.
    """
    indices: list[int] = []
    segments = list(_segments(pieces))
    index = 0
    for number, segment in enumerate(segments):
        linked = [sentence_of_token[piece["tokens"][0]] for piece in segment if piece["tokens"]]
        if linked:
            index = linked[0]
        elif len(segments) == n_sentences:
            index = number
        for piece in segment:
            if piece["tokens"]:
                index = sentence_of_token[piece["tokens"][0]]
            indices.append(index)
    return indices


def _segments(pieces: list[Json]) -> Iterator[list[Json]]:
    """Split the wordpieces of a text into the encoder's segments.

    If the first piece is special, each segment starts with that one. Models that only end segments
    with special pieces (XLNet: `<sep><cls>`, T5: `</s>`) start the next one with any other piece.
    """
    segment: list[Json] = []
    first = pieces[0] if pieces else None
    for piece in pieces:
        if first is not None and first["special"]:
            starts_here = piece["special"] and piece["id"] == first["id"]
        else:
            starts_here = bool(segment) and segment[-1]["special"] and not piece["special"]
        if starts_here and segment:
            yield segment
            segment = []
        segment.append(piece)
    if segment:
        yield segment


def _link(sentence: Sentence) -> list[Group]:
    """Return the groups of a sentence in drawing order."""
    groups: list[Group] = []
    group_of_token: dict[int, Group] = {}
    for piece in sentence.pieces:
        linked = [group_of_token[i] for i in piece["tokens"] if i in group_of_token]
        group = linked[0] if linked else Group()
        if not linked:
            groups.append(group)
        for other in linked[1:]:
            if other is not group and other in groups:
                groups.remove(other)
                group.pieces += other.pieces
                group_of_token |= {
                    i: group for i, owner in group_of_token.items() if owner is other
                }
        group.pieces.append(piece)
        group_of_token |= dict.fromkeys(piece["tokens"], group)
    # Tokens without wordpieces follow the group of the token before them.
    place = next((n for n, group in enumerate(groups) if group.pieces[0]["tokens"]), len(groups))
    for token in sentence.tokens:
        if token["i"] in group_of_token:
            group = group_of_token[token["i"]]
            place = groups.index(group) + 1
        else:
            group = Group()
            groups.insert(place, group)
            place += 1
        group.tokens.append(token)
    return groups


def piece_label(piece: Json) -> str:
    """Return the text of a wordpiece, with a question mark if it is unknown."""
    return visible(piece["text"]) + ("?" if piece["unknown"] else "")
