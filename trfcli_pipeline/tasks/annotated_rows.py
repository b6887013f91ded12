"""Join the records of a file with their predictions, and write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from trfcli_pipeline.data.formats.docbin import AnnotatedDocs
from trfcli_pipeline.data.formats.writing import Writer
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.tasks.annotation_survey import Survey
from trfcli_pipeline.tasks.output_columns import OutputColumns
from trfcli_pipeline.tasks.table_predictions import TableForm


class AnnotatedRows:
    """Writes the rows of the input with their predictions.

    Args:
        writer: The writer of the output.
        survey: What is known of the input.
        surveyed: Whether that is all of the input. If not, the first batch decides what columns
            there are, and their values are written to a table as text.
        form: The form of predictions in a table.

    Attributes:
        columns: The columns of the output, which are chosen for the first batch.
    """

    def __init__(self, writer: Writer, survey: Survey, *, surveyed: bool, form: TableForm) -> None:
        self.columns: OutputColumns | None = None
        self._writer = writer
        self._survey = survey
        self._surveyed = surveyed
        self._form = form

    def restore(self, columns: OutputColumns | None) -> None:
        """Continue with the columns of an interrupted run."""
        self.columns = columns
        if columns is not None:
            # The file has this header already.
            self._writer.start(columns.kinds)

    def write(self, batch: Sequence[Record], content: list[dict[str, Any]] | bytes) -> bytes:
        """Return the bytes of a batch.

        Args:
            batch: The records that were annotated.
            content: Their predictions; see `Predicted`.
        """
        if isinstance(content, bytes):
            return self._writer.add(AnnotatedDocs(content, [_user_data(each) for each in batch]))
        if self._writer.is_table:
            content = [self._form(each) for each in content]
        header = b""
        if self.columns is None and batch:
            if not self._surveyed:
                self._survey.add_all(iter(batch))
            self.columns, header = self._start(content)
        if self.columns is None:
            return b""
        rows = [
            self.columns.join(record.row, each) for record, each in zip(batch, content, strict=True)
        ]
        return header + self._writer.add(rows)

    def end(self) -> bytes:
        """Return the end of the file."""
        header = b""
        if self.columns is None and not self._writer.takes_docs:
            self.columns, header = self._start([])
        return header + self._writer.end()

    def _start(self, predictions: Sequence[Mapping[str, Any]]) -> tuple[OutputColumns, bytes]:
        own = self._survey.columns()
        if not self._surveyed:
            own = dict.fromkeys(own, "text")
        predicted = {key: self._form.kind(key) for row in predictions for key in row}
        columns = OutputColumns.choose(own, self._survey.replaced(), predicted)
        return columns, self._writer.start(columns.kinds)


def _user_data(record: Record) -> dict[str, Any]:
    """What a Doc has no other place for: the other columns, with the user's labels."""
    rest = dict(record.row)
    columns = [column for column, value in rest.items() if value == record.text]
    if columns:
        # One of them is the text.
        del rest["text" if "text" in columns else columns[0]]
    return rest
