"""Counts and lists as messages show them."""

from collections.abc import Sequence


def plural(number: int, noun: str, verbs: tuple[str, str] | None = None) -> str:
    """A count with its noun: "1 token", "4,517 tokens".

    Args:
        verbs: Singular and plural of a verb to put after the noun: "1 text is", "2 texts are".
    """
    counted = f"{number:,} {noun}{'' if number == 1 else 's'}"
    return f"{counted} {agree(number, *verbs)}" if verbs else counted


def agree(number: int, singular: str, plural: str) -> str:
    """The form of a word that goes with a number."""
    return singular if number == 1 else plural


def enumeration(items: Sequence[str], *, shown: int = 5) -> str:
    """The first items and the number of the others: "A, B, C, D, E and 4 more"."""
    first = ", ".join(items[:shown])
    n_others = len(items) - shown
    return f"{first} and {n_others:,} more" if n_others > 0 else first
