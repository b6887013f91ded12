"""Texts that a spreadsheet would run as formulas when it opens a .csv or .tsv file."""

import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# What a spreadsheet takes for the start of a formula.
_FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")


def not_a_formula(cell: str) -> str:
    """Keep a spreadsheet from running a text as a formula, by an apostrophe before it.

    A number isn't a formula. A text that starts with apostrophes and such a character gets one
    more, so that `plain_text` returns every text unchanged.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def plain_text(cell: str) -> str:
    """Undo `not_a_formula`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
