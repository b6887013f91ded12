"""Print what a text classifier predicts for a text: its labels, and those that come next."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from trfcli import console
from trfcli.rendering.groups import DIM
from trfcli.rendering.mistakes import excerpt
from trfcli.text import printable

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.predict import Prediction

_PREDICTED = "bold green"
# Scores after longer labels aren't aligned.
_MAX_LABEL = 40
# Columns that a line needs beside its label: the arrow, the score and the threshold.
_BESIDE, _THRESHOLD = 10, 18


def print_prediction(prediction: "Prediction", top_k: int, *, with_text: bool) -> None:
    """Print a line for each label: first the predicted ones, with an arrow, then the others.

    Below them, say if the classifier is unsure, or if the text is unlike the labeled ones.

    Args:
        prediction: Of one text.
        top_k: Number of labels to print, unless more are predicted.
        with_text: Whether to print the beginning of the text above them, and an empty line below.
    """
    lines = list(_lines(prediction, top_k))
    if with_text:
        text = excerpt(prediction.text, console.data_width() - 1)
        lines = [Text(f" {text}", "bold"), *lines, Text()]
    console.data_lines(lines)


def _lines(prediction: "Prediction", top_k: int) -> Iterator[Text]:
    # The same for all texts, so that they are aligned.
    longest = max(cell_len(printable(label)) for label in prediction.cats)
    room = console.data_width() - _BESIDE - (_THRESHOLD if prediction.thresholds else 0)
    width = min(longest, _MAX_LABEL, room)
    others = [label for label in prediction.cats if label not in prediction.labels]
    if not prediction.labels:
        yield Text("   no label", "yellow")
    for label in [*prediction.labels, *others][: max(top_k, len(prediction.labels))]:
        predicted = label in prediction.labels
        name = printable(label)
        line = Text.assemble(
            (f" {'→' if predicted else ' '} {name}", _PREDICTED if predicted else ""),
            " " * (width - cell_len(name)),
            f"  {prediction.cats[label]:.3f}",
        )
        if label in prediction.thresholds:
            line.append(f"   threshold {prediction.thresholds[label]:g}", DIM)
        yield line
    if prediction.unsure:
        candidates = ", ".join(map(printable, prediction.label_set or ()))
        yield Text(f"   unsure: one of {candidates}" if candidates else "   unsure", "yellow")
    if (prediction.novelty or 0.0) > 1.0:
        yield Text(f"   unlike the labeled texts (novelty {prediction.novelty:.2f})", "yellow")
