"""What `trf check` found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import plural

if TYPE_CHECKING:
    from trfcli_pipeline.curation.confusions import Confusion
    from trfcli_pipeline.curation.copies import Copy
    from trfcli_pipeline.curation.doubtful_texts import DoubtfulText


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """What was found in labeled texts. Texts are indices of `records`.

    Attributes:
        records: The texts, in order.
        others: The texts of the file to look for copies in.
        labels: All labels.
        unchecked: Labels that too few texts have to be checked.
        exclusive: Whether each text has exactly one label.
        n_errors: Expected number of texts with wrong labels.
        interval: A 95 % interval of that number.
        doubtful: The texts to look at, the most doubtful first.
        disagreements: Copies with different labels.
        confusions: Pairs of labels that are confused.
        outliers: Texts unlike all others, the least similar first, and their mean cosine
            distance to their neighbors.
        leaks: Copies among `others`.
        remarks: Other problems, as sentences.
        warnings: Why the result may be misleading, as sentences.
    """

    records: Sequence[Record]
    others: Sequence[Record]
    labels: Sequence[str]
    unchecked: Sequence[str]
    exclusive: bool
    n_errors: float
    interval: tuple[float, float]
    doubtful: "Sequence[DoubtfulText]"
    disagreements: "Sequence[Copy]"
    confusions: "Sequence[Confusion]"
    outliers: Sequence[tuple[int, float]]
    leaks: "Sequence[Copy]"
    remarks: Sequence[str]
    warnings: Sequence[str]

    @property
    def is_clean(self) -> bool:
        """Whether labels were checked, and none of them may be wrong."""
        return self.is_checked and not self.doubtful and not self.disagreements

    @property
    def is_checked(self) -> bool:
        """Whether any label could be checked."""
        return len(self.unchecked) < len(self.labels)

    @property
    def disagreeing_pairs(self) -> str:
        """The number of copies with different labels, as a phrase."""
        number = plural(len(self.disagreements), "pair")
        return f"{number} of {self.kinds_of_copies} with different labels"

    @property
    def kinds_of_copies(self) -> str:
        """What the texts of `disagreements` are: copies, near-copies, or both."""
        names = {"near-copies" if pair.kind == "near" else "copies" for pair in self.disagreements}
        return " and ".join(sorted(names)) or "copies"

    @property
    def without_doubtful(self) -> str:
        """What to say if no text is doubtful, as a sentence without a full stop."""
        if self.disagreements:
            return (
                f"No label is clearly wrong, but see the {self.kinds_of_copies} with other labels"
            )
        if not self.is_checked:
            return "No label could be checked"
        return f"No {'other ' if self.unchecked else ''}label looks wrong"
