"""A pipeline's files, which may come from anyone.

`explain` is for broken files, whatever spaCy makes of them. The checks are for files that would
make it wait, and for values that it uses without looking at them.
"""

import configparser
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.schemas import ModelMetaSchema, validate
from spacy.util import from_disk, load_config
from thinc.api import ConfigValidationError, Model

from trfcli_pipeline.data.files import read_object, require_file
from trfcli_pipeline.errors import PipelineError, TrfError, one_line
from trfcli_pipeline.huggingface import foreign_files
from trfcli_pipeline.pipeline.config_errors import locate_problem
from trfcli_pipeline.pipeline.saved import entry_names

COPY_AGAIN = "Copy the pipeline again from where it was made"
# The objects under "trf" in a meta.json.
_PARTS = ("encoder", "training", "inference", "files")


def check_meta(path: Path) -> None:
    """Check the meta.json of a pipeline.

    Args:
        path: Directory of the pipeline.

    Raises:
        PipelineError: The file isn't there, isn't JSON, or has values of wrong types.
    """
    file = path / "meta.json"
    meta = read_object(file, PipelineError, hint=COPY_AGAIN)
    problems = meta_problems(meta)
    if problems:
        raise PipelineError(f"{file}: {'; '.join(problems)}", hint=COPY_AGAIN)


def meta_problems(meta: dict[str, Any]) -> list[str]:
    """Name the values in a meta.json that have the wrong type, one a line."""
    problems: list[str] = validate(ModelMetaSchema, meta)
    if not isinstance(meta.get("components", []), list):
        problems.append("[components] Input should be a valid list")
    own = meta.get("trf", {})
    if not isinstance(own, dict):
        return [*problems, "[trf] Input should be an object"]
    wrong = [name for name in _PARTS if not isinstance(own.get(name, {}), dict)]
    return problems + [f"[trf -> {name}] Input should be an object" for name in wrong]


def check_files(path: Path) -> None:
    """Check that the files that spaCy reads in a pipeline's directory can be read.

    Others may be anything.

    Raises:
        PipelineError: One of them is a named pipe, which would wait for a writer, or a link that
            leads nowhere or to the directory that it is in; or config.cfg can't be used.
    """
    check_file(path / "config.cfg")
    with explain(str(path)):
        names = entry_names(load_config(path / "config.cfg").get("components", {}))
    entries = [entry for entry in sorted(path.iterdir()) if entry.name in names]
    for file in (each for entry in entries for each in (entry, *sorted(entry.rglob("*")))):
        check_file(file)
        if file.is_symlink() and file.parent.resolve().is_relative_to(file.resolve()):
            raise PipelineError(f"{file}: a link to the directory that it is in", hint="Remove it")


def check_file(path: Path) -> None:
    """Check that a path leads to a file or a directory.

    Raises:
        PipelineError: It leads nowhere, or to a named pipe, which would wait for a writer.
    """
    require_file(path, PipelineError, hint=COPY_AGAIN, or_directory=True)


def check_values(nlp: Language) -> None:
    """Check the batch size, and that weights are finite.

    The encoder's own weights are checked when they are loaded.

    Raises:
        PipelineError: One of these isn't so.
    """
    if nlp.batch_size < 1:
        raise PipelineError(f"batch_size is {nlp.batch_size}", hint="Use 1 or more")
    for name, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        if not isinstance(model, Model):
            continue
        for layer, param, values in _parameters(model):
            if not np.isfinite(values).all():
                raise PipelineError(
                    f"{name}: {param} of {layer} contains NaN or infinite values", hint=COPY_AGAIN
                )


def _parameters(model: Model[Any, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield layer, name and values of each parameter of a Thinc model."""
    for node in model.walk():
        for name in node.param_names:
            if node.has_param(name):
                yield node.name, name, node.ops.to_numpy(node.get_param(name))


@contextmanager
def explain(model: str) -> Iterator[None]:
    """Turn the exceptions of spaCy and others for unusable files into a PipelineError.

    For a broken file, they raise anything: they use what they read without checks.
    """
    try:
        yield
    except TrfError as error:
        message = error.message if model in error.message else f"{model}: {error.message}"
        is_damaged = error.hint == foreign_files.COPY_AGAIN
        hint = _damage_hint(model) if is_damaged else error.hint
        raise type(error)(message, hint=hint) from error
    except (ConfigValidationError, configparser.Error) as error:
        message = locate_problem(f"{model}/config.cfg", error)
        raise PipelineError(message, hint=COPY_AGAIN) from error
    except Exception as error:
        place = _part_read(error) or model
        raise PipelineError(
            f"{place}: can't be loaded: {one_line(error)}", hint=_damage_hint(model)
        ) from error


def _damage_hint(model: str) -> str:
    return f"{COPY_AGAIN}. Find damaged files: trf info {shlex.quote(model)} --verify"


def _part_read(error: Exception) -> Path | None:
    """The file or directory of a pipeline that spaCy was reading when it raised an exception."""
    part = None
    # Those of components are within that of the pipeline.
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_code is from_disk.__code__:
            part = frame.f_locals["path"] / frame.f_locals["key"]
    return part
