import re
from collections.abc import Callable

import pytest
import typer
from typer.testing import Result

from trfcli.app import COMMANDS, app, help_and_example
from trfcli.running import SHARED

Run = Callable[..., Result]
NAMES = [name for name, *_ in COMMANDS]


def option_names(command: str) -> list[str]:
    group = typer.main.get_command(app)
    params = group.commands[command].params if command else group.params  # type: ignore[attr-defined]
    return [
        name
        for param in params
        if param.param_type_name == "option"
        for name in (*param.opts, *param.secondary_opts)
    ]


def test_help_lists_every_command_once_with_its_short_name(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for names in COMMANDS:
        assert len(re.findall(rf"^  {', '.join(names)} ", result.stdout, re.M)) == 1


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("command", ["", *NAMES])
def test_nothing_is_cut_off(run: Run, command: str, width: int) -> None:
    text = run(*command.split(), "--help", terminal_width=width).stdout
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    explained, _, example = text.partition("\nExample:\n")
    for name in [*option_names(command), "--help", "--quiet", "--debug"]:
        assert re.search(rf"^  (?! ).*?(?<![\w-]){name}(?![\w-])", explained, re.M), name
    assert example.startswith("  trf ")


@pytest.mark.parametrize("command", ["", *NAMES])
def test_shared_options_come_last(run: Run, command: str) -> None:
    text = run(*command.split(), "-h").stdout
    names = re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.M)
    assert names[-3:] == ["--quiet", "--debug", "--help"]


@pytest.mark.parametrize("command", NAMES)
def test_help_has_no_markup(run: Run, command: str) -> None:
    text = run(command, "--help").stdout.partition("\nExample:\n")[0]
    assert "\\" not in text
    assert "[[" not in text
    assert "default: (" not in text
    assert not re.search(r"x[<>]|\[\]", text)


def test_wrapped_example_is_still_a_command(run: Run) -> None:
    text = run("optimize", "--help", terminal_width=60).stdout
    example = text.partition("\nExample:\n")[2]
    assert " \\\n" in example
    commands = re.sub(r" \\\n +", " ", example).split("\n")
    _, given = help_and_example(COMMANDS["optimize",])
    assert [line.strip() for line in commands if line] == given.splitlines()


def test_default_is_shown_next_to_its_option(run: Run) -> None:
    text = " ".join(run("annotate", "--help").stdout.split())
    assert re.search(r"--n-process N .*?\[default: 1;", text)


@pytest.mark.parametrize("names", [names for names in COMMANDS if len(names) > 1])
def test_short_name_has_the_same_help(run: Run, names: tuple[str, str]) -> None:
    full, short = (run(name, "--help").stdout for name in names)
    assert short == full.replace(f"trf {names[0]} [", f"trf {names[1]} [")


def test_a_short_option_has_one_meaning() -> None:
    meanings: dict[str, set[str]] = {}
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        for param in command.params:
            for name in param.opts:
                if not name.startswith("--") and param.param_type_name == "option":
                    meanings.setdefault(name, set()).add(param.name)
    # Both are numbers: of epochs, and of texts.
    assert meanings.pop("-n") == {"epochs", "n"}
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def complete(monkeypatch: pytest.MonkeyPatch, run: Run, line: str) -> list[str]:
    words = line.split(" ")
    monkeypatch.setenv("_TRF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    return run(prog_name="trf").stdout.split()


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("trf tr", ["train-textcat"]),
        ("trf in", ["init-model", "inspect-alignment", "info"]),
        ("trf train --ep", ["--epochs"]),
        ("trf info --", ["--json", "--verify", *(f"--{name}" for name in SHARED), "--help"]),
    ],
)
def test_completion_in_bash(
    monkeypatch: pytest.MonkeyPatch, run: Run, line: str, completions: list[str]
) -> None:
    assert complete(monkeypatch, run, line) == completions


def test_completion_script_calls_trf(run: Run) -> None:
    script = run("--show-completion", "bash", prog_name="trf").stdout
    assert "_TRF_COMPLETE=complete_bash" in script
