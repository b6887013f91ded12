"""The files of a pipeline's directory that leave this machine: its own, and nothing else there."""

from collections.abc import Iterator
from pathlib import Path

from spacy.cli.package import FILENAMES_DOCS
from spacy.util import load_config

from trfcli_pipeline.data.outputs import manifest
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.saved import entry_names


def list_pipeline_files(model_dir: Path) -> dict[str, Path]:
    """Find the files and directories that belong to a pipeline.

    Hidden files don't, and neither do files that its manifest lacks. README and licenses do.

    Returns:
        Their paths by their names, which are relative to `model_dir`, a directory before its files.

    Raises:
        PipelineError: One of them is a link or no file, or a text file isn't UTF-8.
    """
    names = load_config(model_dir / "config.cfg").get("components", {})
    entries = {*entry_names(names), *FILENAMES_DOCS}
    listed = manifest.list_own(model_dir)
    own = None if listed is None else listed | {*FILENAMES_DOCS}
    found: dict[str, Path] = {}
    for entry in sorted(model_dir.iterdir()):
        if entry.name in entries:
            found.update(_walk(entry, entry.name, own))
    for name in FILENAMES_DOCS:
        _check_text_file(model_dir / name)
    return found


def _walk(source: Path, name: str, own: frozenset[str] | None) -> Iterator[tuple[str, Path]]:
    """Find a file, or a directory and what is in it.

    Args:
        name: Path of the source, relative to the pipeline.
        own: Such paths of the files that belong to it; None for all.
    """
    if source.is_symlink():
        raise PipelineError(
            f"{source} is a link to {source.readlink()}",
            hint="Put a copy of the file in its place if it belongs to the pipeline, or remove it",
        )
    if source.is_dir():
        yield name, source
        for entry in sorted(source.iterdir()):
            if not entry.name.startswith("."):
                yield from _walk(entry, f"{name}/{entry.name}", own)
    elif not source.is_file():
        raise PipelineError(f"{source} is neither a file nor a directory", hint="Remove it")
    elif own is None or name in own:
        yield name, source


def _check_text_file(path: Path) -> None:
    if not path.is_file():
        return
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise PipelineError(
            f"{path}: is not UTF-8 (byte {error.start + 1:,} is 0x{error.object[error.start]:02x})",
            hint="Save it as UTF-8",
        ) from error
