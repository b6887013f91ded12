"""Read .jsonl and .json files, and convert values to JSON."""

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np

from trfcli_pipeline.data.formats.json_shapes import as_objects, expand
from trfcli_pipeline.data.formats.rows import (
    LARGEST_WHOLE,
    LONGEST_LINE,
    BadRowError,
    Format,
    RawFile,
    Rows,
    bad_utf8,
    bounded_lines,
    lines,
    read_whole,
)

# Accept literal tabs and control characters in strings, and NaN: forbidden by the standard, but
# unambiguous. As a score, NaN is refused. Elsewhere, it is written as null.
_JSON = json.JSONDecoder(strict=False)
_JSON_SPACE = re.compile(r"[ \t\r\n]*")
_NOT_ASCII = re.compile(r"[^\n -~]")
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_BLANK = b"\xef\xbb\xbf \t\r\n"
_PAIR = re.compile(rb'\[\s*"([^"\\]|\\.)*"\s*,\s*\{.*\}\s*\]')
_LINES = (".jsonl", ".ndjson")
_JSONL_SHAPE = 'Each line is one record: {"text": ..., "label": ...}'
_JSON_SHAPES = 'A .json file is one list, [{"text": ...}, ...], or has one record per line'


def _read_json(file: RawFile, longest: int) -> Rows:
    """Read one record per line, one list of records, or an object with a list in it.

    The content decides, because many tools write one of these and give the file the suffix of
    another.
    """
    raw_lines = bounded_lines(file.stream, file.name, longest=longest)
    head: list[bytes] = []
    for line in raw_lines:
        head.append(line)
        if line.strip(_BLANK):
            break
    first = head[-1].strip(_BLANK) if head else b""
    if _is_list(first) or _is_incomplete(first):
        yield from _read_values(read_whole(file.stream, file.name, b"".join(head)), file)
        return
    second = next(raw_lines, None)
    rest = chain(head, [] if second is None else [second], raw_lines)
    rows = _records(rest, _JSONL_SHAPE if file.suffix in _LINES else _JSON_SHAPES)
    if second is None or not second.strip(_BLANK):
        # One value: a record, or an object with a list of them.
        rows = (each for row in rows for each in expand(*row, file))
    yield from rows


def _records(raw_lines: Iterable[bytes], advice: str) -> Rows:
    for number, line in lines(raw_lines):
        if isinstance(line, BadRowError):
            yield number, line
        elif line.strip(" \t\r"):
            yield number, decode_line(line, advice)


def decode_line(line: str, advice: str) -> Any:
    """Decode the JSON on a line, or return a BadRowError with some advice."""
    try:
        return _JSON.decode(line)
    except (ValueError, RecursionError) as error:
        return _bad_json(error, advice)


def _is_list(line: bytes) -> bool:
    """Whether a file starts with a list of records rather than with a pair."""
    return line.startswith(b"[") and _PAIR.fullmatch(line) is None


def _is_incomplete(line: bytes) -> bool:
    """Whether a value begins on this line, but doesn't end on it."""
    if not line.startswith(b"{"):
        return False
    try:
        text = line.decode()
        _JSON.decode(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text)
    except (ValueError, RecursionError):
        pass
    return False


def _read_values(data: bytes, file: RawFile) -> Rows:
    """Read the values of a file that has a list, or values that extend over several lines."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield data.count(b"\n", 0, error.start) + 1, bad_utf8(data[error.start])
        return
    at = _end_of_space(text, 0)
    if text[at] != "[":
        values = list(_decode(text, at, is_list=False))
        for line, value in values:
            yield from expand(line, value, file) if len(values) == 1 else [(line, value)]
        return
    values = list(_decode(text, at))
    if "\n" not in text.strip() and not any(isinstance(row, BadRowError) for _, row in values):
        # Lines tell nothing.
        file.place = "record"
        values = [(number, row) for number, (_, row) in enumerate(values, start=1)]
    yield from as_objects(values, file)


def _decode(text: str, at: int, *, is_list: bool = True) -> Rows:
    """Decode values one by one, because json.loads doesn't tell on which line each one starts."""
    line, counted = 1, 0
    if is_list:
        at = _end_of_space(text, at + 1)
    end = "]" if is_list else ""
    closed = text[at : at + 1] == end
    try:
        while not closed:
            line, counted = line + text.count("\n", counted, at), at
            row, at = _JSON.raw_decode(text, at)
            yield line, row
            at = _end_of_space(text, at)
            closed = text[at : at + 1] == end
            if not closed and is_list:
                if text[at : at + 1] != ",":
                    raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
                at = _end_of_space(text, at + 1)
        if _end_of_space(text, at + 1) < len(text):
            raise json.JSONDecodeError("Extra data", text, _end_of_space(text, at + 1))
    except json.JSONDecodeError as error:
        yield error.lineno, _bad_json(error, _JSON_SHAPES)
    except (ValueError, RecursionError) as error:
        yield line, _bad_json(error)


def _end_of_space(text: str, start: int) -> int:
    space = _JSON_SPACE.match(text, start)
    return space.end() if space else start


def _bad_json(error: ValueError | RecursionError, advice: str | None = None) -> BadRowError:
    match error:
        case json.JSONDecodeError():
            message = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
            reason = f"{message} at column {error.colno}"
        case RecursionError():
            reason = "nested too deeply"
        case _:
            reason = "a number with too many digits"
    return BadRowError(f"not valid JSON ({reason})", advice=advice)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Convert a value to JSON.

    NaN and infinite numbers, which JSON doesn't have, become null.

    Args:
        value: The value.
        indent: Spaces per level; None for one line.
    """
    encode = _encoder(indent).encode
    try:
        return encode(value)
    except ValueError:
        return encode(_finite(value))


@cache
def _encoder(indent: int | None) -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=False, default=_plain, allow_nan=False, indent=indent)


def escape_invisible(text: str) -> str:
    """Escape what a terminal would act on in JSON: control and format characters, such as U+202E.

    The values stay the same.
    """
    return _NOT_ASCII.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    is_invisible = unicodedata.category(character) in _INVISIBLE
    return json.dumps(character)[1:-1] if is_invisible else character


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def _finite(value: Any) -> Any:
    """Replace numbers that aren't finite by None."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case np.generic() | np.ndarray():
            return _finite(value.tolist())
    return value


JSONL = Format(partial(_read_json, longest=LONGEST_LINE))
# A list of records may be on one line.
JSON = Format(partial(_read_json, longest=LARGEST_WHOLE), has_parts=True)
