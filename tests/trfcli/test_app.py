import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import Result

from trfcli import app as app_module
from trfcli import console
from trfcli.app import COMMANDS, help_and_example
from trfcli.running import Command
from trfcli_pipeline.errors import DataError, OutputError

Run = Callable[..., Result]
HEAVY = {"torch", "spacy", "transformers", "thinc", "numpy", "trfcli_pipeline"}
# Options are parsed to these modules' classes. They only need the standard library.
LIGHT = {
    "trfcli_pipeline",
    "trfcli_pipeline.data",
    "trfcli_pipeline.data.dataset",
    "trfcli_pipeline.errors",
}
NAMES = [name for names in COMMANDS for name in names]


@pytest.fixture
def failing(inspection: ModuleType) -> Callable[[BaseException], None]:
    """Make `trf inspect x` raise an exception in place of its work."""

    def fail_with(error: BaseException) -> None:
        def inspect_alignment(text: str, model: str | None) -> dict[str, Any]:
            raise error

        inspection.inspect_alignment = inspect_alignment  # type: ignore[attr-defined]

    return fail_with


@pytest.mark.parametrize("names", COMMANDS, ids=lambda names: names[0])
def test_docstring_has_a_sentence_and_an_example(names: tuple[str, ...]) -> None:
    summary, example = help_and_example(COMMANDS[names])
    assert summary.endswith(".")
    commands = example.splitlines()
    assert commands
    assert all(line.partition("trf ")[2].split()[0] in names for line in commands)


def test_command_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    "args", [["nonsense"], ["inspect"], ["info", "--nonsense"], ["--nonsense"]]
)
def test_wrong_usage_exits_with_2(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_no_arguments_prints_help(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert "Usage: trf" in result.output


def test_misspelled_command_gets_a_suggestion(run: Run) -> None:
    assert "Did you mean 'inspect'" in run("isnpect", "x").stderr


def test_misspelled_option_gets_a_suggestion(run: Run) -> None:
    assert "--json" in run("info", "--jsn").stderr


def test_version_lists_packages_without_importing_them() -> None:
    code = (
        "import sys\n"
        "from trfcli.app import main\n"
        "sys.argv = ['trf', '--version']\n"
        "try:\n    main()\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    result = run_python("-c", code)
    assert result.returncode == 0
    first, second = result.stdout.splitlines()
    assert first.startswith("trf ")
    assert second.startswith(f"python {sys.version.split()[0]}, spacy 3.")
    assert not heavy(result.stderr.split())


@pytest.mark.parametrize("args", [["--help"], ["inspect", "--help"], ["info", "--help"], ["oops"]])
def test_no_heavy_import_before_a_command_runs(args: list[str]) -> None:
    check_imports("-X", "importtime", "-m", "trfcli", *args)


def test_no_heavy_import_for_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TRF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "trf tr")
    monkeypatch.setenv("COMP_CWORD", "1")
    code = "from trfcli.app import main; main()"
    assert check_imports("-X", "importtime", "-c", code).stdout == "train-textcat\n"


def check_imports(*args: str) -> subprocess.CompletedProcess[str]:
    """Run Python with `-X importtime` and check that nothing heavy was imported."""
    result = run_python(*args)
    imported = {
        line.rpartition("|")[2].strip()
        for line in result.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "typer" in imported
    assert not heavy(imported)
    return result


def heavy(modules: Iterable[str]) -> set[str]:
    """The modules that take long to import, or that import such modules."""
    return {name for name in modules if name.partition(".")[0] in HEAVY} - LIGHT


def test_piped_output_has_no_color() -> None:
    for args in (["--help"], ["inspect", ""]):
        result = run_python("-m", "trfcli", *args)
        assert "\033" not in result.stdout + result.stderr


def test_data_error_is_one_line_with_a_hint_and_exit_code_1(
    run: Run, failing: Callable[[BaseException], None]
) -> None:
    failing(
        DataError("a.jsonl, line 2: not JSON", hint="Two records can't be read.\nNothing done.")
    )
    result = run("inspect", "x")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "✘ a.jsonl, line 2: not JSON\n  Two records can't be read.\n  Nothing done.\n"
    )


@pytest.mark.parametrize("args", [["--debug", "inspect", "x"], ["inspect", "x", "--debug"]])
def test_debug_adds_the_traceback(
    run: Run, failing: Callable[[BaseException], None], args: list[str]
) -> None:
    failing(OutputError("there is a model already"))
    result = run(*args)
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("✘ there is a model already\n")


def test_debug_from_the_environment(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(ValueError("odd"))
    assert "Traceback" in run("inspect", "x", env={"TRF_DEBUG": "1"}).stderr
    assert "Traceback" not in run("inspect", "x", env={"TRF_DEBUG": "0"}).stderr


def test_unexpected_error_is_reported_as_a_bug(
    run: Run, failing: Callable[[BaseException], None]
) -> None:
    failing(ValueError("odd\n  shape " + "x " * 400))
    result = run("inspect", "x")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("✘ ValueError: odd shape x x") and first.endswith(" ...")
    assert second == (
        "  This is a bug in trf. Run the command again with --debug for the traceback."
    )


def test_error_without_a_message_shows_its_type(
    run: Run, failing: Callable[[BaseException], None]
) -> None:
    failing(AssertionError())
    assert run("inspect", "x").stderr.startswith("✘ AssertionError\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "Not enough memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] can't allocate memory"),
            "Not enough memory",
        ),
        (RuntimeError("Symlink loop from '/a/b'"), "Symlink loop from '/a/b'"),
    ],
    ids=str,
)
def test_full_memory_and_a_loop_of_links_are_not_bugs(
    run: Run, failing: Callable[[BaseException], None], error: Exception, message: str
) -> None:
    failing(error)
    result = run("inspect", "x")
    assert result.exit_code == 1
    first, hint = result.stderr.splitlines()
    assert first == f"✘ {message}"
    assert "bug" not in hint


def test_operating_system_error_is_not_a_bug(
    run: Run, failing: Callable[[BaseException], None]
) -> None:
    failing(OSError(28, "No space left on device", "model/weights"))
    result = run("inspect", "x")
    assert result.exit_code == 1
    assert result.stderr == "✘ model/weights: No space left on device\n"


def test_interrupt_reports_that_nothing_was_changed(
    run: Run, failing: Callable[[BaseException], None]
) -> None:
    failing(KeyboardInterrupt())
    result = run("inspect", "x")
    assert result.exit_code == 130
    assert result.stderr == "✘ Interrupted; nothing was changed.\n"


def test_interrupt_reports_what_the_command_announced(run: Run, inspection: ModuleType) -> None:
    def inspect_alignment(text: str, model: str | None) -> dict[str, Any]:
        console.if_interrupted("./model is unchanged")
        raise KeyboardInterrupt

    inspection.inspect_alignment = inspect_alignment  # type: ignore[attr-defined]
    assert run("inspect", "x").stderr == "✘ Interrupted; ./model is unchanged.\n"


def test_interrupt_message_does_not_outlive_the_run(
    run: Run, failing: Callable[[BaseException], None]
) -> None:
    console.if_interrupted("left by another run")
    failing(KeyboardInterrupt())
    assert "nothing was changed" in run("inspect", "x").stderr


def test_closed_pipe_is_quiet(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(BrokenPipeError(32, "Broken pipe"))
    result = run("inspect", "x")
    assert result.exit_code == 1
    assert result.output == ""


def test_closed_pipe_is_quiet_when_python_exits() -> None:
    code = (
        "import sys\n"
        "from types import ModuleType\n"
        "module = ModuleType('trfcli_pipeline.tasks.inspect_alignment')\n"
        "module.inspect_alignment = dict.fromkeys\n"
        "sys.modules[module.__name__] = module\n"
        "from trfcli.app import main\n"
        "sys.argv = ['trf', 'inspect', '--json', 'x' * 100_000]\n"
        "main()\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert result.stderr == ""
    assert result.returncode == 1


def test_exit_code_of_a_command_is_kept(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(typer.Exit(7))
    assert run("inspect", "x").exit_code == 7


def test_bad_parameter_in_a_command_is_wrong_usage(
    run: Run, failing: Callable[[BaseException], None]
) -> None:
    failing(typer.BadParameter("either a file or a share", param_hint="--dev"))
    result = run("inspect", "x")
    assert result.exit_code == 2
    assert result.stderr == "✘ --dev: either a file or a share\n"


@pytest.mark.parametrize("args", [["-q", "inspect", "x"], ["inspect", "x", "--quiet"]])
def test_quiet_before_and_after_the_command(
    run: Run, inspection: ModuleType, args: list[str]
) -> None:
    def inspect_alignment(text: str, model: str | None) -> dict[str, Any]:
        console.info("decided")
        console.warn("doubtful")
        raise DataError("wrong", hint="change it")

    inspection.inspect_alignment = inspect_alignment  # type: ignore[attr-defined]
    assert run(*args).stderr == "⚠ doubtful\n✘ wrong\n  change it\n"
    assert "ℹ decided" in run("inspect", "x").stderr


def test_libraries_are_silenced_except_with_debug(run: Run, inspection: ModuleType) -> None:
    seen = []

    def inspect_alignment(text: str, model: str | None) -> dict[str, Any]:
        seen.append(os.environ.get("TRANSFORMERS_VERBOSITY"))
        return {}

    inspection.inspect_alignment = inspect_alignment  # type: ignore[attr-defined]
    run("--debug", "inspect", "x", "--json")
    run("inspect", "x", "--json")
    assert seen == [None, "error"]


def test_every_command_handles_errors() -> None:
    group = typer.main.get_command(app_module.app)
    assert all(isinstance(command, Command) for command in group.commands.values())  # type: ignore[attr-defined]


def run_python(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, env=environment, check=False
    )
