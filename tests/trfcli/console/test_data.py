import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from trfcli import console

Streams = Callable[..., Any]

FACTS = (
    "accuracy 0.986 (95 % interval 0.975 to 0.995)",
    "macro F 0.968",
    "MCC 0.937",
    "ECE\t0.012",
)


def without_bold(text: str) -> str:
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_ascii_stream_gets_drawings_of_the_same_width(streams: Streams) -> None:
    with streams(encoding="ascii", is_terminal=False) as file:
        console.data("cafés ─── ×2 … →")
    assert file.getvalue() == "caf\\xe9s --- x2 > >\n"


def test_data_does_not_wait_in_a_buffer(streams: Streams) -> None:
    with streams(is_terminal=False) as file:
        console.data_json({"a": 1}, indent=None)
        assert file.content.getvalue() == b'{"a": 1}\n'


def test_piped_facts_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_line(*FACTS)
    console.data_line("one", indent=2)
    whole = "    ".join(FACTS).replace("\t", "\\t")
    assert capsys.readouterr().out == f" {whole}\n  one\n"


@pytest.mark.usefixtures("narrow")
def test_facts_break_between_each_other_if_possible(streams: Streams) -> None:
    with streams() as terminal:
        console.data_line(*FACTS)
        console.data_line("fits in one line of the terminal, 40", indent=3)
    assert terminal.getvalue().splitlines() == [
        " accuracy 0.986 (95 % interval 0.975",
        "   to 0.995)    macro F 0.968",
        "   MCC 0.937    ECE\\t0.012",
        "   fits in one line of the terminal, 40",
    ]


@given(
    facts=st.lists(st.text(alphabet="ab 語é", min_size=1), min_size=1),
    columns=st.integers(8, 60),
    indent=st.integers(1, 2),
)
def test_facts_fit_the_terminal_and_lose_nothing(
    facts: list[str], columns: int, indent: int, streams: Streams
) -> None:
    with pytest.MonkeyPatch.context() as patch, streams() as terminal:
        patch.setenv("COLUMNS", str(columns))
        console.data_line(*facts, indent=indent)
    written = terminal.getvalue()
    assert "".join(written.split()) == "".join("".join(facts).split())
    assert all(cell_len(line) <= columns for line in written.splitlines())


def test_piped_table_is_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_table(["label", "F", "texts"], [["HAM", "0.993", "482"], ["x" * 90, "1", "7"]])
    header, first, second = capsys.readouterr().out.splitlines()
    assert first == f" HAM{' ' * 90}0.993     482"
    assert second == f" {'x' * 90}       1       7"
    assert header.split() == ["label", "F", "texts"]
    assert len(header) == len(first)


@pytest.mark.usefixtures("narrow")
def test_table_fits_the_terminal(streams: Streams) -> None:
    with streams() as terminal:
        console.data_table(["label", "F", "texts"], [["x" * 90, "0.993", "482"]])
    lines = without_bold(terminal.getvalue()).splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 40
    assert "".join(lines).count("x") == 91  # and the x of "texts"


def test_columns_move_together_before_words_break(
    monkeypatch: pytest.MonkeyPatch, streams: Streams
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    with streams() as terminal:
        console.data_table(
            ["", "A", "B", "B - A", "95 % interval", "p"],
            [["accuracy", "0.968", "0.960", "-0.008", "-0.018 to +0.002", "<0.001"]],
        )
    assert [line.split() for line in without_bold(terminal.getvalue()).splitlines()] == [
        ["95", "%"],
        ["A", "B", "B", "-", "A", "interval", "p"],
        ["accuracy", "0.968", "0.960", "-0.008", "-0.018", "<0.001"],
        ["to"],
        ["+0.002"],
    ]


def test_cells_are_not_parsed_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_table(["[b]label[/b]", "F"], [["[red]A", ":smile:"]])
    assert capsys.readouterr().out.split() == ["[b]label[/b]", "F", "[red]A", ":smile:"]


def test_json_is_not_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_json({"text": "Zürich"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": "Zürich"}
    assert "Zürich" in out


HOSTILE = "a\x1b[31m\x9b2J\u202eb\u2066\u200f\u2028\ufeff\U000e0041"


def test_json_has_no_characters_that_a_terminal_acts_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = {HOSTILE: [HOSTILE, "café 東京"]}
    console.data_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert all(line.isprintable() for line in out.splitlines())
    assert "café 東京" in out


def test_json_has_null_for_numbers_that_are_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_json({"a": [float("nan"), float("inf"), -float("inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": [None, None, None, 1.5]}


def test_everything_else_is_escaped_too(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_line(HOSTILE)
    console.data_table((HOSTILE, "n"), [(HOSTILE, HOSTILE)])
    console.progress_row([(HOSTILE, 3)], HOSTILE)
    for show in (console.good, console.info, console.warn, console.hint, console.fail):
        show(HOSTILE)
    console.fail("a", hint=f"{HOSTILE}\n{HOSTILE}")
    captured = capsys.readouterr()
    # U+2028 would be a line end for splitlines.
    lines = [*captured.out.split("\n"), *captured.err.split("\n")]
    assert len(lines) > 12
    assert all(line.isprintable() for line in lines)
