"""Wrong predictions of a text classifier, as lines for a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from trfcli import console
from trfcli.text import printable

if TYPE_CHECKING:
    from trfcli_pipeline.data.records import Record
    from trfcli_pipeline.evaluation.mistakes import Mistake

_MAX_TEXT = 60


def print_mistakes(
    title: str, mistakes: "Sequence[Mistake]", records: "Sequence[Record]", *, model: str = ""
) -> None:
    """Print each mistake with its line in the file: `line 3 "..." is SPAM, predicted HAM 0.53`.

    Args:
        title: Printed above the mistakes, if there are any.
        records: The records that the mistakes refer to.
        model: Name of the model that made the mistakes, where there are several.
    """
    if mistakes:
        console.data_line(f"{title}:")
    for mistake in mistakes:
        record = records[mistake.index]
        predicted = f"{model} predicted" if model else "predicted"
        console.data_line(
            f'{record.place} "{excerpt(record.text)}" is {join_labels(mistake.gold)}, '
            f"{predicted} {prediction(mistake)}",
            indent=2,
        )


def excerpt(text: str, most: int = _MAX_TEXT) -> str:
    """Shorten a text to its beginning, on one line.

    Args:
        most: Maximum width in columns; at most 60.
    """
    text, width = printable(" ".join(text.split())), min(most, _MAX_TEXT)
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def prediction(mistake: "Mistake") -> str:
    """Name the predicted labels and the score that was wrong: "HAM 0.53", "A + B (C 0.41)"."""
    labels, score = join_labels(mistake.predicted), f"{mistake.score:.2f}"
    if mistake.predicted == (mistake.label,):
        return f"{labels} {score}"
    return f"{labels} ({mistake.label} {score})"


def join_labels(labels: Sequence[str]) -> str:
    return " + ".join(labels) or "none"
