"""Wrong usage of the command line: one line that says what is wrong, and a hint."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from trfcli import console
from trfcli.errors import EXIT_USAGE

_SIMILAR = 0.7
# Beginnings of Pydantic's names for errors in numbers.
_OF_NUMBERS = ("int", "float", "less", "greater")


@contextmanager
def reported_usage() -> Iterator[None]:
    """Print errors about wrong usage, instead of Typer's block of usage, advice and message."""
    try:
        yield
    except Exception as error:
        # Typer has no public names for most classes of these errors, hence their attributes.
        if not hasattr(error, "format_message"):
            raise
        console.configure(quiet=False, debug=False)
        message, hint = explain(error)
        console.fail(message, hint=hint)
        raise typer.Exit(EXIT_USAGE) from error


def explain(error: Any) -> tuple[str, str | None]:
    """What is wrong, and a hint if the message doesn't say what to do.

    Args:
        error: An error about wrong usage that Typer or a command raised.
    """
    context = error.ctx
    command = "trf" if context is None else context.command_path
    if hasattr(error, "possibilities"):
        similar = did_you_mean(error.option_name, error.possibilities or ())
        return f"{error.message}{similar}", None if similar else f"All options: {command} --help"
    if hasattr(error, "param_type"):
        return f"{parameter_name(error.param)} is missing", _usage(context)
    if isinstance(error, typer.BadParameter):
        return _explain_value(error), None
    message = error.format_message().rstrip(".")
    if context is None or message.endswith("?"):
        return message, None
    return message, "All commands: trf --help" if context.parent is None else _usage(context)


def did_you_mean(option: str, options: Any) -> str:
    """Suggest the options whose spelling is closest, as the end of a message."""
    similar = get_close_matches(option, options, n=2, cutoff=_SIMILAR)
    return f". Did you mean {' or '.join(similar)}?" if similar else ""


def parameter_name(param: Any) -> str:
    """What users call a parameter: "DATA" or "--batch-size"."""
    is_argument = param.param_type_name == "argument"
    return str(param.metavar if is_argument else param.opts[0])


def refuse_empty(params: Iterable[Any], values: Mapping[str, Any], args: Sequence[str]) -> None:
    """Raise an error if an option or argument is empty, such as a shell variable that isn't set.

    Args:
        params: The parameters of a command.
        values: Their values by name.
        args: The arguments on the command line.
    """
    if not any(arg == "" or (arg.startswith("--") and arg.endswith("=")) for arg in args):
        return
    given = [(param, values.get(param.name)) for param in params]
    empty = [param for param, value in given if _is_empty(value)]
    # Typer makes the path "." of "", which may also be meant.
    empty += [param for param, value in given if value == Path()]
    if empty:
        raise typer.BadParameter(f"{parameter_name(empty[0])} is empty")


def _is_empty(value: object) -> bool:
    return any(map(_is_empty, value)) if isinstance(value, list) else str(value) == ""


def _usage(context: Any) -> str:
    return " ".join(context.get_usage().split())


def _explain_value(error: Any) -> str:
    """What is wrong with the value of an option or argument."""
    from trfcli_pipeline.data.formats.rows import shortened

    param = error.param
    name = error.param_hint or (param and parameter_name(param))
    # Typer converts values by Pydantic.
    found: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    problem = found[0] if found else {}
    kind = problem.get("type", "")
    if problem.get("input") == "":
        return f"{name} is empty"
    if kind.startswith(_OF_NUMBERS):
        return f"{name} {shortened(str(problem['input']))}: must be {_allowed(param, kind)}"
    message = error.message.removeprefix("Value error, ").rstrip(".")
    return f"{name}: {message}" if name else message


def _allowed(param: Any, kind: str) -> str:
    """Describe the numbers that a parameter takes, as in "a whole number, at least 1"."""
    least, largest = param.min, param.max
    parts = []
    if kind.endswith("parsing"):
        parts.append("a whole number" if kind.startswith("int") else "a number")
    if least is not None and largest is not None:
        parts.append(f"from {_number(least)} to {_number(largest)}")
    elif least is not None:
        parts.append(f"at least {_number(least)}")
    elif largest is not None:
        parts.append(f"at most {_number(largest)}")
    return ", ".join(parts)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else str(value)
