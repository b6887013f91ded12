"""The values of cells: missing ones, and lists and objects that are written as strings."""

import ast
import json
import math
import re
from typing import Any

_YES = (1, "1", "1.0", "true", "yes", "y", "x")
_NO = (0, "0", "0.0", "false", "no", "n")
_LONGEST_LITERAL = 100_000
# What tables have in place of a missing value. "None" and "NA" may be labels.
_MISSING = {"", "nan", "NaN", "NULL", "null", "<NA>", "#N/A", "\\N"}
_BRACKETS = ("[]", "{}", "()")
# numpy prints lists without commas.
_NUMPY_STRINGS = re.compile(r"""\[\s*(?:(?:'[^']*'|"[^"]*")\s*)+\]""")
_NUMPY_STRING = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_NUMPY_NUMBERS = re.compile(r"\[\s*(?:-?\d+(?:\.\d*)?\s+)*-?\d+(?:\.\d*)?\s*\]")


def is_missing(value: Any) -> bool:
    """Whether a cell has no value: null, NaN, or nothing but spaces."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip() in _MISSING)


def is_yes(value: Any) -> bool | None:
    """What the cell in the column of a label says about the label; None if it is something else."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word in _YES:
        return True
    return False if word in _NO else None


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((int, float), "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
)


def kind_of(value: Any) -> str:
    """JSON's name for the type of a value, or Python's if JSON has no such type."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return f"of type {type(value).__name__}"


def parsed(value: Any) -> Any:
    """Parse a list or an object that is written as a string: in JSON, or as Python prints it.

    Tuples and sets become lists.
    """
    if not isinstance(value, str):
        return value.tolist() if hasattr(value, "tolist") else value
    text = value.strip()
    if text == "set()":
        return []
    if text[:1] + text[-1:] not in _BRACKETS or len(text) > _LONGEST_LITERAL:
        return value
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    # Python would join the strings of such a list.
    if _NUMPY_STRINGS.fullmatch(text):
        return [one or other for one, other in _NUMPY_STRING.findall(text)]
    if _NUMPY_NUMBERS.fullmatch(text):
        return [float(each) for each in text[1:-1].split()]
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return value
    if isinstance(found, tuple | set):
        return list(found) if isinstance(found, tuple) else sorted(found, key=str)
    return found if isinstance(found, list | dict) else value
