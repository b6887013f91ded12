import json
from collections.abc import Callable
from pathlib import Path

import pytest
from trainings import rows, write
from typer.testing import Result

from trfcli.rendering.curve import Point, draw_curve

Run = Callable[..., Result]


@pytest.fixture
def workspace(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("encoder").symlink_to(tiny_bert)
    write(Path("train.jsonl"), rows("FRUIT", "FILM"))
    write(Path("few.jsonl"), rows("FRUIT", "FILM")[15:25])
    return tmp_path


def test_what_is_printed(run: Run, workspace: Path) -> None:
    result = run("forecast", "encoder", "train.jsonl", "--more", "60")
    assert result.exit_code == 0, result.output
    first, second, *rest = result.stdout.splitlines()
    assert first.startswith(" accuracy 0.")
    assert first.endswith("with 40 texts, by the fitted curve (frozen encoder, cross-fitted).")
    assert second.startswith(" 60 more should give ")
    assert any(line.split()[-1:] == ["100"] for line in rest)
    assert any(line.startswith(" FRUIT") for line in rest)
    assert rest[-1].startswith(" Measured with 36 texts: frozen encoder 0.")


def test_json(run: Run, workspace: Path) -> None:
    result = run("forecast", "encoder", "train.jsonl", "--dev", "train.jsonl", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["texts"], found["more_texts"], found["dev"]) == (40, 40, "train.jsonl")
    assert found["warnings"][0] == (
        "40 of 40 texts in the dev set also occur in the training set, so dev scores will be too "
        "high (first: line 1)"
    )
    value, low, high = found["then"]
    assert 0 <= low <= value <= high <= 1
    assert found["curve"][-1]["texts"] == 40
    assert found["labels"].keys() == {"FRUIT", "FILM"}
    assert found["baseline"]["chance"] == 0.5


def test_bad_input(
    workspace: Path, check_failure: Callable[[list[str], str, str | None], None]
) -> None:
    check_failure(["forecast", "encoder", "few.jsonl"], "10 texts, too few", "Label at least 20")
    check_failure(["forecast", "encoder", "gone.jsonl"], "gone.jsonl", "")


@pytest.mark.parametrize("width", [40, 72, 200])
def test_a_chart_fits_the_terminal(width: int) -> None:
    measured = [Point(n, 1 - n**-0.2, 0.97 - n**-0.2, 1.03 - n**-0.2) for n in (50, 200, 900)]
    lines = draw_curve(measured, [Point(2000, 0.8, 0.78, 0.82)], width)
    assert max(map(len, lines)) <= width
    assert sum(line.count("●") for line in lines) == 3
    assert sum(line.count("○") for line in lines) == 1
    assert "2,000" in lines[-1]


def test_higher_scores_are_drawn_higher_and_more_texts_further_right() -> None:
    measured = [Point(100, 0.5, 0.5, 0.5), Point(400, 0.7, 0.7, 0.7)]
    lines = draw_curve(measured, [Point(800, 0.8, 0.8, 0.8)], 60)
    places = [
        (line, text.index(mark)) for mark in "●○" for line, text in enumerate(lines) if mark in text
    ]
    high, low, forecast = places
    assert forecast[0] < high[0] < low[0]
    assert low[1] < high[1] < forecast[1]


def test_a_flat_curve_can_be_drawn() -> None:
    lines = draw_curve([Point(10, 1.0, 1.0, 1.0)], [Point(20, 1.0, 1.0, 1.0)], 60)
    assert any("●" in line and "○" in line for line in lines)


def test_axis_of_the_chart_ends_at_one() -> None:
    lines = draw_curve([Point(50, 0.9, 0.85, 0.95)], [Point(100, 0.99, 0.97, 1.0)], 60)
    assert lines[0].startswith(" 1.00 ")
    lines = draw_curve([Point(50, 0.5, 0.0, 1.0)], [Point(100, 0.99, 0.97, 1.0)], 60)
    assert lines[0].startswith(" 1.00 ")
    assert "-" not in "".join(lines)


def test_axis_of_the_chart_never_has_a_negative_zero() -> None:
    lines = draw_curve([Point(36, 0.0, 0.0, 0.0)], [Point(80, 0.0, 0.0, 0.01)], 60)
    assert lines[9].startswith(" 0.00 ")
