"""Uploads files to a repository on the Hugging Face hub."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from trfcli_pipeline.errors import OutputError, one_line

_LOGIN_HINT = "Log in: hf auth login, or set HF_TOKEN"
_TOKEN_HINT = "Use a token with write access: https://huggingface.co/settings/tokens"
_NAME_HINT = "Use a form like team/model: letters, digits, hyphens, underscores and dots"


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is done.

    Attributes:
        is_new: Whether a file changed.
        removed: Names of the files that were removed.
    """

    repository: "Repository"
    is_new: bool
    removed: list[str]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that can be written to.

    Attributes:
        name: Its full name.
        branch: The branch to write to; None for the main one.
        commit: The latest commit there.
        files: Names of the files there.
        url: The page that shows them.
    """

    name: str
    branch: str | None
    commit: str | None
    files: list[str]
    url: str

    @classmethod
    def open(cls, name: str, *, private: bool, branch: str | None) -> "Repository":
        """Look at a repository; create it and its branch if necessary.

        Args:
            name: Its name; without a namespace, it is in the user's own.
            private: Whether it has to be private.

        Raises:
            OutputError: The user may not write to it, or the hub can't be reached.
        """
        from huggingface_hub import HfApi, get_token

        if get_token() is None:
            raise OutputError(
                f"{name}: you are not logged in to the Hugging Face hub", hint=_LOGIN_HINT
            )
        api = HfApi()
        with _explained(name):
            full = api.create_repo(name, private=private or None, exist_ok=True).repo_id
            if branch is not None:
                api.create_branch(full, branch=branch, exist_ok=True)
            info = api.model_info(full, revision=branch)
        if private and not info.private:
            raise OutputError(
                f"{full}: exists, and is public",
                hint="Make it private in its settings on the hub, or leave out --private",
            )
        files = [file.rfilename for file in info.siblings or []]
        url = f"{api.endpoint}/{full}"
        return cls(full, branch, info.sha, files, url if branch is None else f"{url}/tree/{branch}")

    def upload(self, files: Mapping[str, Path | bytes], message: str) -> Upload:
        """Upload files in one commit.

        What else is in the directories of these files is removed. Other files stay.

        Args:
            files: Files or contents by their names in the repository.
            message: Message of the commit.

        Raises:
            OutputError: The files can't be uploaded. None was changed.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        folders = {file.partition("/")[0] for file in files if "/" in file}
        removed = [
            file
            for file in self.files
            if file not in files and "/" in file and file.partition("/")[0] in folders
        ]
        with _explained(self.name):
            commit = HfApi().create_commit(
                self.name,
                [
                    *(CommitOperationAdd(file, content) for file, content in files.items()),
                    *(CommitOperationDelete(file, is_folder=False) for file in removed),
                ],
                commit_message=message,
                revision=self.branch,
            )
        return Upload(self, is_new=commit.oid != self.commit, removed=removed)


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Turn the exceptions of the hub's client into errors of one line."""
    try:
        yield
    except Exception as error:
        # What went wrong in the upload of a file is the cause of another exception.
        is_outer = isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception)
        raise _error(repository, error.__cause__ if is_outer else error) from error


def _error(repository: str, error: BaseException | None) -> OutputError:
    from huggingface_hub import errors as hub

    match error:
        case hub.HFValidationError():
            return OutputError(f"{repository}: not a valid name of a repository", hint=_NAME_HINT)
        case hub.HfHubHTTPError():
            return _refused(repository, error.response.status_code, error.server_message)
        case hub.OfflineModeIsEnabled():
            return OutputError(
                f"{repository}: the Hugging Face hub isn't used in offline mode",
                hint="Unset HF_HUB_OFFLINE",
            )
        # Of a README.md with wrong metadata.
        case ValueError():
            return OutputError(f"{repository}: {one_line(error)}")
    # Without a connection, the client raises whatever its HTTP library raises.
    reason = "" if error is None else f" ({one_line(error)})"
    return OutputError(
        f"{repository}: can't reach the Hugging Face hub{reason}",
        hint="Try again when you are online",
    )


def _refused(repository: str, status: int, message: str | None) -> OutputError:
    """The error for a status that the hub answers with."""
    if status == HTTPStatus.UNAUTHORIZED:
        return OutputError(
            f"{repository}: the Hugging Face hub doesn't accept your token (401)", hint=_LOGIN_HINT
        )
    if status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
        return _not_allowed(repository)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return OutputError(
            f"{repository}: the Hugging Face hub refuses more requests for now (429)",
            hint="Try again in some minutes",
        )
    reason = f": {message}" if message else ""
    return OutputError(
        f"{repository}: the Hugging Face hub answers with an error ({status}){reason}",
        hint="Try again later" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None,
    )


def _not_allowed(repository: str) -> OutputError:
    """The error for a repository that the user may not write to, which says where they may."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    namespace = repository.rpartition("/")[0]
    try:
        user = HfApi().whoami()
    except HfHubHTTPError:
        return OutputError(f"{repository}: you may not write to it (403)", hint=_TOKEN_HINT)
    own = [user["name"], *(each["name"] for each in user.get("orgs", []))]
    if namespace and namespace not in own:
        return OutputError(
            f"{repository}: you are not a member of {namespace}, or there is no such namespace",
            hint=f"Use one of yours: {', '.join(own)}",
        )
    return OutputError(f"{repository}: your token may not write to it (403)", hint=_TOKEN_HINT)
