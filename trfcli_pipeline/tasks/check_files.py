"""The files and the JSON of `trf check`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.corrections import Corrections
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.outputs.files import Edits, FileKind
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation.pages import is_page
from trfcli_pipeline.tasks.check_result import CheckResult

if TYPE_CHECKING:
    from trfcli_pipeline.curation.copies import Copy
    from trfcli_pipeline.curation.doubtful_texts import DoubtfulText

COMMAND = "trf check"
_KEYS = {"text", "given", "suggested", "reason"}
_LONGEST_LINE = 2**24


def _is_corrections(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            row = json.loads(file.readline(_LONGEST_LINE))
        except ValueError:
            return False
    return isinstance(row, dict) and row.keys() >= _KEYS


def _has_corrections(path: Path) -> bool:
    try:
        return any(each.is_change for each in Corrections.read(path).entries.values())
    # Somebody has edited a line that can't be read.
    except DataError:
        return True


def _is_page(path: Path) -> bool:
    return is_page(path, COMMAND)


CORRECTIONS = FileKind(
    "corrections of trf check",
    _is_corrections,
    Edits(
        "corrections",
        _has_corrections,
        "Choose another file, or apply them: trf train MODEL DATA --corrections FILE",
    ),
)
PAGE = FileKind("a page of trf check", _is_page)


def correction(result: CheckResult, each: "DoubtfulText") -> dict[str, Any]:
    """The line of the corrections file for a text: a person changes "label" or "labels"."""
    record = result.records[each.index]
    given, suggested = list(each.given), list(each.suggested)
    is_single = result.exclusive
    row: dict[str, Any] = {
        "text": record.text,
        "label" if is_single else "labels": given[0] if is_single else given,
        "given": given[0] if is_single else given,
        "suggested": suggested[0] if is_single else suggested,
        "reason": each.reason,
        "doubt": round(each.doubt, 3),
        "nearest": None,
        "file": record.file,
        record.unit or "line": record.line,
    }
    if each.nearest is not None:
        other = result.records[each.nearest]
        row["nearest"] = {"text": other.text, "place": other.place, "cosine": each.similarity}
    return row


def render_corrections(result: CheckResult) -> str:
    """The corrections file: a line for each doubtful text, and one only for copies that agree."""
    rows: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
    for each in result.doubtful:
        row = correction(result, each)
        rows.setdefault((row["text"], each.given), row)
    return "".join(f"{to_json(row)}\n" for row in rows.values())


def as_json(result: CheckResult) -> dict[str, Any]:
    """What was found, as values that JSON can hold."""
    records, others = result.records, result.others

    def copies(pairs: "Sequence[Copy]", among: Sequence[Record]) -> list[dict[str, Any]]:
        return [
            {
                "text": records[pair.index].text,
                "place": records[pair.index].place,
                "copy": among[pair.other].text,
                "copy_place": among[pair.other].place,
                "kind": pair.kind,
                "cosine": pair.similarity,
            }
            for pair in pairs
        ]

    return {
        "texts": len(records),
        "labels": list(result.labels),
        "exclusive": result.exclusive,
        "unchecked": list(result.unchecked),
        "label_errors": {"number": result.n_errors, "interval": list(result.interval)}
        if result.is_checked
        else None,
        "doubtful": [correction(result, each) for each in result.doubtful],
        "disagreements": copies(result.disagreements, records),
        "confusions": [
            {"given": given, "probably": true, "texts": texts, "interval": list(interval)}
            for (given, true), texts, interval in result.confusions
        ],
        "outliers": [
            {"text": records[index].text, "place": records[index].place, "distance": distance}
            for index, distance in result.outliers
        ],
        "leaks": copies(result.leaks, others),
        "remarks": list(result.remarks),
        "warnings": list(result.warnings),
    }
