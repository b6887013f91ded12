"""Check that what a component computed are numbers, and name the text if not."""

from collections.abc import Sequence

import numpy as np
from spacy.tokens import Doc
from thinc.api import get_array_module
from thinc.types import Floats2d

from trfcli_pipeline.data.formats.rows import quoted
from trfcli_pipeline.errors import NonFiniteError


def check_finite(
    name: str,
    what: str,
    rows: Floats2d,
    docs: Sequence[Doc],
    counts: Sequence[int] | None = None,
) -> None:
    """Check that rows have no NaN and no infinite number.

    Args:
        name: The component that computed them.
        what: What they are.
        rows: The rows. *Shape:* (rows, width)
        docs: The Docs.
        counts: Number of consecutive rows of each Doc; None for one row each.

    Raises:
        NonFiniteError: They have one. The message names the first text with such a row.
    """
    finite = get_array_module(rows).isfinite(rows)
    if finite.all():
        return
    index = int((~finite.all(axis=1)).argmax())
    if counts is not None:
        index = int(np.searchsorted(np.cumsum(counts), index, side="right"))
    raise NonFiniteError(
        f"{name}: the {what} for the text {quoted(docs[index].text)} are NaN or infinite",
        hint="The model's weights are damaged, or too large for its precision: load or train it "
        "again",
    )
