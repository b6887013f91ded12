"""What belongs together in the drawing of an alignment."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trfcli.rendering.cells import visible

Json = dict[str, Any]

CUT = "(cut)"
NONE = "(none)"

# Of middling lightness, so that they read on dark and on light; neighbours differ in hue.
COLOURS = ("color(32)", "color(166)", "color(35)", "color(134)", "color(136)", "color(161)")
COMMON = "dim"


@dataclass
class Group:
    """Linked wordpieces and tokens; only wordpieces if they are common to the sentence."""

    pieces: list[Json] = field(default_factory=list)
    tokens: list[Json] = field(default_factory=list)
    style: str = COMMON


@dataclass
class Sentence:
    number: int
    tokens: list[Json] = field(default_factory=list)
    pieces: list[Json] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)


def split_sentences(report: Json) -> list[Sentence]:
    """The tokens, wordpieces and groups of each sentence, coloured so that neighbours differ."""
    sentences = [Sentence(number) for number, _ in enumerate(report["sentences"], start=1)]
    starts = [start for start, _ in report["sentences"]]
    sentence_of_token = {}
    for token in report["tokens"]:
        sentence_of_token[token["i"]] = max(bisect_right(starts, token["start"]) - 1, 0)
        sentences[sentence_of_token[token["i"]]].tokens.append(token)
    homes = _sentence_of_pieces(report["wordpieces"], sentence_of_token, len(sentences))
    for piece, home in zip(report["wordpieces"], homes, strict=True):
        sentences[home].pieces.append(piece)
    n_coloured = 0
    for sentence in sentences:
        sentence.groups = _link(sentence)
        for group in sentence.groups:
            if group.pieces and group.tokens:
                group.style = COLOURS[n_coloured % len(COLOURS)]
                n_coloured += 1
    return sentences


def _sentence_of_pieces(
    pieces: list[Json], sentence_of_token: dict[int, int], n_sentences: int
) -> list[int]:
    """The sentence of each wordpiece; the report says so only of those that have tokens.

    The others are placed by the special ones, which start or end the row of a sentence.
    """
    homes: list[int] = []
    blocks = list(_blocks(pieces))
    home = 0
    for number, block in enumerate(blocks):
        linked = [sentence_of_token[piece["tokens"][0]] for piece in block if piece["tokens"]]
        if linked:
            home = linked[0]
        elif len(blocks) == n_sentences:
            home = number
        for piece in block:
            if piece["tokens"]:
                home = sentence_of_token[piece["tokens"][0]]
            homes.append(home)
    return homes


def _blocks(pieces: list[Json]) -> Iterator[list[Json]]:
    """Cut the wordpieces of a text where the encoder's rows begin.

    Models that start a row with a special piece start all rows with the same one. Models that only
    end it (XLNet: `<sep><cls>`, T5: `</s>`) begin a row with the first piece that isn't special.
    """
    block: list[Json] = []
    first = pieces[0] if pieces else None
    for piece in pieces:
        if first is not None and first["special"]:
            begins = piece["special"] and piece["id"] == first["id"]
        else:
            begins = bool(block) and block[-1]["special"] and not piece["special"]
        if begins and block:
            yield block
            block = []
        block.append(piece)
    if block:
        yield block


def _link(sentence: Sentence) -> list[Group]:
    """The groups of a sentence, in the order in which they are drawn."""
    groups: list[Group] = []
    group_of_token: dict[int, Group] = {}
    for piece in sentence.pieces:
        met = [group_of_token[i] for i in piece["tokens"] if i in group_of_token]
        group = met[0] if met else Group()
        if not met:
            groups.append(group)
        for other in met[1:]:
            if other is not group and other in groups:
                groups.remove(other)
                group.pieces += other.pieces
                group_of_token |= {
                    i: group for i, owner in group_of_token.items() if owner is other
                }
        group.pieces.append(piece)
        group_of_token |= dict.fromkeys(piece["tokens"], group)
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
    """A wordpiece as it is shown, marked if it is unknown."""
    return visible(piece["text"]) + ("?" if piece["unknown"] else "")
