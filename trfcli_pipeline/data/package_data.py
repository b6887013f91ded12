"""Files that the package ships beside its code."""

from importlib.resources import files
from pathlib import Path


def shipped_path(name: str) -> Path:
    """Where a file is that the package ships: "configs/textcat.cfg", for example."""
    package = Path(str(files("trfcli_pipeline")))
    # In a checkout they stand beside the package.
    return package / name if (package / name).exists() else package.parent / name
