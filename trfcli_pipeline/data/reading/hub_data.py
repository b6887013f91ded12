"""Data sets on the Hugging Face hub."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import PurePosixPath
from typing import IO

from trfcli_pipeline.data.formats import FORMATS, is_data_name
from trfcli_pipeline.errors import DataError, one_line

_TIMEOUT = 10.0  # seconds
_ADDRESS = re.compile(
    r"hf://(?:datasets/)?(?!datasets/)(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^/#]+))?(?:/(?P<path>.+))?"
)


def hub_files(address: str) -> dict[str, Callable[[], AbstractContextManager[IO[bytes]]]]:
    """List the data files of a data set on the hub.

    Args:
        address: "hf://datasets/user/name", optionally with a revision ("@main"), and with the path
            of a file or directory in it.

    Returns:
        For each file its path, and a function that downloads (unless it is cached) and opens it.

    Raises:
        DataError: There is no such data set, or the hub can't be reached.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise DataError(
            f"{address}: not the address of a data set",
            hint="It has the form hf://datasets/user/name",
        )
    repo, revision, path = found["repo"], found["revision"], (found["path"] or "").strip("/")
    names = _ask(address, repo, revision)
    chosen = [
        name
        for name in names
        if (not path or name == path or name.startswith(f"{path}/"))
        and is_data_name(PurePosixPath(name))
    ]
    if not chosen:
        raise DataError(f"{address}: no data file in it", hint=f"Files end in {', '.join(FORMATS)}")
    return {name: partial(_download, address, repo, revision, name) for name in chosen}


def _ask(address: str, repo: str, revision: str | None) -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    try:
        # Other requests are repeated for half a minute if the hub can't be reached.
        info = HfApi().dataset_info(repo, revision=revision, timeout=_TIMEOUT)
    except hub.HFValidationError as error:
        raise DataError(f"{address}: not a valid name on the hub") from error
    except hub.GatedRepoError as error:
        raise DataError(
            f"{address}: this data set is gated",
            hint="Ask for access on its page, then log in: hf auth login",
        ) from error
    except hub.RevisionNotFoundError as error:
        raise DataError(f"{address}: has no revision {revision}") from error
    except hub.RepositoryNotFoundError as error:
        raise DataError(
            f"{address}: not on the Hugging Face hub (or private)",
            hint="If it is private, log in: hf auth login",
        ) from error
    except Exception as error:  # without a connection, whatever the HTTP library raises
        raise _unavailable(address, error) from error
    return [file.rfilename for file in info.siblings or []]


def _download(
    address: str, repo: str, revision: str | None, name: str
) -> AbstractContextManager[IO[bytes]]:
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(repo, name, repo_type="dataset", revision=revision)
    except Exception as error:
        raise _unavailable(f"{address}: {name}", error) from error
    return open(path, "rb")


def _unavailable(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}: can't be had from the Hugging Face hub ({one_line(error)})",
        hint="Try again later, or download the files yourself",
    )
