"""Print explained predictions.

The text is colored: blue for tokens that speak for the label, orange for those that speak against
it, stronger for those that add more. The table below it can be read without colors.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from trfcli import console
from trfcli.text import printable, terminal_width, visible
from trfcli.wording import decimal, plural

if TYPE_CHECKING:
    from trfcli_pipeline.evaluation.explanation import Explanation, TokenAttribution

# From weak to strong. Black on these is readable on dark and on light backgrounds, and people with
# any kind of color vision can tell the two scales apart.
_FOR = ("black on color(195)", "black on color(153)", "black on color(117)", "black on color(75)")
_AGAINST = (
    "black on color(230)",
    "black on color(223)",
    "black on color(216)",
    "black on color(209)",
)
_MARGIN = 4
_SHOWN_TOKENS = 10
# With two decimals, a smaller one is 0.00.
_SHOWN_REMAINDER = 0.005
_LONGEST_BAR = 20
# Columns that the table needs beside its bars and the names of tokens.
_NUMBERS = 20
_MIN_BAR = 4
_MAX_NAME = 24


def print_explanation(explanation: "Explanation") -> None:
    """Print the label, the text, the tokens that add or subtract most, and the sum."""
    note = "" if explanation.is_predicted else " (not predicted)"
    console.data_line(f"{explanation.label} {explanation.score:.3f}{note}")
    console.data_lines(_text_lines(explanation))
    width = min(console.data_width(), terminal_width() - 1)
    bar = max(min(width - _NUMBERS - _MAX_NAME, _LONGEST_BAR), _MIN_BAR)
    rows, styles = zip(*_rows(explanation, bar), strict=True)
    console.data_table(("", "", "adds"), rows, left=2, styles=styles)
    console.data("")


def _text_lines(explanation: "Explanation") -> list[Text]:
    text = Text()
    for token, level, is_for in explanation.highlights():
        style = (_FOR if is_for else _AGAINST)[level - 1] if level else ""
        text.append(printable(token.text) if token.text.strip() else " ", style)
        text.append(token.whitespace)
    width = max(terminal_width() - _MARGIN, 1)
    lines = [
        Text.assemble(" " * (_MARGIN - 1), line) for line in text.wrap(Console(width=width), width)
    ]
    for line in lines:
        line.rstrip()
    return lines


def _rows(explanation: "Explanation", bar: int) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Yield the rows of the table, whose numbers add up to the last one, and their styles."""
    yield ("an empty input", "", _number(explanation.base)), "dim"
    order = sorted(
        (index for index, token in enumerate(explanation.tokens) if token.text.strip()),
        key=lambda index: -abs(explanation.tokens[index].value),
    )
    shown = order[:_SHOWN_TOKENS]
    for index in shown:
        token = explanation.tokens[index]
        length = round(abs(explanation.strengths[index]) * bar)
        bar_of_token = ("━" if token.value > 0 else "╸") * length
        yield (_name(token), bar_of_token, _number(token.value)), ""
    others = [token.value for i, token in enumerate(explanation.tokens) if i not in shown]
    if others:
        yield (plural(len(others), "other token"), "", _number(sum(others))), ""
    if abs(explanation.remainder) >= _SHOWN_REMAINDER:
        advice = "" if explanation.is_complete else " (try more --steps)"
        yield (f"unexplained{advice}", "", _number(explanation.remainder)), "dim"
    # The first line has the whole label.
    label = _cut_off(explanation.label)
    yield (f"log-odds of {label}", "", _number(explanation.log_odds)), "bold"


def _name(token: "TokenAttribution") -> str:
    return _cut_off(visible(token.text))


def _cut_off(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _number(value: float) -> str:
    return decimal(value, 2, sign="+")
