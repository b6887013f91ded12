"""The list of the texts that a run skips, because they can't be read or predicted."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from trfcli_pipeline.data.dataset import STDIN, DataSource
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.outputs.files import FileKind
from trfcli_pipeline.data.outputs.resumable import ResumableFile
from trfcli_pipeline.data.records import BadRecord


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            first = json.loads(file.readline())
        except (ValueError, RecursionError):
            return False
    return isinstance(first, dict) and first.keys() >= {"line", "error"}


KIND = FileKind("a list of skipped texts", _is_list)


class SkippedTexts(ResumableFile):
    """A JSONL file next to an output, with a line for each skipped text.

    A line has "line", its line in the input, "error", and "text" if it could be read. The file only
    exists if there are such texts.

    Args:
        output: Path of the output, from which the file has its name; "-" is stdout.
        resumable: Whether the output can be resumed. If not, a run that fails leaves no list.
        resume: Continue the list of an interrupted run, if there is one.
        force: Overwrite an older list.
        models: Directories of pipelines that are read, or names of installed ones.
        data: Files that are read.

    Attributes:
        number: Number of skipped texts.
    """

    def __init__(
        self,
        output: str,
        *,
        resumable: bool,
        resume: bool,
        force: bool,
        models: Collection[str | Path] = (),
        data: Collection[DataSource | None] = (),
    ) -> None:
        super().__init__(
            f"{'stdout' if output == STDIN else output}.skipped.jsonl",
            resume=resume,
            force=force,
            kind=KIND,
            optional=True,
            models=models,
            data=data,
        )
        self.resumable = resumable
        self.number = 0

    def rewind(self, progress: Mapping[str, Any] | None) -> None:
        super().rewind(progress)
        self.number = self.state.get("number", 0)

    def add(self, records: Iterable[BadRecord]) -> None:
        """Write a line for each record.

        Raises:
            OutputError: The file can't be written.
        """
        lines = [
            to_json(
                {
                    "line": record.line,
                    "error": record.reason,
                    **({} if record.text is None else {"text": record.text}),
                }
            )
            for record in records
        ]
        if lines:
            content = "".join(f"{line}\n" for line in lines)
            self.number += len(lines)
            state = {"number": self.number} if self.resumable else {}
            self.append(content.encode("utf-8", errors="backslashreplace"), state)
