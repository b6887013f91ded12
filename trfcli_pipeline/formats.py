"""The file formats of data: from the bytes of a file to its raw rows, each with its place.

A reader yields `(place, row)`. The place counts from 1: the line that the record starts on, or
the row of a file that has no lines. The row is what JSON would hold (an object, a pair ...), not
yet checked; a `BadRowError` stands in for a row that can't be parsed, so that reading goes on.
"""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

from trfcli_pipeline.errors import DataError

STDIN = "-"
LABEL_KEYS = ("cats", "label", "labels")

# Literal tabs and control characters in a string are against the standard, but unmistakable.
_JSON = json.JSONDecoder(strict=False)
_JSON_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SAVE_AS_UTF8 = "Save the file as UTF-8"
_JSON_SHAPES = 'A .json file holds one list, [{"text": ...}, ...], or one record on each line'
_CSV_QUOTES = 'A field with quotes or line ends stands in quotes; a quote inside it is doubled ("")'
# The csv module's own limit, 131,072 characters, is less than a book has.
_CSV_FIELD_LIMIT = 2**31 - 1
_LONGEST_QUOTE = 40


class BadRowError(Exception):
    """A row that can't be used: what is wrong with it, and what to do about it."""

    def __init__(self, reason: str, *, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


Rows = Iterator[tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of file is read.

    Attributes:
        read: From the open file and the name to use in errors, to `(place, row or BadRowError)`.
        place: What the place of a row is called, e.g. "line".
        has_labels: Whether a record of such a file can have labels.
    """

    read: Callable[[IO[bytes], str], Rows]
    place: str = "line"
    has_labels: bool = True


def open_rows(path: Path | str, *, labelled: bool) -> tuple[str, Format, Rows]:
    """Choose the format by suffix, and return the file's name for errors, its format and rows.

    The rows are read as they are asked for.

    Raises:
        DataError: There is no such file, its suffix is unknown or says that it has no labels
            although they are needed; or later, while reading, the file as a whole is damaged.
    """
    if str(path) == STDIN:
        return "stdin", FORMATS[".jsonl"], _read(None, FORMATS[".jsonl"], "stdin")
    path, name = Path(path), str(path)
    try:
        path.stat()
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file", hint=_similar_file(path)) from error
    except OSError as error:
        raise _unreadable(name, error) from error
    if path.is_dir():
        raise DataError(f"{name}: a directory, not a file", hint="Name one file in it")
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    suffix = inner.suffix.lower()
    if suffix not in FORMATS:
        problem = f'unknown suffix "{suffix}"' if suffix else "no suffix that tells its format"
        known = f"{', '.join(FORMATS)}, each also with .gz; - is JSONL on stdin"
        raise DataError(f"{name}: {problem}", hint=f"Known: {known}")
    if labelled and not FORMATS[suffix].has_labels:
        usable = ", ".join(known for known, format in FORMATS.items() if format.has_labels)
        problem = f"a {suffix} file has no labels, and they are needed"
        raise DataError(f"{name}: {problem}", hint=f"Use one of {usable}")
    return name, FORMATS[suffix], _read(path, FORMATS[suffix], name)


def without_surrogates(text: str) -> str:
    """Replace each lone surrogate, which neither UTF-8 nor a tokenizer can encode, by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def quoted(name: str) -> str:
    """A name from a file as a message shows it: printable, on one line, and not too long."""
    short = name if len(name) <= _LONGEST_QUOTE else name[: _LONGEST_QUOTE - 1] + "…"
    return json.dumps(without_surrogates(short), ensure_ascii=False)


def _read(path: Path | None, format: Format, name: str) -> Rows:
    try:
        with _open(path) as stream:
            yield from format.read(stream, name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{name}: not a gzip file, or a damaged one ({error})") from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name}: can't be read ({error.strerror or error})")


def _open(path: Path | None) -> Any:
    if path is None:
        return nullcontext(sys.stdin.buffer)
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _similar_file(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"There is no directory {path.parent} either"
    names = sorted(entry.name for entry in path.parent.iterdir())
    close = get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else None


def _lines(stream: Iterable[bytes]) -> Iterator[tuple[int, str | BadRowError]]:
    # Files opened as bytes are split at \n alone; as text, at \r too.
    for number, raw in enumerate(stream, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield number, _bad_utf8(raw[error.start], f" at byte {error.start + 1}")
        else:
            yield number, line.removesuffix("\n").removesuffix("\r")


def _bad_utf8(byte: int, where: str = "") -> BadRowError:
    return BadRowError(f"not valid UTF-8 (0x{byte:02x}{where})", advice=_SAVE_AS_UTF8)


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


def _read_txt(stream: IO[bytes], name: str) -> Rows:
    for number, line in _lines(stream):
        yield number, line if isinstance(line, BadRowError) else {"text": line}


def _read_jsonl(stream: Iterable[bytes], name: str, advice: str | None = None) -> Rows:
    for number, line in _lines(stream):
        if isinstance(line, BadRowError):
            yield number, line
        elif line.strip(" \t\r"):
            try:
                row = _JSON.decode(line)
            except (ValueError, RecursionError) as error:
                row = _bad_json(error, advice)
            yield number, row


def _read_json(stream: IO[bytes], name: str) -> Rows:
    data = stream.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield data.count(b"\n", 0, error.start) + 1, _bad_utf8(data[error.start])
        return
    if text[_end_of_space(text, 0) :].startswith("[") and not _starts_with_pair(text):
        yield from _read_json_list(text)
    else:
        # Many tools write one record a line and call the file .json.
        yield from _read_jsonl(io.BytesIO(data), name, _JSON_SHAPES)


def _starts_with_pair(text: str) -> bool:
    first_line = text.lstrip(" \t\r\n").partition("\n")[0]
    return re.fullmatch(r'\[\s*"([^"\\]|\\.)*"\s*,\s*\{.*\}\s*\]\s*', first_line) is not None


def _read_json_list(text: str) -> Rows:
    # Element by element, because json.loads on the whole doesn't tell where each one starts.
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


def _read_csv(stream: IO[bytes], name: str) -> Rows:
    yield from _read_table(stream, name, ",")


def _read_tsv(stream: IO[bytes], name: str) -> Rows:
    yield from _read_table(stream, name, "\t")


def _read_table(stream: Iterable[bytes], name: str, delimiter: str) -> Rows:
    # The limit belongs to the csv module as a whole: it can be raised, but not for one reader.
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    # Bytes that aren't UTF-8 become surrogates, which valid UTF-8 never gives: found per row.
    lines = (
        raw.decode("utf-8-sig" if number == 0 else "utf-8", errors="surrogateescape")
        for number, raw in enumerate(stream)
    )
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        place = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, _bad_csv(error)
            continue
        if not cells:
            continue
        undecoded = _SURROGATE.search("".join(cells))
        if undecoded:
            yield place, _bad_utf8(ord(undecoded.group()) - 0xDC00)
            if header is None:
                return
        elif header is None:
            header = [cell.strip() for cell in cells]
            if "text" not in header:
                raise DataError(
                    f'{name}, line {place}: no column "text" in the header '
                    f"(it has: {', '.join(map(quoted, header))})",
                    hint=f'The first line names the columns, for example "text{delimiter}label"',
                )
        elif len(cells) > len(header):
            problem = f"{len(cells)} fields, but the header names {len(header)} columns"
            yield place, BadRowError(problem, advice=_CSV_QUOTES)
        else:
            yield place, _with_label_list(dict(zip(header, cells, strict=False)))


def _bad_csv(error: csv.Error) -> BadRowError:
    if "unexpected end" in str(error):
        return BadRowError("the quoted field that starts here never ends", advice=_CSV_QUOTES)
    return BadRowError(f"not valid CSV ({str(error).partition(' - ')[0]})", advice=_CSV_QUOTES)


def _with_label_list(row: dict[str, Any]) -> dict[str, Any]:
    """Bring the labels of a table's row into the form that they have in JSON."""
    for key in LABEL_KEYS:
        if key in row and row[key] is None:
            del row[key]
    if isinstance(row.get("label"), str):
        row["label"] = row["label"].strip()
        if not row["label"]:
            del row["label"]
    if isinstance(row.get("labels"), str):
        parts = row["labels"].split("|") if row["labels"].strip() else []
        row["labels"] = [part.strip() for part in parts]
    return row


def _read_parquet(stream: IO[bytes], name: str) -> Rows:
    try:
        import pyarrow.parquet
    except ImportError as error:
        hint = 'pip install "trfcli[parquet]"'
        raise DataError(f"{name}: reading Parquet needs pyarrow", hint=hint) from error
    try:
        batches = pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=1024)
        rows = (row for batch in batches for row in batch.to_pylist())
        for place, row in enumerate(rows, start=1):
            match row.get("cats"):
                case dict() as cats:
                    # A struct column gives every row every key, with null where there was none.
                    row["cats"] = {key: value for key, value in cats.items() if value is not None}
                case [tuple(), *_] | [] as pairs:
                    row["cats"] = dict(pairs)
            yield place, _with_label_list(row)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not a Parquet file, or a damaged one") from error


def _read_spacy(stream: IO[bytes], name: str) -> Rows:
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    data = stream.read()
    try:
        docs = list(DocBin().from_bytes(data).get_docs(Vocab()))
    except Exception as error:  # damage shows in zlib, msgpack or spaCy, each with its own errors
        raise DataError(f"{name}: not a DocBin of spaCy 3, or a damaged one") from error
    for place, doc in enumerate(docs, start=1):
        # A Doc that nobody labelled has empty cats.
        yield place, {"text": doc.text, "cats": dict(doc.cats)} if doc.cats else {"text": doc.text}


FORMATS = {
    ".jsonl": Format(_read_jsonl),
    ".json": Format(_read_json),
    ".csv": Format(_read_csv),
    ".tsv": Format(_read_tsv),
    ".parquet": Format(_read_parquet, place="row"),
    ".spacy": Format(_read_spacy, place="doc"),
    ".txt": Format(_read_txt, has_labels=False),
}
