"""What is wrong with a config, out of the errors of spaCy, Thinc, pydantic and configparser."""

import configparser
import re

from trfcli_pipeline.data.formats.rows import shortened
from trfcli_pipeline.errors import one_line

# What spaCy, pydantic and Thinc call a type or what has to be one, and what we call it.
_EXPECTED = {
    **dict.fromkeys(("float", "number", "schedule"), "a number"),
    **dict.fromkeys(("int", "integer"), "a whole number"),
    **dict.fromkeys(("bool", "boolean"), "true or false"),
    **dict.fromkeys(("str", "string"), "text"),
    "dict[str, float]": 'numbers by name, such as {"A": 2.0}',
}
_TYPE_PROBLEM = re.compile(r"is not (?:<class '(\w+)'>|(dict.+))|valid (\w+)$|^Invalid (schedule)")
# configparser names the line only in its text.
_LINE = re.compile(r"line:? +(\d+)")


def locate_problem(file: object, error: ValueError | configparser.Error) -> str:
    """Say in one line what is wrong with a config file, and where.

    Args:
        file: The file.
        error: What was raised when it was read or used.
    """
    # Thinc replaces some of the parser's exceptions by its own.
    match error.__context__ or error:
        case configparser.DuplicateSectionError() as found:
            problem = f"section {found.section!r} already exists"
        case configparser.DuplicateOptionError() as found:
            problem = f"option {found.option!r} in section {found.section!r} already exists"
        case configparser.ParsingError() as found:
            problem = "not valid in a config file"
        case _:
            place, problem = find_problem(error)
            return f"{file}: {place}: {problem}" if place else f"{file}: {problem}"
    line = _LINE.search(str(found))
    return f"{file}, line {line[1]}: {problem}" if line else f"{file}: {problem}"


def find_problem(error: ValueError | configparser.Error) -> tuple[str, str]:
    """The dotted path of the setting that an error names, "" for none, and what is wrong there."""
    # Of a type with alternatives, the last one allows for the most.
    # Errors of a config as a whole have only a description, under a headline of their own.
    description = getattr(error, "desc", "") or one_line(error)
    problems = getattr(error, "errors", None) or [{"loc": (), "msg": description.strip()}]
    parts, problem = problems[-1]["loc"], str(problems[-1]["msg"]).splitlines()[0]
    if found := _TYPE_PROBLEM.search(problem):
        problem = f"must be {_EXPECTED.get(found[found.lastindex or 0], problem)}"
    # spaCy puts a code before its own messages, and advice after them.
    problem = re.sub(r"^\[E\d+\] |^at root: ", "", problem).partition(". ")[0]
    return shortened(".".join(str(part) for part in parts if part not in _EXPECTED)), problem
