"""Where a trained pipeline goes, and what it replaces there."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.files import directory_bytes, is_same_file, link_or_copy
from trfcli_pipeline.data.outputs import manifest
from trfcli_pipeline.data.outputs.directories import OutputDirectory, open_directory
from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.pipeline.foreign_pipelines import check_meta
from trfcli_pipeline.pipeline.loading import check_pipeline
from trfcli_pipeline.pipeline.saved import PIPELINE, locate_pipeline, pipeline_digest, verify
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.checkpoints import Workspace
from trfcli_pipeline.training.distributed import is_first_process

# The kept pipeline, the next one that replaces it, and two checkpoints, each of which has the
# weights and the two averages of AdamW: at most so many times the size of the pipeline.
_SIZES, _SIZES_WITH_CHECKPOINTS = 2, 7


@contextmanager
def claim_output(
    model: str,
    output: Path | None,
    arguments: TrainingArguments,
    *,
    data: Collection[DataSource | None],
    force: bool,
) -> Iterator[OutputDirectory]:
    """Claim the directory that the trained pipeline goes to: `output`, or else the model's own.

    Only the first process claims it, if several train together.

    Args:
        data: The files with the texts.
        force: Whether to replace a pipeline that is neither the model nor an earlier result of
            training it.

    Raises:
        PipelineError: `model` isn't a pipeline, or its meta.json is damaged.
        OutputError: The directory can't be written, or must not be replaced.
    """
    check_pipeline(model)
    source = locate_pipeline(model)
    check_meta(source)
    if output is None and not Path(model).expanduser().is_dir():
        raise OutputError(
            f"{model}: an installed pipeline can't be replaced",
            hint="Choose a directory for the trained pipeline: --output DIR",
        )
    path = Path(model) if output is None else output
    target = path.expanduser().resolve()
    if not is_first_process():
        yield OutputDirectory(target, frozenset())
        return
    known = is_same_file(target, source) or _is_result(target, source)
    with open_directory(
        path, PIPELINE, force=force or known, models=[model], data=data, in_place=True
    ) as claim:
        Workspace.beside(target).check()
        small = arguments.checkpoint_every == 0 or arguments.freeze_encoder or arguments.lora
        times = _SIZES if small else _SIZES_WITH_CHECKPOINTS
        if arguments.seeds > 1:
            # Of the finished models, those that may become the median.
            times += arguments.seeds // 2 + 1
        claim.check_room(times * directory_bytes(source))
        yield claim


def _is_result(target: Path, source: Path) -> bool:
    """Whether a pipeline was trained from another one."""
    match manifest.read_section(target):
        case {"training": {"source": digest}}:
            return bool(digest == pipeline_digest(source))
    return False


def replace_pipeline(claim: OutputDirectory, trained: Path) -> None:
    """Replace the pipeline at the target by a trained one, in one step.

    The trained one stays where it is, so that it isn't lost if this fails.

    Raises:
        PipelineError: A file of the trained pipeline was damaged after it was saved.
        OutputError: The target can't be replaced.
    """
    if manifest.read_manifest(trained) is not None:
        verify(trained)
    with claim.staged() as staging:
        shutil.copytree(trained, staging, copy_function=link_or_copy, dirs_exist_ok=True)
