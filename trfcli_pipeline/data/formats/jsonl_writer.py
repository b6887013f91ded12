"""Write .jsonl files."""

from collections.abc import Iterable, Mapping
from typing import Any

from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.formats.writing import Writer


class JsonlWriter(Writer):
    """Writes one JSON object per line.

    Numpy values become numbers and lists; other values without a JSON form, such as dates, become
    strings.
    """

    is_table = False

    def add(self, batch: Iterable[Mapping[str, Any]]) -> bytes:
        text = "".join(f"{to_json(row)}\n" for row in batch)
        # Lone surrogates from the input are written as JSON escapes, such as \ud800.
        return text.encode("utf-8", errors="backslashreplace")
