"""Push a pipeline to a repository on the Hugging Face hub.

The files are at the top of the repository, as spaCy's own pipelines have them there. So they can be
loaded with `spacy.load(snapshot_download(REPO))`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trfcli_pipeline.data.outputs import manifest
from trfcli_pipeline.huggingface.upload import Repository, Upload
from trfcli_pipeline.pipeline.saved import verify
from trfcli_pipeline.tasks.model_card import checked_card
from trfcli_pipeline.tasks.package_meta import package_meta
from trfcli_pipeline.tasks.pipeline_files import list_pipeline_files

_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class PushStarted:
    """The first event: what will be uploaded.

    Attributes:
        files: Number of files, the model card included.
        size: Their size in bytes.
    """

    files: int
    size: int


def push(
    model_dir: Path,
    repository: str,
    *,
    private: bool = False,
    branch: str | None = None,
    message: str | None = None,
) -> Iterator[PushStarted | Upload]:
    """Upload a pipeline's own files, and a model card, in one commit.

    The card is the pipeline's README.md, if there is one, and a generated one otherwise.

    Args:
        model_dir: The pipeline, as saved by `Language.to_disk`.
        repository: Name of the repository, which is created if necessary.
        private: Whether the repository has to be private.
        branch: The branch, which is created if necessary; None for the main one.
        message: Message of the commit.

    Yields:
        One `PushStarted` and one `Upload`.

    Raises:
        PipelineError: `model_dir` isn't a pipeline, has files or a meta.json that can't be
            published, or has changed since it was saved.
        OutputError: The files can't be uploaded.
    """
    model_dir = Path(model_dir).resolve()
    meta = package_meta(model_dir)
    if manifest.read_manifest(model_dir) is not None:
        verify(model_dir)
    files: dict[str, Path | bytes] = {
        name: path for name, path in list_pipeline_files(model_dir).items() if path.is_file()
    }
    size = sum(path.stat().st_size for path in files.values() if isinstance(path, Path))
    target = Repository.open(repository, private=private, branch=branch)
    if _CARD not in files:
        files[_CARD] = checked_card(meta, repository=target.name).encode()
    yield PushStarted(len(files), size)
    name = f"{meta['lang']}_{meta['name']} {meta['version']}"
    yield target.upload(files, message or f"Push {name}")
