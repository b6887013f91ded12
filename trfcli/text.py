"""Text on a terminal, where a character is zero, one or two columns wide."""

from collections.abc import Iterable, Iterator

NO_BREAK = "\ue000"  # replaces a space where a line must not end; never printable text


def printable(text: str) -> str:
    """Escape control, format and other invisible characters, so that none reaches a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def terminal_width() -> int:
    """Return the columns of the terminal, or of $COLUMNS if set, or else 80."""
    from rich.console import Console

    return Console().width or 80


def visible(text: str) -> str:
    """Make every character visible: spaces become ␣, invisible characters escapes.

    A combining character stays as it is if it follows a character that it can combine with.
    """
    from rich.cells import cell_len

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


def wrap(text: str, width: int, *, break_words: bool) -> list[str]:
    """Split a text into lines of at most `width` columns. `NO_BREAK` becomes a space.

    Args:
        break_words: Whether to split words that are wider than a line. If not, they stick out.
    """
    from rich.cells import chop_cells

    words = text.split(" ")
    if break_words:
        # An empty word is the place between two spaces.
        words = [part for word in words for part in chop_cells(word, max(width, 2)) or [""]]
    return [line.replace(NO_BREAK, " ") for line in flow(words, width, gap=1)]


def flow(words: Iterable[str], width: int, *, gap: int) -> Iterator[str]:
    """Fill lines of at most `width` columns with words that are `gap` columns apart."""
    from rich.cells import cell_len

    line: list[str] = []
    size = 0
    for word in words:
        if line and size + gap + cell_len(word) > width:
            yield (" " * gap).join(line).rstrip()
            line, size = [], 0
        if line or word:
            size += cell_len(word) + (gap if line else 0)
            line.append(word)
    if line:
        yield (" " * gap).join(line).rstrip()
