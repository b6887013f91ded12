"""Draw a sentence: wordpieces above the tokens that they are aligned to."""

from collections.abc import Iterator
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from trfcli.rendering.groups import CUT, NONE, Group, Sentence, piece_label
from trfcli.text import flow, visible

_GAP = 3  # columns between groups
_INNER_GAP = 2  # columns between the wordpieces or tokens of one group


def draw(sentence: Sentence, width: int) -> Iterator[Text]:
    """Yield pairs of lines, with an empty line between pairs."""
    available = width - 1
    above, below = Text(), Text()
    pairs: list[tuple[Text, Text]] = []
    for group in sentence.groups:
        for top, bottom in _cells(group, available):
            size = max(cell_len(top), cell_len(bottom))
            if above.plain and above.cell_len + _GAP + size > available:
                pairs.append((above, below))
                above, below = Text(), Text()
            if above.plain:
                above.append(" " * _GAP)
                below.append(" " * _GAP)
            above.append(set_cell_size(top, size), group.style)
            below.append(set_cell_size(bottom, size), group.style)
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
    """Yield the upper and lower text of a group, in several pairs if one is too wide."""
    pieces = [_crop(label, available) for label in _piece_labels(group)]
    tokens = [_crop(visible(token["text"]), available) for token in group.tokens]
    gap = " " * _INNER_GAP
    top, bottom = gap.join(pieces), gap.join(tokens)
    # A rule shows how far the side with fewer members reaches.
    if pieces and tokens and len(pieces) + len(tokens) > 2:
        if len(pieces) < len(tokens):
            top = _add_rule(top, cell_len(bottom))
        else:
            bottom = _add_rule(bottom, cell_len(top))
    if max(cell_len(top), cell_len(bottom)) <= available:
        yield top, bottom
        return
    tops = list(flow(pieces, available, gap=_INNER_GAP))
    bottoms = list(flow(tokens, available, gap=_INNER_GAP))
    for top_line, bottom_line in zip_longest(tops, bottoms):
        if top_line is None:
            yield "─" * cell_len(bottom_line), bottom_line
        elif bottom_line is None:
            yield top_line, "─" * cell_len(top_line)
        else:
            yield top_line, bottom_line


def _add_rule(text: str, size: int) -> str:
    return f"{text} {'─' * max(size - cell_len(text) - 1, 1)}"


def _piece_labels(group: Group) -> list[str]:
    labels = []
    for piece in group.pieces:
        n_tokens = len(piece["tokens"])
        labels.append(piece_label(piece) + (f"×{n_tokens}" if n_tokens > 1 else ""))
    if any(token["truncated"] for token in group.tokens):
        labels.append(CUT)
    return labels or [NONE]


def _crop(text: str, size: int) -> str:
    return text if cell_len(text) <= size else f"{set_cell_size(text, size - 1)}…"
