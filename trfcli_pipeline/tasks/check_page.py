"""The page of `trf check`: a person goes through the doubtful texts and saves the corrections."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from trfcli_pipeline.curation.copies import Copy
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.tasks.check_files import GENERATOR, render_corrections
from trfcli_pipeline.tasks.check_result import CheckResult

_SHOWN_TEXTS = 2000
_SHOWN_ROWS = 200
_SHOWN_CHARACTERS = 600
_KINDS = {"same": "same text", "alike": "same words"}


def render_page(result: CheckResult, *, data: str, model: str) -> str:
    """Render the result of a check as a self-contained HTML page.

    Args:
        data: Name of the data file.
        model: Name of the encoder or pipeline.
    """
    environment = jinja2.Environment(
        # The page looks like the report of trf evaluate.
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("trfcli_pipeline.tasks"),
                jinja2.PackageLoader("trfcli_pipeline.evaluation"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["plural"] = plural
    # Our own styles and script must not be escaped.
    style, own_style, script = (
        Markup(environment.get_template(name).render())
        for name in ("report.css", "check.css", "check.js")
    )
    rows = [json.loads(line) for line in render_corrections(result).splitlines()]
    facts = {"rows": rows, "labels": list(result.labels), "exclusive": result.exclusive}
    page = environment.get_template("check.html").render(
        generator=Markup(GENERATOR),
        data=data,
        model=model,
        result=result,
        doubtful=[_card(row, result.exclusive) for row in rows[:_SHOWN_TEXTS]],
        n_doubtful=len(rows),
        disagreements=_copies(result.disagreements, result.records, result.records),
        leaks=_copies(result.leaks, result.records, result.others),
        outliers=[
            {"record": result.records[index], "labels": _join(result.records[index].labels)}
            for index, _ in result.outliers[:_SHOWN_ROWS]
        ],
        shorten=_shorten,
        # Nothing in a text may end the element that the facts are in.
        facts=Markup(to_json(facts).replace("<", "\\u003c")),
        style=style + own_style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    # The name of a file may contain bytes that aren't UTF-8.
    return page.encode("utf8", errors="replace").decode("utf8")


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
