"""Explained predictions as one self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path

from trfcli_pipeline.evaluation.explanation import Explanation, signed
from trfcli_pipeline.evaluation.pages import is_page, page_environment, render_page

_COMMAND = "trf explain"


def is_explanation_page(path: Path) -> bool:
    """Whether a file is a page that `render_explanations` has rendered."""
    return is_page(path, _COMMAND)


def render_explanations(explanations: Sequence[Explanation], *, model: str) -> str:
    """Render explained predictions as an HTML page.

    Args:
        explanations: In the order of the page.
        model: Name or directory of the pipeline, as the user gave it.
    """
    environment = page_environment()
    environment.filters["signed"] = signed
    return render_page(
        environment,
        "explanations.html",
        command=_COMMAND,
        styles=["explanations.css"],
        explanations=explanations,
        model=model,
    )
