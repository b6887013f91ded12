"""`trf push`: upload a pipeline to the Hugging Face hub."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.upload import Upload


def push(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Directory of a pipeline.", show_default=False)
    ],
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPO",
            help="Repository on the Hugging Face hub, such as team/spam. It is created if it "
            "doesn't exist.",
            show_default=False,
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Create a private repository.")
    ] = False,
    branch: Annotated[
        str | None,
        typer.Option(
            "--revision",
            "--branch",
            metavar="BRANCH",
            help="Branch to upload to. It is created if it doesn't exist.",
            show_default="main",
        ),
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message",
            metavar="TEXT",
            help="Message of the commit.",
            show_default="name and version of the pipeline",
        ),
    ] = None,
) -> None:
    """Upload a pipeline and its model card to the Hugging Face hub.

    Example:
      trf push ./model team/spam --private
      trf push ./model team/spam --branch candidate --message "Train on the data of May"
    """
    from trfcli_pipeline.tasks import push as task

    console.if_interrupted(f"no file of {repository} was changed")
    for event in task.push(model, repository, private=private, branch=branch, message=message):
        match event:
            case task.PushStarted():
                size = wording.megabytes(event.size / 1e6)
                console.info(f"Uploading {wording.plural(event.files, 'file')} ({size})")
            case _:
                console.if_interrupted(f"{event.repository.url} was already updated")
                describe_upload(event, branch)


def describe_upload(upload: "Upload", branch: str | None) -> None:
    """Print where the pipeline is, and how to load it."""
    done = "Pushed to" if upload.is_new else "Nothing to push: the same files are already at"
    console.good(f"{done} {upload.repository.url}")
    if upload.removed:
        console.info(f"Removed files of the last push: {wording.enumeration(upload.removed)}")
    arguments = [json.dumps(upload.repository.name)]
    if branch is not None:
        arguments.append(f"revision={json.dumps(branch)}")
    console.hint("To load it:")
    console.hint("from huggingface_hub import snapshot_download")
    console.hint(f"nlp = spacy.load(snapshot_download({', '.join(arguments)}))")
