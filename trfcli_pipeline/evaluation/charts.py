"""Charts as SVG, styled by the CSS classes of the page: `s1` to `s6`, `grid`, `guide` and so on.

Each function takes plain numbers and strings, and returns an SVG element as text. The XML writer
escapes all text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree as ET

WIDTH, HEIGHT = 400, 280
# Margins for ticks and axis names.
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 42


class Axis(NamedTuple):
    """An axis with its range and ticks."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]


@dataclass(frozen=True)
class Line:
    """A line through points.

    Attributes:
        name: Shown as a tooltip.
        style: CSS class: "s1" to "s6" differ in color and dashes, "faint" is for many lines.
        marked: Whether to mark each point.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "s1"
    marked: bool = False


@dataclass(frozen=True)
class Bars:
    """A histogram with bars of equal width from 0 to 1.

    Attributes:
        name: What is counted.
        counts: The height of each bar.
    """

    name: str
    counts: Sequence[int]
    style: str


def unit_axis(name: str) -> Axis:
    """An axis from 0 to 1."""
    return Axis(name, 0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))


def nice_axis(name: str, values: Sequence[float]) -> Axis:
    """An axis from 0 that covers all values, with a few ticks at round numbers."""
    top = max((value for value in values if math.isfinite(value)), default=0.0)
    # With smaller values, rounding would make ticks equal.
    top = top if top > 1e-9 else 1.0
    magnitude = 10 ** math.floor(math.log10(top))
    step = next(
        factor * magnitude for factor in (0.2, 0.5, 1, 2) if top / (factor * magnitude) <= 5
    )
    n_steps = math.ceil(top / step - 1e-9)
    return Axis(name, 0.0, n_steps * step, [number * step for number in range(n_steps + 1)])


def line_chart(lines: Sequence[Line], *, title: str, x: Axis, y: Axis, guide: bool = False) -> str:
    """Draw lines in a frame with ticks.

    Args:
        guide: Whether to draw the diagonal.
    """
    svg = _canvas(title)
    _draw_axes(svg, x, y)
    if guide:
        start, end = _place((x.low, y.low), x, y), _place((x.high, y.high), x, y)
        _add(svg, "path", "guide", d=_path([start, end]))
    for line in lines:
        points = [_place(point, x, y) for point in line.points if all(map(math.isfinite, point))]
        group = _add(svg, "g", f"line {line.style}")
        _add(group, "title").text = line.name
        _add(group, "path", d=_path(points))
        for across, down in points if line.marked else []:
            _add(group, "circle", cx=across, cy=down, r=3)
    return ET.tostring(svg, encoding="unicode")


def bar_chart(up: Bars, down: Bars, *, title: str, name: str) -> str:
    """Draw two histograms of scores, one up and one down, each on its own scale."""
    svg = _canvas(title)
    x = unit_axis(name)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    _draw_x_ticks(svg, x)
    for bars, sign in ((up, -1), (down, 1)):
        highest, total = max(bars.counts, default=0), sum(bars.counts)
        width = (WIDTH - LEFT - RIGHT) / max(len(bars.counts), 1)
        group = _add(svg, "g", f"bars {bars.style}")
        for place, count in enumerate(bars.counts):
            size = count / highest * (middle - TOP - 16) if highest else 0.0
            x_place, y_place = LEFT + place * width + 0.5, middle - size if sign < 0 else middle
            bar = _add(group, "rect", x=x_place, y=y_place, width=width - 1, height=size)
            low, high = place / len(bars.counts), (place + 1) / len(bars.counts)
            tooltip = f"{bars.name}, {low:.2f} to {high:.2f}: {count:,} of {total:,}"
            _add(bar, "title").text = tooltip
        text = f"{bars.name}: {total:,} (highest bar: {highest:,})"
        down_by = TOP + 8 if sign < 0 else HEIGHT - BOTTOM - 4
        _add(svg, "text", x=LEFT + 4, y=down_by).text = text
    _add(svg, "path", "frame", d=_path([(LEFT, middle), (WIDTH - RIGHT, middle)]))
    return ET.tostring(svg, encoding="unicode")


def _canvas(title: str) -> ET.Element:
    box = f"0 0 {WIDTH} {HEIGHT}"
    return ET.Element("svg", {"class": "chart", "viewBox": box, "role": "img", "aria-label": title})


def _draw_axes(svg: ET.Element, x: Axis, y: Axis) -> None:
    _draw_x_ticks(svg, x)
    for tick in y.ticks:
        start, end = _place((x.low, tick), x, y), _place((x.high, tick), x, y)
        _add(svg, "path", "grid", d=_path([start, end]))
        _add(svg, "text", x=LEFT - 6, y=start[1] + 4, text_anchor="end").text = f"{tick:g}"
    turned = f"translate(12 {_number((TOP + HEIGHT - BOTTOM) / 2)}) rotate(-90)"
    _add(svg, "text", transform=turned, text_anchor="middle").text = y.name


def _draw_x_ticks(svg: ET.Element, x: Axis) -> None:
    y = unit_axis("")
    for tick in x.ticks:
        start, end = _place((tick, 0), x, y), _place((tick, 1), x, y)
        _add(svg, "path", "grid", d=_path([start, end]))
        label = _add(svg, "text", x=start[0], y=HEIGHT - BOTTOM + 16, text_anchor="middle")
        label.text = f"{tick:g}"
    middle = (LEFT + WIDTH - RIGHT) / 2
    _add(svg, "text", x=middle, y=HEIGHT - 8, text_anchor="middle").text = x.name


def _place(point: tuple[float, float], x: Axis, y: Axis) -> tuple[float, float]:
    """The position of a point on the canvas, whose y axis points down."""
    across = (point[0] - x.low) / (x.high - x.low)
    up = (point[1] - y.low) / (y.high - y.low)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " ".join(f"{_number(x)},{_number(y)}" for x, y in points) if points else ""


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _add(parent: ET.Element, tag: str, style: str = "", **attributes: float | str) -> ET.Element:
    element = ET.SubElement(parent, tag, {"class": style} if style else {})
    for name, value in attributes.items():
        element.set(name.replace("_", "-"), value if isinstance(value, str) else _number(value))
    return element
