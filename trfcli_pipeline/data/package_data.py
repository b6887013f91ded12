"""Data files that ship with the package."""

from importlib.resources import files
from pathlib import Path


def shipped_path(name: str) -> Path:
    """The path of a file that ships with the package, such as "configs/textcat.cfg"."""
    package = Path(str(files("trfcli_pipeline")))
    # In a source checkout the files are next to the package.
    return package / name if (package / name).exists() else package.parent / name
