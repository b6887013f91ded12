"""Explained predictions as one self-contained HTML page."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from trfcli_pipeline.evaluation.explanation import Explanation, signed

_GENERATOR = '<meta name="generator" content="trf explain">'
# Of a page: more than what comes before the generator.
_HEAD_BYTES = 1000


def is_explanation_page(path: Path) -> bool:
    """Whether a file is a page that `render_explanations` has rendered."""
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(_HEAD_BYTES)


def render_explanations(explanations: Sequence[Explanation], *, model: str) -> str:
    """Render explained predictions as an HTML page.

    Args:
        explanations: In the order of the page.
        model: Name or directory of the pipeline, as the user gave it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trfcli_pipeline.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = signed
    # Our own styles must not be escaped.
    style = Markup(environment.get_template("explanations.css").render())
    page = environment.get_template("explanations.html").render(
        generator=Markup(_GENERATOR),
        explanations=explanations,
        model=model,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(f"\n{style}\n".encode()).digest()).decode(),
    )
    # The name of a directory may contain bytes that aren't UTF-8.
    return page.encode("utf8", errors="replace").decode("utf8")
