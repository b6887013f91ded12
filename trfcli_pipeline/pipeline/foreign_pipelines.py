"""A pipeline's files, which may come from anyone.

`explain` is for broken files, whatever spaCy makes of them. The checks are for files that would
make it wait, and for values that it uses without looking at them.
"""

import configparser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.schemas import ModelMetaSchema, validate
from thinc.api import ConfigValidationError, Model

from trfcli_pipeline.data.files import kind_of_file, read_object
from trfcli_pipeline.errors import PipelineError, TrfError, one_line
from trfcli_pipeline.evaluation.classifier import TEXT_CLASSIFIERS
from trfcli_pipeline.pipeline.config_errors import first_problem

_COPY_AGAIN = "Copy the pipeline again from where it was made"


def read_meta(path: Path) -> dict[str, Any]:
    """Read the meta.json of a pipeline and check its values.

    Args:
        path: Directory of the pipeline.

    Raises:
        PipelineError: The file isn't there, isn't JSON, or has values of wrong types.
    """
    file = path / "meta.json"
    meta = read_object(file, PipelineError, hint=_COPY_AGAIN)
    problems = validate(ModelMetaSchema, meta)
    own = meta.get("trf", {})
    if not isinstance(own, dict) or not all(isinstance(part, dict) for part in own.values()):
        problems.append("[trf] Input should be an object of objects")
    if not isinstance(meta.get("components", []), list):
        problems.append("[components] Input should be a valid list")
    if problems:
        raise PipelineError(f"{file}: {'; '.join(problems)}", hint=_COPY_AGAIN)
    return meta


def check_files(path: Path) -> None:
    """Check that a pipeline's directory has only files that can be read, and no loops.

    Raises:
        PipelineError: One of them is a named pipe, which would wait for a writer, or a link that
            leads nowhere or to the directory that it is in.
    """
    for file in sorted(path.rglob("*")):
        try:
            kind = kind_of_file(file)
        except OSError as error:
            raise PipelineError(
                f"{file}: can't be read ({error.strerror})", hint=_COPY_AGAIN
            ) from error
        if kind not in (None, "a directory"):
            raise PipelineError(f"{file}: {kind}, not a file", hint=_COPY_AGAIN)
        if file.is_symlink() and file.parent.resolve().is_relative_to(file.resolve()):
            raise PipelineError(f"{file}: a link to the directory that it is in", hint="Remove it")


def check_components(nlp: Language) -> None:
    """Check the batch size, that weights are finite, and that classifiers fit their labels.

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
                    f"{name}: {param} of {layer} contains NaN or infinite values", hint=_COPY_AGAIN
                )
        if nlp.get_pipe_meta(name).factory in TEXT_CLASSIFIERS:
            n_labels = len(getattr(pipe, "labels", ()))
            output_layer = model.maybe_get_ref("output_layer") or model
            n_outputs = output_layer.maybe_get_dim("nO")
            if n_outputs not in (None, n_labels):
                raise PipelineError(
                    f"{name}: has {n_labels} labels, but weights for {n_outputs}", hint=_COPY_AGAIN
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
        if model in error.message:
            raise
        raise type(error)(f"{model}: {error.message}", hint=error.hint) from error
    except (ConfigValidationError, configparser.Error) as error:
        place, problem = first_problem(error)
        prefix = f"{place}: " if place else ""
        raise PipelineError(f"{model}/config.cfg: {prefix}{problem}", hint=_COPY_AGAIN) from error
    except Exception as error:
        raise PipelineError(
            f"{model}: can't be loaded: {one_line(error)}", hint=_COPY_AGAIN
        ) from error
