"""Names of classes in a file beside the data."""

import json
from collections.abc import Mapping
from pathlib import Path

from trfcli_pipeline.errors import DataError


def read_class_names(path: Path) -> Mapping[int, str]:
    """Read the names of classes from labels.json or labels.txt.

    Raises:
        DataError: The file has none.
    """
    try:
        text = path.read_text("utf-8-sig")
        found = text.splitlines() if path.suffix == ".txt" else json.loads(text)
        if isinstance(found, dict):
            found = found.get("id2label", found.get("names", found))
        match found:
            case list():
                return dict(enumerate(str(each) for each in found))
            case dict() if all(isinstance(each, int) for each in found.values()):
                return {number: name for name, number in found.items()}
            case dict():
                return {int(number): str(name) for number, name in found.items()}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: not a list of label names", hint='It has the form ["HAM", "SPAM"]'
        ) from error
    raise DataError(f"{path}: not a list of label names", hint='It has the form ["HAM", "SPAM"]')
