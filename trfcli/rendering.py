"""The alignment of a text as lines for a terminal: a pure function of the report and a width.

Each sentence is drawn as pairs of lines, wordpieces above the tokens that they belong to. A *group*
is what stays together in that drawing: tokens and wordpieces that are linked, directly or through
each other. What colours say is said without them, too:

- a token with several wordpieces is drawn out below them: `cafe  ##s` above `cafés ───`
- a wordpiece with several tokens says how many: `don't×2` above `do  n't`
- an unknown wordpiece has a question mark: `[UNK]?`
- a token without wordpieces says why: `(cut)` behind the model's maximum length, else `(none)`
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from trfcli.console import plural, printable

Json = dict[str, Any]

# Of middling lightness, so that they read on dark and on light; neighbours differ in hue.
COLOURS = ("color(32)", "color(166)", "color(35)", "color(134)", "color(136)", "color(161)")
COMMON = "dim"

GAP = 3  # between groups
INNER_GAP = 2  # between the wordpieces or tokens of one group
HEADER_WIDTH = 80
STACKED_BELOW = 48
MIN_WIDTH = 20

CUT = "(cut)"
NONE = "(none)"


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


@dataclass(frozen=True)
class Row:
    """A row of the table: a token, or what is common to a sentence. The lists run in parallel."""

    label: str
    pieces: list[str]
    indices: list[str]
    shares: list[str]
    style: str


def render_alignment(report: Json, width: int) -> list[Text]:
    """Draw the report of `trfcli_pipeline.inspection.inspect_alignment`.

    Args:
        width: Cells that a line may take, at least 20.
    """
    width = max(width, MIN_WIDTH)
    sentences = split_sentences(report)
    lines: list[Text] = []
    for sentence in sentences:
        lines += [*_header(sentence, width), *_drawing(sentence, width), Text()]
    rows = [row for sentence in sentences for row in table_rows(sentence)]
    lines += [*_table(rows, width), Text()]
    for note in _notes(report):
        lines += [Text(f" {line}", COMMON) for line in _wrap(note, width - 1)]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


# From the report to groups


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


# Sentences


def _header(sentence: Sentence, width: int) -> Iterator[Text]:
    title = f" sentence {sentence.number}"
    n_cut = sum(token["truncated"] for token in sentence.tokens)
    counts = f"{plural(len(sentence.pieces), 'wordpiece')}, {plural(len(sentence.tokens), 'token')}"
    if n_cut:
        counts += f", {n_cut} cut off"
    space = min(width, HEADER_WIDTH) - len(title) - len(counts)
    if space >= GAP:
        yield Text.assemble((title, "bold"), " " * space, (counts, COMMON))
    else:
        yield Text(title, "bold")
        yield from (Text(f" {line}", COMMON) for line in _wrap(counts, width - 1))


def _drawing(sentence: Sentence, width: int) -> Iterator[Text]:
    """Pairs of lines, with an empty line between pairs."""
    available = width - 1
    above, below = Text(), Text()
    pairs: list[tuple[Text, Text]] = []
    for group in sentence.groups:
        for top, bottom in _cells(group, available):
            size = max(cell_len(top), cell_len(bottom))
            if above.plain and above.cell_len + GAP + size > available:
                pairs.append((above, below))
                above, below = Text(), Text()
            if above.plain:
                above.append(" " * GAP)
                below.append(" " * GAP)
            above.append(_pad(top, size), group.style)
            below.append(_pad(bottom, size), group.style)
    if above.plain:
        pairs.append((above, below))
    for number, pair in enumerate(pairs):
        if number:
            yield Text()
        for line in pair:
            line.rstrip()
            if line.plain:
                yield Text.assemble(" ", line)


def _cells(group: Group, available: int) -> Iterator[tuple[str, str]]:
    """What a group shows above and below: one pair if it fits, else as many as it takes."""
    pieces = [_crop(label, available) for label in _piece_labels(group)]
    tokens = [_crop(visible(token["text"]), available) for token in group.tokens]
    gap = " " * INNER_GAP
    top, bottom = gap.join(pieces), gap.join(tokens)
    # The side with fewer members is drawn out, so that one sees how far it reaches.
    if pieces and tokens and len(pieces) + len(tokens) > 2:
        if len(pieces) < len(tokens):
            top = _draw_out(top, cell_len(bottom))
        else:
            bottom = _draw_out(bottom, cell_len(top))
    if max(cell_len(top), cell_len(bottom)) <= available:
        yield top, bottom
        return
    tops = list(_flow(pieces, available, INNER_GAP))
    bottoms = list(_flow(tokens, available, INNER_GAP))
    for top_line, bottom_line in zip_longest(tops, bottoms):
        if top_line is None:
            yield "─" * cell_len(bottom_line), bottom_line
        elif bottom_line is None:
            yield top_line, "─" * cell_len(top_line)
        else:
            yield top_line, bottom_line


def _draw_out(text: str, size: int) -> str:
    return f"{text} {'─' * max(size - cell_len(text) - 1, 1)}"


def _piece_labels(group: Group) -> list[str]:
    labels = []
    for piece in group.pieces:
        n_tokens = len(piece["tokens"])
        labels.append(piece_label(piece) + (f"×{n_tokens}" if n_tokens > 1 else ""))
    if any(token["truncated"] for token in group.tokens):
        labels.append(CUT)
    return labels or [NONE]


# Table


def table_rows(sentence: Sentence) -> Iterator[Row]:
    """The rows of a sentence: its tokens, then the wordpieces that all of them share."""
    pieces = {piece["i"]: piece for piece in sentence.pieces}
    style_of_token = {
        token["i"]: group.style for group in sentence.groups for token in group.tokens
    }
    for token in sentence.tokens:
        linked = [pieces[i] for i in token["wordpieces"]]
        labels = [piece_label(piece) for piece in linked]
        if token["truncated"]:
            labels.append(CUT)
        yield Row(
            label=visible(token["text"]),
            pieces=labels or [NONE],
            indices=[str(piece["i"]) for piece in linked],
            shares=[_share(len(piece["tokens"])) for piece in linked],
            style=style_of_token[token["i"]],
        )
    common = [piece for piece in sentence.pieces if not piece["tokens"]]
    if common:
        n_tokens = sum(not token["truncated"] for token in sentence.tokens)
        yield Row(
            label=f"(sentence {sentence.number})",
            pieces=[piece_label(piece) for piece in common],
            indices=[str(piece["i"]) for piece in common],
            shares=[_share(n_tokens)] * len(common),
            style=COMMON,
        )


def _share(n_tokens: int) -> str:
    return {0: "-", 1: "1"}.get(n_tokens, f"1/{n_tokens}")


def _table(rows: Sequence[Row], width: int) -> Iterator[Text]:
    if width < STACKED_BELOW:
        yield from _stacked_table(rows, width)
        return
    headers = ("token", "wordpieces", "indices", "share")
    natural = [
        max([cell_len(header), *(cell_len(text) for text in column)])
        for header, column in zip(
            headers,
            (
                [row.label for row in rows],
                [" ".join(row.pieces) for row in rows],
                [" ".join(row.indices) for row in rows],
                [" ".join(row.shares) for row in rows],
            ),
            strict=True,
        )
    ]
    available = width - 1 - GAP * (len(headers) - 1)
    sizes = natural if sum(natural) <= available else _squeeze(natural, available)
    yield _line([(header, size) for header, size in zip(headers, sizes, strict=True)], "bold")
    for row in rows:
        labels = chop_cells(row.label, sizes[0])
        for label, chunk in zip_longest(labels, _chunks(row, sizes[1:]), fillvalue=None):
            cells = [label or "", *(chunk or ("", "", ""))]
            yield _line(list(zip(cells, sizes, strict=True)), row.style)


def _squeeze(natural: Sequence[int], available: int) -> list[int]:
    """Column widths that fit: each of the figures gets up to a sixth, the token up to a third."""
    indices, shares = (min(size, max(available // 6, 7)) for size in natural[2:])
    token = min(natural[0], available // 3)
    return [token, available - token - indices - shares, indices, shares]


def _chunks(row: Row, sizes: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """The parallel lists of a row, cut together where one of them would get too wide."""
    current: list[tuple[str, str, str]] = []
    for entry in zip_longest(row.pieces, row.indices, row.shares, fillvalue=""):
        fits = zip(_joined([*current, entry]), sizes, strict=True)
        if current and any(cell_len(text) > size for text, size in fits):
            yield _joined(current)
            current = []
        piece, index, share = entry
        if cell_len(piece) <= sizes[0]:
            current.append(entry)
        else:
            first, *rest = chop_cells(piece, sizes[0])
            yield first, index, share
            yield from ((part, "", "") for part in rest)
    if current:
        yield _joined(current)


def _joined(entries: Iterable[tuple[str, str, str]]) -> tuple[str, str, str]:
    pieces, indices, shares = (" ".join(column).rstrip() for column in zip(*entries, strict=True))
    return pieces, indices, shares


def _stacked_table(rows: Sequence[Row], width: int) -> Iterator[Text]:
    """For narrow terminals: a line for each token, and below it one for each of its wordpieces."""
    indices = max((len(text) for row in rows for text in row.indices), default=1)
    shares = max((len(text) for row in rows for text in row.shares), default=1)
    longest = max((cell_len(text) for row in rows for text in row.pieces), default=1)
    pieces = max(min(longest, width - 3 - 2 * INNER_GAP - indices - shares), 2)
    yield Text(" token: wordpieces,", "bold")
    yield Text("   indices, share", "bold")
    for row in rows:
        yield from (Text(f" {part}", row.style) for part in chop_cells(row.label, width - 1))
        for piece, index, share in zip_longest(row.pieces, row.indices, row.shares, fillvalue=""):
            first, *rest = chop_cells(piece, pieces) or [""]
            figures = f"{index.rjust(indices)}{' ' * INNER_GAP}{share}"
            line = f"   {_pad(first, pieces)}{' ' * INNER_GAP}{figures}".rstrip()
            yield Text(line, row.style)
            yield from (Text(f"   {part}", row.style) for part in rest)


def _line(cells: list[tuple[str, int]], style: str) -> Text:
    padded = (" " * GAP).join(_pad(text, size) for text, size in cells)
    return Text(f" {padded}".rstrip(), style)


# Notes


def _notes(report: Json) -> Iterator[str]:
    pieces, tokens = report["wordpieces"], report["tokens"]
    common = sorted({piece_label(piece) for piece in pieces if not piece["tokens"]})
    if common:
        names = ", ".join(common)
        yield f"Special and unaligned pieces ({names}) are shared by all tokens of their sentence."
    if any(len(piece["tokens"]) > 1 for piece in pieces):
        yield "×n: a piece that n tokens share."
    if any(piece["unknown"] for piece in pieces):
        yield "?: a piece that the model doesn't know."
    if any(token["truncated"] for token in tokens):
        yield f"{CUT}: behind the model's maximum length; such tokens get a zero vector."
    if any(not token["wordpieces"] and not token["truncated"] for token in tokens):
        yield f"{NONE}: the tokenizer makes no piece of this token."


# Text in cells


def visible(text: str) -> str:
    """Text with every character to be seen: spaces as ␣, what is invisible as escapes."""
    shown = ""
    can_carry = False
    for character in text:
        if character == " ":
            shown, can_carry = f"{shown}␣", False
        elif not character.isprintable():
            shown, can_carry = shown + printable(character), False
        elif cell_len(character) > 0:
            shown, can_carry = shown + character, True
        elif can_carry:
            shown += character
        else:
            shown += character.encode("unicode_escape").decode("ascii")
    return shown


def piece_label(piece: Json) -> str:
    """A wordpiece as it is shown, marked if it is unknown."""
    return visible(piece["text"]) + ("?" if piece["unknown"] else "")


def _pad(text: str, size: int) -> str:
    return text + " " * (size - cell_len(text))


def _crop(text: str, size: int) -> str:
    return text if cell_len(text) <= size else f"{set_cell_size(text, size - 1)}…"


def _flow(labels: Iterable[str], available: int, gap: int) -> Iterator[str]:
    """Fill lines with labels, none of which is wider than a line."""
    line: list[str] = []
    size = 0
    for label in labels:
        if line and size + gap + cell_len(label) > available:
            yield (" " * gap).join(line)
            line, size = [], 0
        size += cell_len(label) + (gap if line else 0)
        line.append(label)
    if line:
        yield (" " * gap).join(line)


def _wrap(sentence: str, available: int) -> Iterator[str]:
    words = [part for word in sentence.split(" ") for part in chop_cells(word, available)]
    return _flow(words, available, gap=1)
