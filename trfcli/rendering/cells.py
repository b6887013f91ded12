"""Text cells of a drawing, measured in terminal columns."""

from rich.cells import cell_len, set_cell_size

from trfcli.console.text import printable

GAP = 3  # columns between groups
INNER_GAP = 2  # columns between the wordpieces or tokens of one group


def visible(text: str) -> str:
    """Make every character visible: spaces become ␣, invisible characters escapes.

    A combining character stays as it is if it follows a character that it can combine with.
    """
    shown = ""
    can_combine = False
    for character in text:
        if character == " ":
            shown, can_combine = f"{shown}␣", False
        elif not character.isprintable():
            shown, can_combine = shown + printable(character), False
        elif cell_len(character) > 0:
            shown, can_combine = shown + character, True
        elif can_combine:
            shown += character
        else:
            shown += character.encode("unicode_escape").decode("ascii")
    return shown


def pad(text: str, size: int) -> str:
    return text + " " * (size - cell_len(text))


def crop(text: str, size: int) -> str:
    return text if cell_len(text) <= size else f"{set_cell_size(text, size - 1)}…"
