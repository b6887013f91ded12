"""Files of texts to label, for the annotation tools that people label in.

`trf train` reads what comes back from each of them; see `data/reading/exports.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.formats.csv_writer import CsvWriter
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.formats.jsonl_writer import JsonlWriter
from trfcli_pipeline.data.formats.rows import LABEL_KEYS
from trfcli_pipeline.data.outputs.files import Edits, FileKind
from trfcli_pipeline.data.reading import Reading
from trfcli_pipeline.errors import ArgumentError, TrfError

if TYPE_CHECKING:
    from trfcli_pipeline.curation.suggestions import Suggestion

Row = dict[str, Any]

# Keys that a tool or a reader would take for something else than a column of the user's.
_RESERVED = {
    *LABEL_KEYS,
    "reason",
    "accept",
    "answer",
    "html",
    "image",
    "meta",
    "options",
    "spans",
    "tokens",
}


def choose_format(output: Path | None, format: str | None) -> str:
    """Choose the format of a file of suggestions, by its suffix unless one is given.

    Raises:
        ArgumentError: There is no such format, or the suffix doesn't tell which one it is.
    """
    known = ", ".join(FORMATS)
    if format is not None:
        if format not in FORMATS:
            raise ArgumentError(f"--format: {format!r} isn't one of {known}")
        return format
    suffix = "" if output is None else output.suffix.lower()
    if output is not None and suffix not in _SUFFIXES:
        raise ArgumentError(
            f"{output}: the suffix doesn't say for which tool the file is",
            hint=f"Use {', '.join(_SUFFIXES)}, or give --format: {known}",
        )
    return _SUFFIXES.get(suffix, "doccano")


def render(suggestions: "Sequence[Suggestion]", format: str) -> str:
    """The content of a file of suggestions.

    All columns of the pool are kept. One whose name has a meaning for the tool, such as "label",
    is called "original_label"; it is left out if it is empty. `reason` says why to label a text.

    Args:
        suggestions: The suggestions.
        format: A key of `FORMATS`.
    """
    return FORMATS[format](suggestions)


def _doccano(suggestions: "Sequence[Suggestion]") -> str:
    """https://doccano.github.io/doccano: JSONL for text classification."""
    rows = [{**_columns(each), "label": [], "reason": each.reason} for each in suggestions]
    return JsonlWriter().add(rows).decode()


def _prodigy(suggestions: "Sequence[Suggestion]") -> str:
    """https://prodi.gy/docs/api-loaders: JSONL; `meta` is shown below each text."""
    rows = [{**_columns(each), "meta": {"reason": each.reason}} for each in suggestions]
    return JsonlWriter().add(rows).decode()


def _label_studio(suggestions: "Sequence[Suggestion]") -> str:
    """https://labelstud.io/guide/tasks: a list of tasks in the basic JSON format."""
    tasks = [
        {"data": {**_columns(each), "reason": each.reason}, "annotations": []}
        for each in suggestions
    ]
    return to_json(tasks, indent=2).encode(errors="backslashreplace").decode() + "\n"


def _csv(suggestions: "Sequence[Suggestion]", delimiter: str = ",") -> str:
    rows = [{**_columns(each), "label": "", "reason": each.reason} for each in suggestions]
    writer = CsvWriter(delimiter)
    columns = dict.fromkeys(key for row in rows for key in row)
    return (writer.start(dict.fromkeys(columns, "text")) + writer.add(rows)).decode()


def _tsv(suggestions: "Sequence[Suggestion]") -> str:
    return _csv(suggestions, "\t")


FORMATS: "Mapping[str, Callable[[Sequence[Suggestion]], str]]" = {
    "doccano": _doccano,
    "label-studio": _label_studio,
    "prodigy": _prodigy,
    "csv": _csv,
    "tsv": _tsv,
}
_SUFFIXES = {".jsonl": "doccano", ".json": "label-studio", ".csv": "csv", ".tsv": "tsv"}


def _columns(suggestion: "Suggestion") -> Row:
    """The text, and the columns of its row under names that mean nothing else."""
    text, row = suggestion.record.text, suggestion.record.row
    columns: Row = {"text": text}
    for key, value in row.items():
        if key in _RESERVED:
            if value not in (None, "", [], {}):
                columns[_free_name(f"original_{key}", row)] = value
        elif key != "text":
            columns[key] = value
        elif value != text:
            columns[_free_name("original_text", row)] = value
    return columns


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    if name not in taken:
        return name
    return next(each for n in count(2) if (each := f"{name}_{n}") not in taken)


def _are_suggestions(path: Path) -> bool:
    try:
        return all(_has_reason(row) for row in _rows(path))
    except TrfError:
        return False


def _has_reason(row: Row) -> bool:
    meta = row.get("meta")
    return "reason" in (meta if isinstance(meta, dict) else row)


def _have_labels(path: Path) -> bool:
    return any("answer" in row or any(map(row.get, LABEL_KEYS)) for row in _rows(path))


def _rows(path: Path) -> Iterator[Row]:
    return (each.row for each in Reading(path, labeled=False, silent=True))


SUGGESTIONS = FileKind("a file of trf suggest", _are_suggestions, Edits("labels", _have_labels))
