"""A model's files, which may come from anyone.

`explain` is for broken files, whatever transformers makes of them. The checks are for files that
would make it wait, load other files than the model's, run code from the hub, or use up the machine.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from pickle import UnpicklingError
from typing import Any

from trfcli_pipeline.data.files import read_object, require_file
from trfcli_pipeline.errors import (
    DeviceError,
    EncoderError,
    TrfError,
    is_out_of_memory,
    one_line,
)

COPY_AGAIN = "Download or copy the model's files again, or use another model"

_INDEX = "*.index.json"
# No model has as many. Building a million layers takes hours, even before they get weights.
_MOST_LAYERS = 2_000
_LAYER_WORDS = ("layer", "expert")
_ATTENTION_KEYS = ("attn_implementation", "experts_implementation")


def check_files(path: Path) -> None:
    """Check that a model's directory has only files that can be read, and that all are in it.

    Raises:
        EncoderError: One of them is a named pipe or a broken link, or the weights' index names a
            file outside of the directory.
    """
    for file in sorted(path.iterdir()):
        require_file(file, EncoderError, hint=COPY_AGAIN, or_directory=True)
    for index in sorted(path.glob(_INDEX)):
        _check_index(index)


def read_config(path: Path) -> dict[str, Any]:
    """Read and check the config.json of a model.

    Args:
        path: Directory of the model.

    Raises:
        EncoderError: It isn't a JSON object, has too many layers or a setting that is NaN or
            infinite, or asks for code from the hub.
    """
    file = path / "config.json"
    facts = read_object(file, EncoderError, hint=COPY_AGAIN)
    for key, value in _settings(facts):
        if key.removeprefix("_") in _ATTENTION_KEYS and "/" in str(value):
            raise EncoderError(
                f"{file}: {key} asks for code from the Hugging Face hub, which trf doesn't run",
                hint=f"Remove {key} from the file to use the model's own code",
            )
        is_number = isinstance(value, int) and any(word in key for word in _LAYER_WORDS)
        if is_number and not 0 <= value <= _MOST_LAYERS:
            raise EncoderError(f"{file}: {key} must be from 0 to {_MOST_LAYERS:,}", hint=COPY_AGAIN)
        if not math.isfinite(_special_float(value)):
            raise EncoderError(f"{file}: {key} is NaN or infinite", hint=COPY_AGAIN)
    return facts


def _special_float(value: Any) -> float:
    """Return a setting if it is a float, also in the form in which transformers stores NaN.

    A list isn't one: limits such as Mamba's `time_step_limit` are `[0.0, Infinity]`.
    """
    match value:
        case {"__float__": "NaN" | "Infinity" | "-Infinity" as name}:
            return float(name)
    return value if isinstance(value, float) else 0.0


def _settings(facts: Any) -> Iterator[tuple[str, Any]]:
    """Yield keys and values of all objects in a JSON value."""
    values = [facts]
    while values:
        match values.pop():
            case dict() as settings:
                yield from settings.items()
                values += settings.values()
            case list() as items:
                values += items


def _check_index(path: Path) -> None:
    files = read_object(path, EncoderError, hint=COPY_AGAIN).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise EncoderError(
            f"{path}: has no weight_map with the file of each tensor", hint=COPY_AGAIN
        )
    for name in files.values():
        parts = (PurePosixPath(name), PureWindowsPath(name))
        if any(part.is_absolute() or part.drive or ".." in part.parts for part in parts):
            raise EncoderError(
                f"{path}: names a file outside of the model's directory ({name})", hint=COPY_AGAIN
            )


@contextmanager
def explain(problem: str) -> Iterator[None]:
    """Turn the exceptions of transformers for unusable files into an EncoderError.

    For a broken file, it raises anything: it uses what it read without checks.
    """
    try:
        yield
    except TrfError:
        raise
    except UnpicklingError as error:
        raise EncoderError(
            f"{problem}: its file contains more than weights, possibly malicious code",
            hint="Use a checkpoint in the safetensors format",
        ) from error
    except Exception as error:
        if is_out_of_memory(error):
            raise DeviceError(
                f"{problem}: not enough memory", hint="Use a smaller model, or a larger machine"
            ) from error
        raise EncoderError(f"{problem}: {one_line(error)}", hint=COPY_AGAIN) from error
