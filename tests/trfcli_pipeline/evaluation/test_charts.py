import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.evaluation import charts
from trfcli_pipeline.evaluation.charts import Axis, Bars, Line

HOSTILE = "\"'><script>alert(1)</script>&amp;]]>"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def coordinates(path: ET.Element) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for x, y in (pair.split(",") for pair in path.attrib["d"].removeprefix("M").split())
    ]


def test_lines_follow_the_axes() -> None:
    x, y = charts.unit_axis("confidence"), Axis("loss", 0.0, 2.0, (0, 1, 2))
    svg = charts.line_chart([Line("a", [(0, 0), (1, 2), (0.5, 1)])], title="t", x=x, y=y)
    (path,) = parsed(svg).findall("g/path")
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    bottom, top = charts.HEIGHT - charts.BOTTOM, charts.TOP
    middle = ((left + right) / 2, (bottom + top) / 2)
    assert coordinates(path) == [(left, bottom), (right, top), pytest.approx(middle)]


def test_chart_has_a_title_axis_names_and_ticks() -> None:
    x = y = charts.unit_axis("accuracy")
    svg = parsed(charts.line_chart([Line("one", [(0, 0)])], title="Curve", x=x, y=y, guide=True))
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-label"] == "Curve"
    texts = [element.text for element in svg.iter("text")]
    assert texts.count("accuracy") == 2
    assert texts.count("0.4") == 2
    assert [element.text for element in svg.iter("title")] == ["one"]
    assert len(svg.findall("path[@class='guide']")) == 1


def test_points_are_marked_on_request() -> None:
    x = y = charts.unit_axis("")
    points = [(0.0, 0.0), (0.5, math.nan), (1.0, 1.0)]
    lines = [Line("a", points, marked=True), Line("b", points)]
    svg = parsed(charts.line_chart(lines, title="", x=x, y=y))
    assert [len(group.findall("circle")) for group in svg.findall("g")] == [2, 0]


def test_bars_are_proportional_within_each_group() -> None:
    up, down = Bars("correct", [1, 2, 4], "s1"), Bars("wrong", [0, 100, 50], "s2")
    svg = parsed(charts.bar_chart(up, down, title="", name="score"))
    one, other = (
        [float(bar.attrib["height"]) for bar in group.findall("rect")] for group in svg.findall("g")
    )
    assert one == pytest.approx([other[1] / 4, other[1] / 2, other[1]], abs=0.1)
    assert other == pytest.approx([0, one[2], one[2] / 2], abs=0.1)
    texts = [element.text for element in svg.iter("text")]
    assert "correct: 7 (highest bar: 4)" in texts
    assert "wrong: 150 (highest bar: 100)" in texts


def test_empty_charts() -> None:
    x = y = charts.unit_axis("")
    assert "NaN" not in charts.line_chart([Line("a", [])], title="", x=x, y=y)
    empty = Bars("a", [0, 0], "s1")
    svg = parsed(charts.bar_chart(empty, empty, title="", name=""))
    assert {bar.attrib["height"] for bar in svg.iter("rect")} == {"0"}


@given(st.lists(st.floats(0, 1e9), max_size=5))
def test_nice_axis_covers_all_values_with_a_few_ticks(values: list[float]) -> None:
    axis = charts.nice_axis("loss", values)
    assert axis.low == axis.ticks[0] == 0
    assert axis.high == pytest.approx(axis.ticks[-1])
    assert 2 <= len(axis.ticks) <= 7
    assert all(value <= axis.high * (1 + 1e-6) for value in values)
    if values and max(values) > 1e-9:
        assert axis.high <= 2.5 * max(values)


def test_ticks_are_round_numbers() -> None:
    assert charts.nice_axis("", [1.7, 0.3]).ticks == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert charts.nice_axis("", [9]).ticks == [0, 2, 4, 6, 8, 10]
    assert charts.nice_axis("", []).ticks == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


def test_text_is_escaped() -> None:
    axis = Axis(HOSTILE, 0, 1, (0, 1))
    found = [
        charts.line_chart([Line(HOSTILE, [(0, 0)], HOSTILE)], title=HOSTILE, x=axis, y=axis),
        charts.bar_chart(
            Bars(HOSTILE, [1], HOSTILE), Bars("", [1], ""), title=HOSTILE, name=HOSTILE
        ),
    ]
    for svg in found:
        assert "<script" not in svg
        assert not list(parsed(svg).iter("script"))
        assert HOSTILE in "".join(
            [*parsed(svg).itertext(), *(v for e in parsed(svg).iter() for v in e.attrib.values())]
        )
