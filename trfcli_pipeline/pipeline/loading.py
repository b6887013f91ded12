"""Load pipelines, and check their names."""

import re
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.errors import ArgumentError, PipelineError, TrfError
from trfcli_pipeline.huggingface import sources
from trfcli_pipeline.progress import phase

# spaCy and torch take seconds to import. Names are checked without them.
if TYPE_CHECKING:
    from spacy.language import Language

    from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec

_CREATE = "Create one: trf init minilm ./model. Then train it: trf train ./model train.jsonl"
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?", re.ASCII)


def check_name(name: str, *, place: str = "--name") -> None:
    """Check that a name can be part of the name of a package.

    Args:
        place: Where the name was given, for the error.

    Raises:
        ArgumentError: It can't, and is that of an option.
        PipelineError: It can't, and is that of a pipeline.
    """
    if not _NAME.fullmatch(name):
        raise error_class(place)(
            f"{place}: {name!r} can't be part of the name of a package",
            hint="Use letters (a-z, A-Z), digits and underscores, with a letter at the start "
            "and no underscore at the end",
        )


def error_class(place: str) -> type[TrfError]:
    """The class of an error about a value of an option, or else of a pipeline."""
    return ArgumentError if place.startswith("--") else PipelineError


def is_pipeline(model: str) -> bool:
    """Check whether a name refers to a pipeline, rather than to an encoder."""
    if model in sources.PACKAGED_ENCODERS:
        return False
    return (Path(model).expanduser() / "config.cfg").exists() or _is_installed(model)


def check_pipeline(model: str) -> None:
    """Check that a name refers to a pipeline, without loading it.

    Args:
        model: A directory or an installed package.

    Raises:
        PipelineError: There is no such pipeline.
    """
    path = Path(model).expanduser()
    if path.exists():
        if not path.is_dir():
            raise PipelineError(
                f"{model}: is a file, not a pipeline's directory",
                hint="Create one: trf init minilm ./model",
            )
        if not (path / "config.cfg").exists():
            raise PipelineError(
                f"{model}: not a spaCy pipeline (it has no config.cfg)",
                hint=f"Create one from this encoder: trf init {model} ./model"
                if (path / "config.json").exists()
                else _CREATE,
            )
    elif not _is_installed(model):
        raise PipelineError(
            f"{model}: there is no such directory, and no such pipeline is installed",
            hint=_CREATE,
        )


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    # A path is not the name of a package.
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return True


def load_pipeline(
    model: str,
    *,
    device: str = "auto",
    exclude: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> "Language":
    """Load a pipeline from a directory or an installed package.

    Args:
        model: The directory or the package.
        device: Where the encoder runs; see `devices.resolve_device`.
        exclude: Names of components that aren't loaded.
        overrides: Values for settings of its config, by their dotted keys.

    Raises:
        PipelineError: There is no such pipeline, it can't be loaded, or its weights aren't finite.
        EncoderError: Its encoder can't be loaded.
        DeviceError: The machine has no such device, or memory runs out.
        ArgumentError: The device's name is invalid.
    """
    check_pipeline(model)
    with phase(f"Loading {model}"):
        return _load(model, device=device, exclude=exclude, overrides=dict(overrides or {}))


def _load(
    model: str, *, device: str, exclude: Sequence[str], overrides: dict[str, Any]
) -> "Language":
    import spacy

    from trfcli_pipeline.encoder.devices import resolve_device, use_device
    from trfcli_pipeline.pipeline.compatibility import check_components
    from trfcli_pipeline.pipeline.components import find_component
    from trfcli_pipeline.pipeline.foreign_pipelines import (
        check_files,
        check_meta,
        check_values,
        explain,
    )
    from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec

    resolve_device(device)
    path = Path(model).expanduser()
    if path.exists():
        check_files(path)
        check_meta(path)
    with explain(model):
        source = path if path.exists() else model
        with use_device(device):
            nlp = spacy.load(source, exclude=exclude, config=overrides)
        check_components(nlp)
        check_values(nlp)
    encoder = find_component(nlp, TransformersTok2Vec)
    if encoder is not None:
        # OpenVINO has no other device than the CPU.
        encoder.model.shim.to(device)
    return nlp


def keep_what_heads_read(nlp: "Language", *, aligned: bool = False) -> None:
    """Store only what the heads read on Docs, for callers that use nothing but predictions.

    Nothing changes if another component than trf_textcat follows: it may read anything.

    Args:
        aligned: Whether the caller needs the alignment of wordpieces and tokens.
    """
    from trfcli_pipeline.heads.architectures import kinds_read
    from trfcli_pipeline.pipeline.components import find_component
    from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
    from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec

    encoder = find_component(nlp, TransformersTok2Vec)
    if encoder is None or encoder.name not in nlp.pipe_names:
        return
    heads: list[Any] = [pipe for _, pipe in nlp.pipeline[nlp.pipe_names.index(encoder.name) + 1 :]]
    if all(isinstance(head, TransformersTextCategorizer) for head in heads):
        kinds = set().union(*(kinds_read(head.model) for head in heads))
        keep_only(nlp, kinds, aligned=aligned)


def keep_only(nlp: "Language", kinds: Collection[str], *, aligned: bool = False) -> None:
    """Store only these outputs of the encoder, and the sums of segments, on Docs.

    Args:
        nlp: A pipeline with an encoder.
        kinds: Some of `activations.KINDS`, or "tensor".
        aligned: Whether the alignment of wordpieces and tokens is needed although nothing that is
            kept depends on it.
    """
    from trfcli_pipeline.encoder.activations import SEGMENT_SUMS, TENSOR
    from trfcli_pipeline.pipeline.components import find_component
    from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer

    encoder = require_encoder(nlp)
    encoder.kept &= {*kinds, SEGMENT_SUMS}
    wordpiecer = find_component(nlp, TransformersWordPiecer)
    before = nlp.pipe_names[: nlp.pipe_names.index(encoder.name)]
    # Components between the two may read the alignment.
    if wordpiecer is not None and before[-1:] == [wordpiecer.name]:
        wordpiecer.aligns = aligned or TENSOR in encoder.kept


def require_encoder(nlp: "Language") -> "TransformersTok2Vec":
    """Return the pipeline's encoder.

    Raises:
        PipelineError: There is none, or it is disabled.
    """
    from trfcli_pipeline.pipeline.components import require_component
    from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec

    encoder = require_component(nlp, TransformersTok2Vec)
    if encoder.name not in nlp.pipe_names:
        raise PipelineError(
            f"{encoder.name} is disabled", hint="Enable it in the pipeline's config"
        )
    return encoder


def describe_encoder(encoder: "TransformersTok2Vec") -> dict[str, Any]:
    """Return type, size and number of parameters of an encoder."""
    module = encoder.transformers_model
    return {
        "model_type": module.config.model_type,
        "layers": module.config.num_hidden_layers,
        "width": module.config.hidden_size,
        # Some models have none: FNet mixes wordpieces by a Fourier transform.
        "heads": getattr(module.config, "num_attention_heads", None),
        "parameters": module.num_parameters(),
    }
