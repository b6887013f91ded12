import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from trfcli import console


class Stream(io.StringIO):
    """A terminal, or a file, in some encoding."""

    def __init__(self, encoding: str, is_terminal: bool) -> None:
        super().__init__()
        self.declared_encoding = encoding
        self.is_terminal = is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.declared_encoding

    def isatty(self) -> bool:
        return self.is_terminal


@contextmanager
def streams(*, encoding: str = "utf-8", is_terminal: bool = True) -> Iterator[Stream]:
    """Both stdout and stderr as one stream. A fixture can't do this: pytest replaces them later."""
    stream = Stream(encoding, is_terminal)
    with redirect_stdout(stream), redirect_stderr(stream):
        yield stream


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")


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
    table = console.ProgressTable([("step", 4)])
    table.add("1")
    console.warn("Odd")
    console.fail("Wrong", hint="Change it")
    console.data("asked for")
    out, err = capsys.readouterr()
    assert out == "asked for\n"
    assert err == "⚠ Odd\n✘ Wrong\n  Change it\n"


def test_long_message_without_a_terminal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    message = "word " * 60 + "end"
    console.info(message)
    assert capsys.readouterr().err == f"ℹ {message}\n"


@pytest.mark.usefixtures("narrow")
def test_message_wraps_at_the_terminal_below_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with streams() as terminal:
        console.good("Saved en_trf_allminilml6v2 to ./a/very/long/path/that-has-hyphens (87 MB)")
    assert terminal.getvalue() == (
        "✔ Saved en_trf_allminilml6v2 to\n  ./a/very/long/path/that-has-hyphens\n  (87 MB)\n"
    )


@pytest.mark.usefixtures("narrow")
def test_percent_stays_with_its_number() -> None:
    with streams() as terminal:
        console.hint("6 labels: DESC 26.0 %, ENTITY AB 21.7 %, HUM 19.7 %")
    assert terminal.getvalue() == ("  6 labels: DESC 26.0 %, ENTITY AB\n  21.7 %, HUM 19.7 %\n")


@pytest.mark.usefixtures("narrow")
def test_command_in_a_hint_is_never_broken() -> None:
    with streams() as terminal:
        console.hint("Or use the packaged encoder: trf init-model minilm ./a/long/path --lang de")
    assert terminal.getvalue() == (
        "  Or use the packaged encoder:\n  trf init-model minilm ./a/long/path --lang de\n"
    )


@pytest.mark.usefixtures("narrow")
def test_symbol_is_coloured_on_a_terminal() -> None:
    with streams() as terminal:
        console.good("Saved")
    assert terminal.getvalue() == "\x1b[38;5;2m✔\x1b[0m Saved\n"


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with streams() as terminal:
        console.good("Saved")
        console.data_table(["label", "F"], [["HAM", "1"]])
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.usefixtures("narrow")
def test_empty_no_color_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert console.has_colour(Stream("utf-8", is_terminal=True))
    assert not console.has_colour(Stream("utf-8", is_terminal=False))


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
def test_ascii_where_the_encoding_has_no_more(call: Callable[[str], None], line: str) -> None:
    with streams(encoding="ascii", is_terminal=False) as file:
        call("café")
    assert file.getvalue() == line


@pytest.mark.usefixtures("narrow")
def test_drawing_in_ascii_keeps_its_width() -> None:
    with streams(encoding="ascii", is_terminal=False) as file:
        console.data("cafés ─── ×2 …")
    assert file.getvalue() == "caf\\xe9s --- x2 >\n"


def test_message_carries_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    console.fail("a\x1b[31mb\nc\ud800")
    assert capsys.readouterr().err == "✘ a\\x1b[31mb\\nc\\ud800\n"


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, "training") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("narrow")
def test_progress_is_silent_with_quiet() -> None:
    console.configure(quiet=True, debug=False)
    with streams() as terminal, console.progress(3, "training") as bar:
        bar.update(3)
    assert terminal.getvalue() == ""


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("total", "shown"), [(4, " training  50% "), (None, " training  2 steps")])
def test_progress_on_a_terminal_is_gone_at_the_end(total: int | None, shown: str) -> None:
    with streams() as terminal, console.progress(total, "training", unit="steps") as bar:
        bar.update(2)
        bar.refresh()
    written = terminal.getvalue()
    assert shown in written
    assert written.endswith("\r")


def test_rows_of_progress_are_aligned_below_one_header(capsys: pytest.CaptureFixture[str]) -> None:
    table = console.ProgressTable([("step", 6), ("macro F", 0), ("words/s", 9)])
    table.add("141", "0.960", "3,410")
    table.add("282", "0.974", "3,395", note="← best")
    assert capsys.readouterr().err == (
        "   step  macro F    words/s\n"
        "    141    0.960      3,410\n"
        "    282    0.974      3,395  ← best\n"
    )


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("50", [" step   epoch  macro F   words/s", "  282    2.00    0.974     3,395  ← best"]),
        ("34", ["  step epoch macro F", "   282  2.00   0.974 ← best"]),
        ("18", ["  step", "   282 ← best"]),
        ("5", ["  step", "   282 ← best"]),
    ],
)
def test_progress_has_fewer_columns_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch, columns: str, lines: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    header = [("step", 4), ("epoch", 6), ("macro F", 0), ("words/s", 8)]
    with streams() as terminal:
        table = console.ProgressTable(header, note="← best")
        table.add("282", "2.00", "0.974", "3,395", note="← best")
    assert terminal.getvalue().splitlines() == lines


@pytest.mark.usefixtures("narrow")
def test_messages_go_above_a_bar() -> None:
    with streams() as terminal, console.progress(3, "training"):
        console.warn("Odd")
    assert "Odd\n" in terminal.getvalue().replace("\r", "")


FACTS = (
    "accuracy 0.986 (95 % interval 0.975 to 0.995)",
    "macro F 0.968",
    "MCC 0.937",
    "ECE\t0.012",
)


def test_a_line_stays_one_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_line(*FACTS)
    console.data_line("one", indent=2)
    whole = "    ".join(FACTS).replace("\t", "\\t")
    assert capsys.readouterr().out == f" {whole}\n  one\n"


@pytest.mark.usefixtures("narrow")
def test_a_line_is_divided_between_facts_where_it_can_be() -> None:
    with streams() as terminal:
        console.data_line(*FACTS)
        console.data_line("fits in one line of the terminal, 40", indent=3)
    assert terminal.getvalue().splitlines() == [
        " accuracy 0.986 (95 % interval 0.975",
        "   to 0.995)    macro F 0.968",
        "   MCC 0.937    ECE\\t0.012",
        "    fits in one line of the terminal, 40"[1:],
    ]


@given(
    facts=st.lists(st.text(alphabet="ab 語é", min_size=1), min_size=1),
    columns=st.integers(8, 60),
    indent=st.integers(1, 2),
)
def test_a_line_loses_nothing_and_fits(facts: list[str], columns: int, indent: int) -> None:
    with pytest.MonkeyPatch.context() as patch, streams() as terminal:
        patch.setenv("COLUMNS", str(columns))
        console.data_line(*facts, indent=indent)
    written = terminal.getvalue()
    assert "".join(written.split()) == "".join("".join(facts).split())
    assert all(cell_len(line) <= columns for line in written.splitlines())


def test_table_is_aligned_and_whole_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_table(["label", "F", "texts"], [["HAM", "0.993", "482"], ["x" * 90, "1", "7"]])
    header, first, second = capsys.readouterr().out.splitlines()
    assert first == f" HAM{' ' * 90}0.993     482"
    assert second == f" {'x' * 90}       1       7"
    assert header.split() == ["label", "F", "texts"]
    assert len(header) == len(first)


@pytest.mark.usefixtures("narrow")
def test_table_fits_the_terminal() -> None:
    with streams() as terminal:
        console.data_table(["label", "F", "texts"], [["x" * 90, "0.993", "482"]])
    lines = terminal.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 40
    assert "".join(lines).count("x") == 91  # and the x of "texts"


def test_columns_come_closer_together_before_words_are_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    with streams() as terminal:
        console.data_table(
            ["", "A", "B", "B - A", "95 % interval", "p"],
            [["accuracy", "0.968", "0.960", "-0.008", "-0.018 to +0.002", "<0.001"]],
        )
    lines = terminal.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert [line.split() for line in lines] == [
        ["95", "%"],
        ["A", "B", "B", "-", "A", "interval", "p"],
        ["accuracy", "0.968", "0.960", "-0.008", "-0.018", "<0.001"],
        ["to"],
        ["+0.002"],
    ]


def test_cells_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_table(["[b]label[/b]", "F"], [["[red]A", ":smile:"]])
    assert capsys.readouterr().out.split() == ["[b]label[/b]", "F", "[red]A", ":smile:"]


def test_json_is_readable_and_exact(capsys: pytest.CaptureFixture[str]) -> None:
    console.data_json({"text": "Zürich"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": "Zürich"}
    assert "Zürich" in out


@pytest.mark.parametrize(("value", "width"), [("123", 123), ("0", 80), ("wide", 80), ("", 80)])
def test_width_follows_columns(monkeypatch: pytest.MonkeyPatch, value: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", value)
    assert console.terminal_width(io.StringIO()) == width


def test_own_settings_of_libraries_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    console.silence_libraries()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_tokenizers_give_up_threads_only_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set and removed again, so that monkeypatch also takes back what the function sets.
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    console.silence_libraries(forks=True)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_warnings_of_libraries_are_ignored_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        console.silence_libraries()
        warnings.warn_explicit("a", UserWarning, "f.py", 1, module="torch.nn.modules")
        warnings.warn_explicit("b", UserWarning, "f.py", 1, module="torchlike")
    assert [str(warning.message) for warning in caught] == ["b"]
