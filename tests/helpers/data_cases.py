"""Files of labeled texts as people have them."""

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from data_files import as_table, jsonl

from trfcli_pipeline.data.dataset import ReadingOptions

TEXTS = [
    "Go until jurong point, crazy.. Available only here",
    "Ok lar... Joking wif u oni...",
    "Free entry in 2 a wkly comp to win; text FA to 87121",
    "U dun say so early hor... U c already then say...",
    "FreeMsg Hey there darling it's been 3 week's now",
    "Even my brother is not like to speak with me",
]
LABELS = ["HAM", "HAM", "SPAM", "HAM", "SPAM", "HAM"]
BITS = ["0", "0", "1", "0", "1", "0"]
SETS = [["threat"], [], ["toxic", "threat"], ["insult"], ["toxic"], ["insult", "toxic"]]
# What records look like to the tests: text and labels.
Records = list[tuple[str, list[str]]]
SPAM: Records = [(text, [label]) for text, label in zip(TEXTS, LABELS, strict=True)]
NUMBERED: Records = [(text, [bit]) for text, bit in zip(TEXTS, BITS, strict=True)]
SEVERAL: Records = [(text, sorted(found)) for text, found in zip(TEXTS, SETS, strict=True)]


class Case(NamedTuple):
    """A file, and what is read from it.

    Attributes:
        name: Its name.
        content: Its bytes, or a function that writes it.
        expected: Its records; or the error, whose `{}` is the name of the file.
        remark: Part of a remark about it; None if there is no remark.
        options: What the error says to type.
        then: Its records with these options.
    """

    name: str
    content: bytes | Callable[[Path], object]
    expected: Records | str
    remark: str | None = None
    options: ReadingOptions | None = None
    then: Records | None = None


def rows(**columns: Iterable[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def table(header: Iterable[str] | None, *columns: Iterable[str], delimiter: str = ",") -> bytes:
    body = list(zip(*columns, strict=True))
    return as_table([tuple(header), *body] if header else body, delimiter)


def dumped(value: Any, **options: Any) -> bytes:
    return json.dumps(value, **options).encode()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def parquet(metadata: dict[str, Any] | None = None, **columns: Iterable[Any]) -> bytes:
    found = pa.table({name: list(values) for name, values in columns.items()})
    if metadata:
        found = found.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    stream = io.BytesIO()
    pq.write_table(found, stream)
    return stream.getvalue()


def arrow(**columns: Iterable[Any]) -> bytes:
    found = pa.table({name: list(values) for name, values in columns.items()})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, found.schema) as writer:
        writer.write_table(found)
    return stream.getvalue()


def class_directories(path: Path) -> None:
    for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True)):
        (path / label).mkdir(parents=True, exist_ok=True)
        (path / label / f"{number}.txt").write_text(text)


def nested_directories(path: Path) -> None:
    """The same in a directory of its own, with notes, and with files that no one sees."""
    class_directories(path / "data")
    (path / "README.txt").write_text("From the web.")
    (path / "data" / "HAM" / ".DS_Store").write_bytes(bytes(7))
    inner = path / "data" / "HAM" / "more"
    inner.mkdir()
    (path / "data" / "HAM" / "5.txt").rename(inner / "5.txt")


PLAIN = table(("text", "label"), TEXTS, LABELS)
LINES = jsonl(*rows(text=TEXTS, label=LABELS))
CLASSES = {"info": {"features": {"label": {"names": ["HAM", "SPAM"], "_type": "ClassLabel"}}}}
BY_CLASS = sorted(SPAM, key=lambda record: record[1])
UNQUOTED = [f'" {text}' if number == 1 else text for number, text in enumerate(TEXTS)]
UNQUOTED[3] += '"'
TSV = "".join(f"{text}\t{label}\n" for text, label in zip(UNQUOTED, LABELS, strict=True))
WRAPPED = [(f"line one {number}\nline two", [label]) for number, label in enumerate("ABAB")]
JSONS = [json.dumps(each) for each in SETS]
