"""What `trf check` found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trfcli_pipeline.data.records import Record

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
