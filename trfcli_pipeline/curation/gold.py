"""The given labels of texts, as an array."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.data.labels import complete_cats, is_exclusive, label_names
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.evaluation.eval_prediction import FloatArray, read_gold


@dataclass(frozen=True, eq=False)
class Gold:
    """The given labels of texts.

    Attributes:
        labels: All labels, in column order.
        values: 1.0 where a label applies, 0.0 where it doesn't, NaN where that is unknown; or
            probabilities. *Shape:* (texts, labels)
        exclusive: Whether exactly one label applies to each text.
    """

    labels: tuple[str, ...]
    values: FloatArray
    exclusive: bool

    @classmethod
    def from_records(
        cls,
        records: Sequence[Record],
        *,
        labels: Sequence[str] | None = None,
        exclusive: bool | None = None,
    ) -> Self:
        """Read the labels of records; see `EvalPrediction.from_cats` for what applies.

        Args:
            labels: The labels; by default, all that the records mention.
            exclusive: By default, whether each record has exactly one label.

        Raises:
            DataError: There are no labels, or several exclusive ones for a text.
        """
        names = label_names(records) if labels is None else labels
        exclusive = is_exclusive(records) if exclusive is None else exclusive
        cats = [complete_cats(record, names, exclusive) for record in records]
        return cls(tuple(names), read_gold(cats, names, exclusive=exclusive), exclusive)

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def classes(self) -> NDArray[np.int_]:
        """The column of the label of each text, if labels are exclusive. *Shape:* (texts,)"""
        return np.nan_to_num(self.values).argmax(axis=1)

    @cached_property
    def counts(self) -> FloatArray:
        """Number of texts that each label applies to. *Shape:* (labels,)"""
        counts: FloatArray = np.nansum(self.values, axis=0)
        return counts

    def take(self, indices: NDArray[np.int_]) -> "Gold":
        """The labels of some of the texts."""
        return replace(self, values=self.values[indices])
