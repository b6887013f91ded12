"""Saved pipelines: which of a directory's files are theirs, and whether those are intact."""

from collections.abc import Iterable
from pathlib import Path

from trfcli_pipeline.data.files import files_digest
from trfcli_pipeline.data.outputs import manifest
from trfcli_pipeline.data.outputs.directories import Kind
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import PipelineError

_CONFIG = "config.cfg"
_HISTORY = "training.jsonl"
# Of components that save a file, such as spaCy's sentencizer and entity ruler.
_SUFFIXES = (".json", ".jsonl")


def own_files(path: Path) -> frozenset[str] | None:
    """Find the files of a pipeline, as opposed to others in its directory.

    A pipeline without a manifest, from an earlier version or from spaCy, is recognized by loading
    it.

    Returns:
        Paths relative to the directory; None if it isn't a pipeline's.
    """
    listed = manifest.list_own(path)
    if listed is not None:
        return listed if _CONFIG in listed else None
    if manifest.read_meta(path) is None or not (path / _CONFIG).is_file():
        return None
    import spacy

    try:
        nlp = spacy.load(path)
    except Exception:
        return None
    entries = entry_names(nlp.component_names)
    if "training" not in manifest.read_section(path):
        entries.discard(_HISTORY)
    return frozenset(
        name for name in manifest.list_files(path) if name.partition("/")[0] in entries
    )


def entry_names(components: Iterable[str]) -> set[str]:
    """Names of the files and directories that may be at the top of a pipeline's directory.

    Args:
        components: The names of its components.
    """
    names = [*components]
    files = {Path(name).with_suffix(suffix).name for name in names for suffix in _SUFFIXES}
    return {_CONFIG, manifest.META, _HISTORY, "tokenizer", "vocab", *names, *files}


PIPELINE = Kind("a spaCy pipeline", own_files)


def pipeline_digest(path: Path) -> str:
    """SHA-256 over the names and contents of a pipeline's own files."""
    return files_digest(path, manifest.list_own(path) or manifest.list_files(path))


def locate_pipeline(model: str | Path) -> Path:
    """The directory of a pipeline: the given one, or that of an installed package.

    Raises:
        PipelineError: There is no such pipeline.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path
    # Imported here, because spaCy takes seconds.
    from spacy import util

    if not util.is_package(str(model)):
        raise PipelineError(
            f"{model}: there is no such directory, and no such pipeline is installed"
        )
    package = util.get_package_path(str(model))
    meta = util.get_model_meta(package)
    return package / f"{meta['lang']}_{meta['name']}-{meta['version']}"


def verify(model: str | Path) -> int:
    """Check that the files of a saved pipeline are as they were when it was saved.

    `spacy.load` doesn't check that, because hashing the weights takes longer than mapping them into
    memory. Call this before it where files may have been damaged or changed:

        trfcli_pipeline.verify("./model")
        nlp = spacy.load("./model")

    Args:
        model: Directory of a pipeline, or name of an installed one.

    Returns:
        The number of files that were checked.

    Raises:
        PipelineError: There is no such pipeline, it was saved without checksums, or a file has
            changed or is missing.
    """
    path = locate_pipeline(model)
    files = manifest.read_manifest(path)
    if files is None:
        raise PipelineError(
            f"{model}: has no checksums to verify",
            hint="They are written with pipelines of the language trf; save it again",
        )
    changes = manifest.find_changes(path, files)
    if changes:
        shown = enumeration([f"{name} {change}" for name, change in changes.items()])
        raise PipelineError(
            f"{model}: not as it was saved: {shown}",
            hint="Use a copy that is intact, or create the pipeline again",
        )
    return len(files)
