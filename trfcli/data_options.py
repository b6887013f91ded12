"""The options of every command that reads texts: what a user can say about the layout of files."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

# It imports neither spaCy nor torch.
from trfcli_pipeline.data.dataset import DataSet, ReadingOptions  # noqa: TID253

if TYPE_CHECKING:
    from typer._click import Context, Parameter

_reading = partial(typer.Option, rich_help_panel="Reading data", show_default="guessed")


def reading_options(
    text_column: Annotated[
        list[str] | None,
        _reading(metavar="NAME", help="Column with the text. Several are joined: repeat it."),
    ] = None,
    label_column: Annotated[
        list[str] | None,
        _reading(
            metavar="NAME",
            help="Column with the labels. Repeat it for several, such as columns of 0 and 1.",
        ),
    ] = None,
    label_separator: Annotated[
        str | None,
        _reading(
            metavar="CHARACTER", help="What separates the labels in a cell; none if it is one."
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        _reading(metavar="CHARACTER", help="What separates the cells of a table; tab for a tab."),
    ] = None,
    encoding: Annotated[
        str | None,
        _reading(metavar="NAME", help="Encoding of text files, such as utf-8, cp1252 or utf-16."),
    ] = None,
    quoting: Annotated[
        str | None,
        _reading(
            metavar="KIND",
            help="How quotes in cells are written: minimal (doubled), backslash (after one), or "
            "none (they are part of the text).",
        ),
    ] = None,
    skip_unlabeled: Annotated[
        bool,
        _reading(
            "--skip-unlabeled",
            "--skip-unlabelled",
            help="Leave out records without a text or a label.",
            show_default=False,
        ),
    ] = False,
) -> None:
    """The options; see `ReadingOptions`."""


class ReadsData(TyperCommand):
    """A command with data sets among its parameters, which takes options about their layout."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        *params, help_param = super().get_params(ctx)
        if not reads_data(self.callback):
            return [*params, help_param]
        return [*params, *_options(), help_param]

    def invoke(self, ctx: "Context") -> Any:
        if reads_data(self.callback):
            given = {name: ctx.params.pop(name, None) for name in _names()}
            options = ReadingOptions.of(given)
            for name, value in ctx.params.items():
                if isinstance(value, DataSet):
                    ctx.params[name] = replace(value, options=options)
                elif isinstance(value, list | tuple):
                    ctx.params[name] = [
                        replace(each, options=options) if isinstance(each, DataSet) else each
                        for each in value
                    ]
        return super().invoke(ctx)


def reads_data(function: Callable[..., Any] | None) -> bool:
    """Whether a command has a data set among its parameters."""
    if function is None:
        return False
    parameters = inspect.signature(function).parameters.values()
    return any(_is_data_set(each.annotation) for each in parameters)


def _is_data_set(annotation: Any) -> bool:
    return annotation is DataSet or any(map(_is_data_set, get_args(annotation)))


@cache
def _options() -> "list[Parameter]":
    app = typer.Typer(add_completion=False)
    app.command()(reading_options)
    return list(typer.main.get_command(app).params)


def _names() -> list[str]:
    return [option.name or "" for option in _options()]
