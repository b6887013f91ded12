"""The page of `trf check`: a person goes through the doubtful texts and saves the corrections."""

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from trfcli_pipeline.curation.copies import Copy
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.evaluation.pages import page_environment, render_page
from trfcli_pipeline.tasks.check_files import COMMAND, render_corrections
from trfcli_pipeline.tasks.check_result import CheckResult

_SHOWN_TEXTS = 2000
_SHOWN_ROWS = 200
_SHOWN_CHARACTERS = 600
_KINDS = {"same": "same text", "alike": "same words"}


def render_check(result: CheckResult, *, data: str, model: str) -> str:
    """Render the result of a check as a self-contained HTML page.

    Args:
        data: Name of the data file.
        model: Name of the encoder or pipeline.
    """
    # The page looks like the report of trf evaluate.
    environment = page_environment("trfcli_pipeline.tasks")
    environment.globals["plural"] = plural
    rows = [json.loads(line) for line in render_corrections(result).splitlines()]
    facts = {"rows": rows, "labels": list(result.labels), "exclusive": result.exclusive}
    return render_page(
        environment,
        "check.html",
        command=COMMAND,
        styles=["report.css", "check.css"],
        script="check.js",
        styled_attributes=True,
        data=data,
        model=model,
        result=result,
        doubtful=[_card(row, result.exclusive) for row in rows[:_SHOWN_TEXTS]],
        n_doubtful=len(rows),
        kinds_of_copies=result.kinds_of_copies.capitalize(),
        disagreements=_copies(result.disagreements, result.records, result.records),
        leaks=_copies(result.leaks, result.records, result.others),
        outliers=[
            {"record": result.records[index], "labels": _join(result.records[index].labels)}
            for index, _ in result.outliers[:_SHOWN_ROWS]
        ],
        shorten=_shorten,
        # Nothing in a text may end the element that the facts are in.
        facts=Markup(to_json(facts).replace("<", "\\u003c")),
    )


def _card(row: dict[str, Any], exclusive: bool) -> dict[str, Any]:
    """What the page shows of a correction."""
    given, suggested = row["given"], row["suggested"]
    return {
        **row,
        "given": given if exclusive else _join(given),
        "suggested": suggested if exclusive else _join(suggested),
        "place": f"line {row['line']}" if "line" in row else "",
    }


def _copies(
    pairs: Sequence[Copy], records: Sequence[Record], others: Sequence[Record]
) -> list[dict[str, Any]]:
    return [
        {
            "record": records[pair.index],
            "other": others[pair.other],
            "labels": _join(records[pair.index].labels),
            "other_labels": _join(others[pair.other].labels),
            "likeness": _KINDS.get(pair.kind, f"cosine {pair.similarity:.2f}"),
        }
        for pair in pairs[:_SHOWN_ROWS]
    ]


def _join(labels: Any) -> str:
    return " + ".join(sorted(labels)) or "none"


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
