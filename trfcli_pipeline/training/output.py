"""Where a trained pipeline goes, and what it replaces there."""

import shutil
from pathlib import Path

import srsly

from trfcli_pipeline.data.atomic import replace_directory
from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.pipeline.loading import check_free, check_pipeline

_OWN_ENTRIES = {"config.cfg", "meta.json", "tokenizer", "vocab", "training.jsonl"}


def resolve_output(model: str, output: Path | None) -> Path:
    """The directory that the trained pipeline goes to: `output`, or else the model's own.

    Raises:
        PipelineError: `model` isn't a pipeline.
        OutputError: The directory can't be replaced.
    """
    check_pipeline(model)
    target = (Path(model) if output is None else output).expanduser().absolute()
    if output is None and not target.is_dir():
        raise OutputError(
            f"{model}: an installed pipeline can't be replaced",
            hint="Choose a directory for the trained pipeline: --output DIR",
        )
    if output is not None:
        check_free(output.expanduser(), force=True)
    return target


def replace_pipeline(target: Path, trained: Path) -> None:
    """Move a trained pipeline to its target in one step, whatever was there before.

    Files that people put next to a pipeline's own, such as a README, are carried over.
    """
    if target.exists():
        _copy_foreign_files(target, trained)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_directory(target, trained)


def _copy_foreign_files(old: Path, new: Path) -> None:
    if not (old / "meta.json").exists():
        return
    own = _OWN_ENTRIES | set(srsly.read_json(old / "meta.json").get("components", []))
    for entry in old.iterdir():
        if entry.name in own or (new / entry.name).exists():
            continue
        if entry.is_dir():
            shutil.copytree(entry, new / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)
