"""Read .jsonl and .json files, and write .jsonl files."""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from trfcli_pipeline.data.formats.rows import BadRowError, Format, Rows, bad_utf8, lines

# Accept literal tabs and control characters in strings: forbidden by the standard, but unambiguous.
_JSON = json.JSONDecoder(strict=False)
_JSON_SPACE = re.compile(r"[ \t\r\n]*")
_BLANK = b"\xef\xbb\xbf \t\r\n"
_PAIR = re.compile(rb'\[\s*"([^"\\]|\\.)*"\s*,\s*\{.*\}\s*\]')
_JSONL_SHAPE = 'Each line is one record: {"text": ..., "label": ...}'
_JSON_SHAPES = 'A .json file is one list, [{"text": ...}, ...], or has one record per line'


def _read_jsonl(stream: Iterable[bytes], name: str, advice: str = _JSONL_SHAPE) -> Rows:
    for number, line in lines(stream):
        if isinstance(line, BadRowError):
            yield number, line
        elif line.strip(" \t\r"):
            try:
                row = _JSON.decode(line)
            except (ValueError, RecursionError) as error:
                row = _bad_json(error, advice)
            yield number, row


def _read_json(stream: Iterable[bytes], name: str) -> Rows:
    raw_lines = iter(stream)
    head: list[bytes] = []
    for line in raw_lines:
        head.append(line)
        if line.strip(_BLANK):
            break
    if head and _is_list(head[-1]):
        yield from _read_json_list(b"".join([*head, *raw_lines]))
    else:
        # Many tools write one record per line and call the file .json.
        yield from _read_jsonl(chain(head, raw_lines), name, _JSON_SHAPES)


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


class JsonlWriter:
    """Writes one JSON object per line.

    Numpy values become numbers and lists; other values without a JSON form, such as dates, become
    strings.
    """

    streams = True
    takes_docs = False

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.left_out: set[str] = set()

    def add(self, batch: Iterable[Mapping[str, Any]]) -> bytes:
        text = "".join(f"{to_json(row)}\n" for row in batch)
        # Lone surrogates from the input are written as JSON escapes, such as \ud800.
        return text.encode("utf-8", errors="backslashreplace")

    def end(self) -> bytes:
        return b""


def to_json(value: Any) -> str:
    """Convert a value to JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


JSONL = Format(_read_jsonl)
JSON = Format(_read_json)
