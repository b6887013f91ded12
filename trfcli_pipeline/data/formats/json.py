"""Read .jsonl and .json files, and convert values to JSON."""

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import IO, Any

import numpy as np

from trfcli_pipeline.data.formats.rows import (
    LARGEST_WHOLE,
    BadRowError,
    Format,
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
_JSONL_SHAPE = 'Each line is one record: {"text": ..., "label": ...}'
_JSON_SHAPES = 'A .json file is one list, [{"text": ...}, ...], or has one record per line'


def _read_jsonl(stream: IO[bytes], name: str) -> Rows:
    return _records(bounded_lines(stream, name), _JSONL_SHAPE)


def _records(raw_lines: Iterable[bytes], advice: str) -> Rows:
    for number, line in lines(raw_lines):
        if isinstance(line, BadRowError):
            yield number, line
        elif line.strip(" \t\r"):
            try:
                row = _JSON.decode(line)
            except (ValueError, RecursionError) as error:
                row = _bad_json(error, advice)
            yield number, row


def _read_json(stream: IO[bytes], name: str) -> Rows:
    # The list may be on one line.
    raw_lines = bounded_lines(stream, name, longest=LARGEST_WHOLE)
    head: list[bytes] = []
    for line in raw_lines:
        head.append(line)
        if line.strip(_BLANK):
            break
    if head and _is_list(head[-1]):
        yield from _read_json_list(read_whole(stream, name, b"".join(head)))
    else:
        # Many tools write one record per line and call the file .json.
        yield from _records(chain(head, raw_lines), _JSON_SHAPES)


def _is_list(first_line: bytes) -> bool:
    """Whether a file starts with a list of records rather than with a pair."""
    line = first_line.strip(_BLANK)
    return line.startswith(b"[") and _PAIR.fullmatch(line) is None


def _read_json_list(data: bytes) -> Rows:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield data.count(b"\n", 0, error.start) + 1, bad_utf8(data[error.start])
        return
    # Decode element by element, because json.loads doesn't tell on which line each one starts.
    line, counted = 1, 0
    at = _end_of_space(text, _end_of_space(text, 0) + 1)
    closed = text[at : at + 1] == "]"
    try:
        while not closed:
            line, counted = line + text.count("\n", counted, at), at
            row, at = _JSON.raw_decode(text, at)
            yield line, row
            at = _end_of_space(text, at)
            closed = text[at : at + 1] == "]"
            if not closed:
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
    dump = partial(json.dumps, ensure_ascii=False, default=_plain, allow_nan=False, indent=indent)
    try:
        return dump(value)
    except ValueError:
        return dump(_finite(value))


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


JSONL = Format(_read_jsonl)
JSON = Format(_read_json)
