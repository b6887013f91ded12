"""What is wrong with a config, out of the errors of spaCy, Thinc and configparser."""

import configparser
import re

from thinc.api import ConfigValidationError

from trfcli_pipeline.data.formats.rows import shortened
from trfcli_pipeline.errors import one_line

_TYPES = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}
# Thinc gives configparser the text of a file under this name.
_SOURCE = re.compile(r"^While reading from '<string>' \[line +(\d+)\]: ")


def first_problem(error: ValueError | configparser.Error) -> tuple[str, str]:
    """The place of the first problem that an error names, if it names one, and the problem."""
    for each in getattr(error, "errors", None) or ():
        # Errors of configparser are pairs of a line's number and its text.
        if isinstance(each, dict):
            problem = str(each["msg"]).removeprefix("at root: ")
            for kind, words in _TYPES.items():
                problem = problem.replace(f"<class '{kind}'>", words)
            return shortened(".".join(map(str, each["loc"]))), problem
    if isinstance(error, configparser.Error):
        line = _SOURCE.match(str(error))
        problem = one_line(ValueError(_SOURCE.sub("", " ".join(str(error).split()))))
        return (f"line {line[1]}" if line else ""), problem
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Validation errors begin with a headline of their own.
    has_headline = len(lines) > 1 and isinstance(error, ConfigValidationError)
    return "", one_line(ValueError(" ".join(lines[1:4]))) if has_headline else one_line(error)
