"""Text in the cells of a terminal, which characters take none, one or two of."""

from collections.abc import Iterable, Iterator

from rich.cells import cell_len, chop_cells, set_cell_size

from trfcli.console import printable

GAP = 3  # between groups
INNER_GAP = 2  # between the wordpieces or tokens of one group


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


def pad(text: str, size: int) -> str:
    return text + " " * (size - cell_len(text))


def crop(text: str, size: int) -> str:
    return text if cell_len(text) <= size else f"{set_cell_size(text, size - 1)}…"


def flow(labels: Iterable[str], available: int, gap: int) -> Iterator[str]:
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


def wrap(sentence: str, available: int) -> Iterator[str]:
    words = [part for word in sentence.split(" ") for part in chop_cells(word, available)]
    return flow(words, available, gap=1)
