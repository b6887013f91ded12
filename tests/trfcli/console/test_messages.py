from collections.abc import Callable
from typing import Any

import pytest

from trfcli import console

Streams = Callable[..., Any]


def test_messages_are_plain_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.good("Saved")
    console.hint("Next: trf info ./model")
    console.info("CPU")
    console.warn("Odd")
    console.fail("Wrong", hint="First.\nSecond.")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "✔ Saved\n  Next: trf info ./model\nℹ CPU\n⚠ Odd\n✘ Wrong\n  First.\n  Second.\n"
    )


def test_quiet_keeps_warnings_errors_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure(quiet=True, debug=False)
    console.good("Saved")
    console.hint("Next")
    console.info("CPU")
    console.progress_row([("1", 4)])
    console.warn("Odd")
    console.fail("Wrong", hint="Change it")
    console.data("asked for")
    out, err = capsys.readouterr()
    assert out == "asked for\n"
    assert err == "⚠ Odd\n✘ Wrong\n  Change it\n"


def test_long_message_stays_on_one_line_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = "word " * 60 + "end"
    console.info(message)
    assert capsys.readouterr().err == f"ℹ {message}\n"


@pytest.mark.usefixtures("narrow")
def test_message_wraps_with_a_hanging_indent(
    monkeypatch: pytest.MonkeyPatch, streams: Streams
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with streams() as terminal:
        console.good("Saved en_trf_allminilml6v2 to ./a/very/long/path/that-has-hyphens (87 MB)")
    assert terminal.getvalue() == (
        "✔ Saved en_trf_allminilml6v2 to\n  ./a/very/long/path/that-has-hyphens\n  (87 MB)\n"
    )


@pytest.mark.usefixtures("narrow")
def test_wide_characters_count_as_two_columns(streams: Streams) -> None:
    with streams() as terminal:
        console.hint("日本語 " * 6)
    assert terminal.getvalue() == "  日本語 日本語 日本語 日本語 日本語\n  日本語\n"


@pytest.mark.usefixtures("narrow")
def test_number_and_percent_sign_stay_on_one_line(streams: Streams) -> None:
    with streams() as terminal:
        console.hint("6 labels: DESC 26.0 %, ENTITY AB 21.7 %, HUM 19.7 %")
    assert terminal.getvalue() == "  6 labels: DESC 26.0 %, ENTITY AB\n  21.7 %, HUM 19.7 %\n"


@pytest.mark.usefixtures("narrow")
def test_command_in_a_hint_stays_on_one_line(streams: Streams) -> None:
    with streams() as terminal:
        console.hint("Or use the packaged encoder: trf init-model minilm ./a/long/path --lang de")
    assert terminal.getvalue() == (
        "  Or use the packaged encoder:\n  trf init-model minilm ./a/long/path --lang de\n"
    )


@pytest.mark.usefixtures("narrow")
def test_symbol_is_colored_on_a_terminal(streams: Streams) -> None:
    with streams() as terminal:
        console.good("Saved")
    assert terminal.getvalue() == "\x1b[32m✔\x1b[0m Saved\n"


@pytest.mark.usefixtures("narrow")
def test_empty_no_color_variable_has_no_effect(
    monkeypatch: pytest.MonkeyPatch, streams: Streams
) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    with streams() as terminal:
        console.good("Saved")
    assert "\x1b" in terminal.getvalue()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colors_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, streams: Streams
) -> None:
    monkeypatch.setenv(name, value)
    with streams() as terminal:
        console.good("Saved")
        console.data_table(["label", "F"], [["HAM", "1"]])
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("call", "line"),
    [
        (console.good, "[+] caf\\xe9\n"),
        (console.info, "[i] caf\\xe9\n"),
        (console.warn, "[!] caf\\xe9\n"),
        (console.fail, "[x] caf\\xe9\n"),
        (console.hint, "  caf\\xe9\n"),
    ],
)
def test_ascii_stream_gets_escapes(
    call: Callable[[str], None], line: str, streams: Streams
) -> None:
    with streams(encoding="ascii", is_terminal=False) as file:
        call("café")
    assert file.getvalue() == line


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    console.fail("a\x1b[31mb\nc\ud800")
    assert capsys.readouterr().err == "✘ a\\x1b[31mb\\nc\\ud800\n"


def test_rows_are_right_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    console.progress_row([("step", 6), ("macro F", 7)])
    console.progress_row([("282", 6), ("0.974", 7)], note="← best")
    assert capsys.readouterr().err == "   step  macro F\n    282    0.974  ← best\n"
