"""Predictions as cells of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.formats.writing import Kind

_SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class TableForm:
    """How the row of a `Predictor` becomes cells of a table.

    `cats` and `labels` become these columns:

    - `label`: the predicted label, if every text has exactly one; otherwise
    - `labels`: the predicted labels, by descending score, separated by "|". If the name of any
      label has this character, all cells of the column are JSON lists.
    - `score`: the score of the (first) predicted label; empty if there is none.
    - `score_LABEL`: the score of each label, if asked for.

    Then follow `unsure`, `label_set` (in the form of `labels`) and `novelty`, if the row has them.

    Args:
        labels: All labels of the pipeline.
        exclusive: Whether every text has exactly one label.
        scores: Whether to write the score of each label.
    """

    labels: Sequence[str]
    exclusive: bool
    scores: bool

    def __call__(self, predicted: Mapping[str, Any]) -> dict[str, Any]:
        """Return the cells of a row, which may still be lists and objects."""
        others = dict(predicted)
        if "cats" not in others:
            return others
        cats, labels = others.pop("cats"), others.pop("labels")
        cells: dict[str, Any] = {}
        if self.exclusive:
            cells["label"] = labels[0] if labels else None
        else:
            cells["labels"] = self._join(labels)
        cells["score"] = cats[labels[0]] if labels else None
        if self.scores:
            cells |= {f"score_{label}": score for label, score in cats.items()}
        if "label_set" in others:
            others["label_set"] = self._join(others["label_set"])
        return {**cells, **others}

    def kind(self, column: str) -> Kind:
        """What a column has."""
        if column == "unsure":
            return "boolean"
        is_number = column in ("score", "novelty") or column.startswith("score_")
        return "number" if is_number else "text"

    def _join(self, labels: Sequence[str]) -> str:
        # The same for all cells, and such that a reader gets every label back.
        is_plain = all(
            _SEPARATOR not in label and not label.startswith("[") and label == label.strip()
            for label in self.labels
        )
        return _SEPARATOR.join(labels) if is_plain else to_json(list(labels))
