"""How far annotating has come, and how to continue from there."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.outputs.resumable import ResumableFile
from trfcli_pipeline.data.records import BadRecord, Record
from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.tasks.annotated_rows import AnnotatedRows
from trfcli_pipeline.tasks.annotation_batches import Records
from trfcli_pipeline.tasks.output_columns import OutputColumns
from trfcli_pipeline.tasks.skipped_texts import SkippedTexts

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.predictions import Predicted


class Progress:
    """Counts what was annotated, and identifies the texts by a hash.

    Args:
        model: What identifies the pipeline.
        rows: What writes the rows.
        scores: Whether a table has the scores of all labels.
        skipped: The list of skipped texts, if they are skipped.

    Attributes:
        texts: Number of texts so far, including skipped ones.
        words: Number of words.
        labels: Number of texts that each label was predicted for.
    """

    def __init__(
        self, model: str, rows: AnnotatedRows, *, scores: bool, skipped: SkippedTexts | None
    ) -> None:
        self.model = model
        self.rows = rows
        self.scores = scores
        self.skipped = skipped
        self.texts = 0
        self.words = 0
        self.labels: Counter[str] = Counter()
        self._input = hashlib.sha256()

    def add(self, batch: Iterable[Record | BadRecord], predicted: "Predicted") -> None:
        self.words += predicted.words
        self.labels += predicted.labels
        self._add_records(batch)

    def state(self) -> dict[str, Any]:
        """What `restore` needs to continue from here, as JSON values."""
        columns = self.rows.columns
        return {
            "model": self.model,
            "input": self._input.hexdigest(),
            "texts": self.texts,
            "words": self.words,
            "labels": dict(self.labels),
            "scores": self.scores,
            "columns": None if columns is None else asdict(columns),
            **({} if self.skipped is None else {"skipped": self.skipped.progress}),
        }

    def restore(self, file: ResumableFile, records: Records) -> None:
        """Continue from the state of an interrupted run, and skip the records that are done.

        Raises:
            OutputError: The interrupted run had another model, other texts or other options, or its
                state lacks a part.
        """
        match file.state:
            case {
                "model": str(model),
                "input": str(digest),
                "texts": int(texts),
                "words": int(words),
                "labels": dict(labels),
                "scores": bool(scores),
                "columns": {"kinds": dict(), "names": dict(), "replaced": list()} | None as columns,
            } if texts >= 0:
                pass
            case _:
                raise OutputError(
                    f"{file.state_path}: damaged, or written by another version of trf",
                    hint="Use --force to start over",
                )
        if "skipped" in file.state and self.skipped is None:
            raise OutputError(
                f"{file.partial}: written with --on-error skip", hint="Use that option again"
            )
        if scores != self.scores:
            preposition, advice = (
                ("with", "Use that option again") if scores else ("without", "Leave that out")
            )
            raise OutputError(f"{file.partial}: written {preposition} --scores", hint=advice)
        if model != self.model:
            raise file.mismatch("model")
        self._add_records(islice(records, texts))
        if self._input.hexdigest() != digest:
            raise file.mismatch("input")
        self.words = words
        self.labels = Counter(labels)
        self.rows.restore(None if columns is None else OutputColumns(**columns))

    def _add_records(self, records: Iterable[Record | BadRecord]) -> None:
        for record in records:
            self.texts += 1
            content = [record.text, None if isinstance(record, BadRecord) else record.row]
            self._input.update(f"{to_json(content)}\n".encode(errors="replace"))
