"""Config settings as options of the command, such as `--training.dropout 0.1`."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperCommand

from trfcli.usage import did_you_mean


# Typer's click has no public types, hence Any.
class TakesOverrides(TyperCommand):
    """A command that also accepts config settings as options: any option with a dot in its name.

    They are in `Context.obj`, as a dictionary of names and values.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        plain, overrides = split_overrides(args)
        options = {
            option
            for param in self.get_params(ctx)
            for option in (*param.opts, *param.secondary_opts)
        }
        for option in _names(plain):
            # Typer reports those that are like no other.
            if option not in options and (advice := _did_you_mean(option, options)):
                ctx.fail(f"No such option: {option}{advice}")
        ctx.obj = {}
        for key, value in overrides:
            if key in ctx.obj:
                ctx.fail(f"--{key} is given twice")
            ctx.obj[key] = parse_value(value)
        return super().parse_args(ctx, plain)


def split_overrides(args: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Separate the command's own arguments from overrides of config settings.

    As in `spacy train`, an override is `--key value`, `--key=value`, or `--key` for true.
    """
    rest, plain, overrides = list(args), [], []
    while rest and rest[0] != "--":
        name, has_value, value = rest.pop(0).partition("=")
        if not name.startswith("--") or "." not in name:
            plain.append(f"{name}{has_value}{value}")
            continue
        if not has_value:
            value = rest.pop(0) if rest and not _is_option(rest[0]) else "true"
        overrides.append((name.removeprefix("--").replace("-", "_"), value))
    return plain + rest, overrides


def parse_value(text: str) -> Any:
    """A value as JSON, or as text if it isn't JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_option(text: str) -> bool:
    return text.startswith("-") and not isinstance(parse_value(text), int | float)


def _names(args: Sequence[str]) -> Iterator[str]:
    """The names of the long options among some arguments."""
    for arg in args:
        if arg == "--":
            return
        if arg.startswith("--"):
            yield arg.partition("=")[0]


def _did_you_mean(option: str, options: set[str]) -> str:
    if similar := did_you_mean(option, options):
        return similar
    # Imported only here, because it takes seconds.
    from trfcli_pipeline.training.overrides import suggest_setting

    setting = suggest_setting(option.removeprefix("--"))
    return f". {setting}" if setting else ""
