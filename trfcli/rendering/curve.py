"""Draw a learning curve in characters."""

from collections.abc import Sequence
from typing import NamedTuple

from trfcli.wording import decimal

_HEIGHT = 10
_WIDEST = 72
_GUTTER = 6  # columns left of the axis


class Point(NamedTuple):
    """A score at a number of texts, and the ends of its band."""

    n_texts: int
    value: float
    low: float
    high: float


def draw_curve(measured: Sequence[Point], forecast: Sequence[Point], width: int) -> list[str]:
    """Draw measured scores as ●, forecast ones as ○, and their bands as │.

    Numbers of texts are on a logarithmic scale, on which learning curves are close to straight.

    Args:
        measured: In ascending order of their numbers of texts.
        forecast: Further points, after the measured ones.
        width: Columns of the terminal.
    """
    points = [*measured, *forecast]
    columns = min(width, _WIDEST) - _GUTTER - 2
    bottom, top = _range(points)
    marks = _columns([each.n_texts for each in points], columns)
    grid = [[" "] * columns for _ in range(_HEIGHT)]

    def row(score: float) -> int:
        share = (score - bottom) / (top - bottom)
        return min(max(round((1 - share) * (_HEIGHT - 1)), 0), _HEIGHT - 1)

    for place, (point, column) in enumerate(zip(points, marks, strict=True)):
        for line in range(row(point.high), row(point.low) + 1):
            grid[line][column] = "│"
        grid[row(point.value)][column] = "●" if place < len(measured) else "○"
    lines = []
    for line, cells in enumerate(grid):
        score = top - (top - bottom) * line / (_HEIGHT - 1)
        tick = decimal(score, 2) if line % 3 == 0 else ""
        lines.append(f"{tick:>{_GUTTER - 1}} ┤{''.join(cells)}".rstrip())
    lines.append(f"{'':>{_GUTTER}}└{'─' * columns}")
    lines.append(_ticks(points, marks, columns))
    return lines


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """The lowest and the highest score of the chart, in whole steps of 0.03 below 1."""
    low, high = min(each.low for each in points), max(each.high for each in points)
    bottom = int(low * 100) // 3 * 3 / 100
    top = max(-(-int(high * 100 + 1) // 3) * 3 / 100, bottom + 0.03)
    return (max(bottom + 1 - top, 0.0), 1.0) if top > 1 else (bottom, top)


def _columns(numbers: Sequence[int], columns: int) -> list[int]:
    """The column of each number on a logarithmic scale, with room for its label."""
    import math

    first, last = math.log(numbers[0]), math.log(numbers[-1])
    span = (last - first) or 1.0
    room = columns - 5
    return [2 + round((math.log(number) - first) / span * (room - 1)) for number in numbers]


def _ticks(points: Sequence[Point], marks: Sequence[int], columns: int) -> str:
    """The line with the numbers of texts; those without room are left out, but not the last."""
    labels = [(column, f"{point.n_texts:,}") for point, column in zip(points, marks, strict=True)]
    line = ""
    last_start = marks[-1] - len(labels[-1][1]) // 2
    for place, (column, label) in enumerate(labels):
        start = max(column - len(label) // 2, 0)
        is_last = place == len(labels) - 1
        fits = start > len(line) and (is_last or start + len(label) < last_start)
        if fits or not line:
            line = f"{line:<{start}}{label}"
    return f"{'':>{_GUTTER + 1}}{line}"
