"""The list of the texts that a run skips, because they can't be read or predicted."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trfcli_pipeline.data.formats import STDIN
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.records import BadRecord
from trfcli_pipeline.errors import OutputError


class SkippedTexts:
    """A JSONL file next to an output, with a line for each skipped text.

    A line has "line", its line in the input, "error", and "text" if it could be read. The file only
    exists if there are such texts.

    Args:
        output: Path of the output, from which the file has its name; "-" is stdout.

    Attributes:
        path: Path of the file.
        number: Number of skipped texts.
    """

    def __init__(self, output: str) -> None:
        self.path = Path(f"{'stdout' if output == STDIN else output}.skipped.jsonl")
        self.number = 0
        self._size = 0

    @property
    def state(self) -> dict[str, int]:
        """What `resume` needs."""
        return {"number": self.number, "size": self._size}

    def start(self, *, force: bool) -> None:
        """Begin an empty list.

        Raises:
            OutputError: The file exists already and `force` isn't set, or can't be written.
        """
        if self.path.exists() and not force:
            raise OutputError(
                f"{self.path}: already exists",
                hint="Move the file, or use --force to overwrite it",
            )
        self._write(0, b"")

    def resume(self, state: dict[str, Any]) -> None:
        """Continue the list of an interrupted run, from what `state` returned.

        Raises:
            OutputError: The file can't be written, or lacks a part.
        """
        number, size = state.get("number"), state.get("size")
        found = self.path.stat().st_size if self.path.exists() else 0
        if not isinstance(number, int) or not isinstance(size, int) or not 0 <= size <= found:
            raise OutputError(f"{self.path}: damaged", hint="Use --force to start over")
        self.number = number
        self._write(size, b"")

    def add(self, records: Iterable[BadRecord]) -> None:
        """Write a line for each record.

        Raises:
            OutputError: The file can't be written.
        """
        lines = ""
        for record in records:
            text = {} if record.text is None else {"text": record.text}
            lines += to_json({"line": record.line, "error": record.reason, **text}) + "\n"
            self.number += 1
        if lines:
            self._write(self._size, lines.encode("utf-8", errors="backslashreplace"))

    def _write(self, start: int, content: bytes) -> None:
        """Replace what follows the first bytes of the file."""
        try:
            if start + len(content) == 0:
                self.path.unlink(missing_ok=True)
            else:
                with self.path.open("r+b" if self.path.exists() else "wb") as file:
                    file.truncate(start)
                    file.seek(start)
                    file.write(content)
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written ({error.strerror})") from error
        self._size = start + len(content)
