"""The columns of an annotated file: those of the input, then the predictions."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

from trfcli_pipeline.data.formats.rows import LABEL_KEYS
from trfcli_pipeline.data.formats.writing import Kind

# What a prediction is called whose own name is taken.
SUFFIX = "_predicted"


@dataclass(frozen=True, slots=True)
class OutputColumns:
    """The columns of an output, in order.

    Columns of the input keep their names. A prediction whose name is taken gets the suffix
    "_predicted". So do `label`, `labels` and `cats` if the input has any of them, because readers
    then couldn't tell which are the text's labels.

    Attributes:
        kinds: What each column of a table has.
        names: The name that each prediction has in the output.
        replaced: Columns of the input that are left out, because an earlier run has written them.
    """

    kinds: Mapping[str, Kind]
    names: Mapping[str, str]
    replaced: Collection[str]

    @classmethod
    def choose(
        cls,
        own: Mapping[str, Kind],
        replaced: Collection[str],
        predicted: Mapping[str, Kind],
    ) -> Self:
        """Choose the columns before the first row.

        Args:
            own: The columns of the input, and what they have.
            replaced: Those of them that an earlier run has written.
            predicted: The predictions in order, and what they have.
        """
        kept = {column: kind for column, kind in own.items() if column not in replaced}
        names = _free_names(predicted, kept.keys())
        kinds = {**kept, **{names[key]: kind for key, kind in predicted.items()}}
        return cls(kinds, names, list(replaced))

    @property
    def renamed(self) -> dict[str, str]:
        """The new name of each prediction whose own one is taken."""
        return {key: name for key, name in self.names.items() if key != name}

    def join(self, own: Mapping[str, Any], predicted: Mapping[str, Any]) -> dict[str, Any]:
        """Join a row of the input with its predictions."""
        taken = {self.names.get(key, key) for key in predicted}
        # Only a row that comes after the columns were chosen has a name that is taken.
        kept = {
            f"input_{key}" if key in taken else key: value
            for key, value in own.items()
            if key not in self.replaced
        }
        return {**kept, **{self.names.get(key, key): value for key, value in predicted.items()}}


def _free_names(wanted: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    has_labels = not set(LABEL_KEYS).isdisjoint(taken)
    names: dict[str, str] = {}
    for key in wanted:
        name, number = key, count(2)
        if key in taken or (has_labels and key in LABEL_KEYS):
            name = f"{key}{SUFFIX}"
        while name in taken:
            name = f"{key}{SUFFIX}_{next(number)}"
        names[key] = name
    return names
