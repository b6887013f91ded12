"""How explanations look on a terminal."""

from collections.abc import Callable
from typing import Any

import pytest

from trfcli import console
from trfcli.rendering import explanations
from trfcli.rendering.explanations import print_explanation
from trfcli_pipeline.evaluation.explanation import Explanation, TokenAttribution

WORDS = {"A": 0.1, "stirring": 2.0, ",": -0.004, "funny": 1.0, "and": -0.5, "moving": 0.4}


def explanation(words: dict[str, float], **changes: Any) -> Explanation:
    values: dict[str, Any] = {
        "label": "POSITIVE",
        "score": 0.95,
        "is_predicted": True,
        "log_odds": 3.0,
        "base": 0.004,
        "tokens": tuple(TokenAttribution(word, " ", value) for word, value in words.items()),
        "steps": 16,
        "is_complete": True,
    }
    return Explanation(**{**values, **changes})


@pytest.fixture
def shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    def show(found: Explanation, *, width: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(console, "data_width", lambda: width - 1)
        print_explanation(found)
        return capsys.readouterr().out.splitlines()

    return show


def test_tokens_by_strength(shown: Callable[..., list[str]]) -> None:
    lines = shown(explanation(WORDS))
    assert lines[:2] == [" POSITIVE 0.950", "   A stirring , funny and moving"]
    assert lines[3].split() == ["an", "empty", "input", "+0.00"]
    assert lines[4].startswith(" stirring")
    assert lines[4].endswith(" ━━━━━━━━━━━━━━━━━━━━   +2.00")
    assert lines[6].split() == ["and", "╸╸╸╸╸", "-0.50"]
    assert lines[9].split() == [",", "+0.00"]
    assert lines[10].split() == ["log-odds", "of", "POSITIVE", "+3.00"]


def test_other_tokens_are_summed(shown: Callable[..., list[str]]) -> None:
    lines = shown(explanation({f"word{number}": number / 10 for number in range(14)}))
    assert ["4", "other", "tokens", "+0.60"] in map(str.split, lines)


def test_long_label_is_whole_only_once(shown: Callable[..., list[str]]) -> None:
    lines = shown(explanation(WORDS, label="x" * 30))
    assert lines[0] == f" {'x' * 30} 0.950"
    assert lines[10].split() == ["log-odds", "of", f"{'x' * 23}…", "+3.00"]


def test_incomplete_sum(shown: Callable[..., list[str]]) -> None:
    lines = shown(explanation(WORDS, log_odds=4.0, is_complete=False, is_predicted=False))
    assert lines[0] == " POSITIVE 0.950 (not predicted)"
    assert lines[-3].split() == ["unexplained", "(try", "more", "--steps)", "+1.00"]


@pytest.mark.parametrize("width", [24, 40, 200])
def test_fits_the_terminal(shown: Callable[..., list[str]], width: int) -> None:
    words = {**WORDS, "Donaudampfschifffahrtsgesellschaftskapitän": 3.0}
    assert max(map(len, shown(explanation(words), width=width))) <= width


def test_invisible_characters_are_escaped(shown: Callable[..., list[str]]) -> None:
    assert "\x1b" not in "".join(shown(explanation({"\x1b[31mred": 1.0, "\n": 0.0})))


def test_sign_and_strength_have_colors() -> None:
    lines = explanations._text_lines(explanation(WORDS))
    styles = {
        line.plain[span.start : span.end]: span.style for line in lines for span in line.spans
    }
    assert styles["stirring"] == explanations._FOR[3]
    assert styles["funny"] == explanations._FOR[1]
    assert styles["and"] == explanations._AGAINST[0]
    assert "," not in {word for word, style in styles.items() if style}


def test_text_without_tokens(shown: Callable[..., list[str]]) -> None:
    lines = shown(explanation({}, log_odds=0.0, base=0.0))
    assert [line.split()[-1] for line in lines if line][-2:] == ["+0.00", "+0.00"]
