"""What is known of the texts to annotate before the work: how many, how long, which columns."""

from collections.abc import Sequence

from trfcli_pipeline.data.formats.writing import Kind, Writer, common_kind, kind_of
from trfcli_pipeline.data.records import BadRecord, Record
from trfcli_pipeline.tasks.annotation_batches import Records
from trfcli_pipeline.tasks.earlier_predictions import EarlierPredictions


class Survey:
    """Looks at records before they are annotated.

    Attributes:
        header: The columns of a table, some of which may have no cells. None if the input has no
            header.
        total: Number of records, including bad ones.
        longest: The one with the longest text.
        refused: The first one that the output can't hold.
    """

    def __init__(self, writer: Writer) -> None:
        self.header: Sequence[str] | None = None
        self.total = 0
        self.longest: Record | None = None
        self.refused: Record | None = None
        self._refuses = writer.refusal
        self._kinds: dict[str, Kind | None] = {}
        self._earlier = EarlierPredictions()

    def add(self, record: Record | BadRecord) -> None:
        self.total += 1
        if isinstance(record, BadRecord):
            return
        if self.longest is None or len(record.text) > len(self.longest.text):
            self.longest = record
        if self.refused is None and self._refuses(record.row):
            self.refused = record
        for column, value in record.row.items():
            known = self._kinds.get(column)
            if known != "text":
                self._kinds[column] = common_kind(known, kind_of(value))
        self._earlier.add(record.row)

    def add_all(self, records: Records) -> None:
        for record in records:
            self.add(record)

    def columns(self) -> dict[str, Kind]:
        """Return the columns in order, and what they have: those of all records."""
        columns = dict.fromkeys([*(self.header or ()), *self._kinds])
        return {column: self._kinds.get(column) or "text" for column in columns}

    def replaced(self) -> list[str]:
        """Return the columns that an earlier run has written."""
        return self._earlier.found(list(self.columns()))
