"""Makes, loads and describes whole pipelines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language

from trfcli_pipeline.data.atomic import staged_directory
from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.encoder.devices import resolve_device
from trfcli_pipeline.errors import OutputError, PipelineError, one_line
from trfcli_pipeline.huggingface import pretrained, sources
from trfcli_pipeline.pipeline.components import find_component
from trfcli_pipeline.pipeline.language import TransformersLanguage
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer

_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?", re.ASCII)


def pipeline_name(encoder: str) -> str:
    """The name that a pipeline gets from its encoder: "bert-base-uncased", trf_bertbaseuncased."""
    return "trf_" + (re.sub(r"[^a-z0-9]", "", encoder.lower()) or "encoder")


def check_name(name: str) -> None:
    """Check that a name can be part of the name of a package.

    Raises:
        PipelineError: It can't.
    """
    if not _NAME.fullmatch(name):
        raise PipelineError(
            f"{name!r} can't be part of the name of a package",
            hint="Use letters (a-z, A-Z), digits and underscores, with a letter at the start "
            "and no underscore at the end",
        )


def init_pipeline(
    name: str,
    output: Path,
    *,
    lang: str = "en",
    pipeline: str | None = None,
    words_per_batch: int | str | None = None,
    revision: str | None = None,
    force: bool = False,
) -> tuple[Language, dict[str, Any]]:
    """Make a pipeline around a pretrained encoder, and save it.

    Args:
        name: A hub id, a directory, or a packaged encoder.
        lang: The language whose tokenizer and data to use.
        pipeline: Name of the pipeline; made from the encoder's if None.
        revision: A branch, tag or commit on the hub.
        force: Replace a pipeline that is there.

    Returns:
        The pipeline, and the facts about its encoder that are in its meta: "name", "source",
        "revision", and those of `describe_encoder`.

    Raises:
        EncoderError: There is no such encoder, or it can't be used.
        PipelineError: `pipeline` can't be part of a package's name; or spaCy has no such language,
            or can't build its tokenizer.
        OutputError: The output exists and `force` isn't given, or it can't be written.
    """
    if pipeline is not None:
        check_name(pipeline)
    check_free(output, force=force)
    source = sources.locate(name, revision=revision)
    nlp = _blank(lang)
    path = str(source.path)
    settings = {} if words_per_batch is None else {"words_per_batch": words_per_batch}
    nlp.add_pipe("sentencizer")
    wordpiecer = TransformersWordPiecer.from_pretrained(nlp.vocab, path)
    encoder = TransformersTok2Vec.from_pretrained(nlp.vocab, path, **settings)
    for component in (wordpiecer, encoder):
        # The saved pipeline has all it needs, and the path would be this machine's.
        component.trf_name = name
        nlp.add_pipe(component)
    # Packages put the language before it, whoever did so already.
    nlp.meta["name"] = (pipeline or pipeline_name(source.title)).removeprefix(f"{lang}_")
    facts = {
        "name": source.title,
        "source": source.origin,
        "revision": source.revision,
        **describe_encoder(encoder),
    }
    nlp.meta["trf"] = {"encoder": facts}
    with staged_directory(output) as staging:
        nlp.to_disk(staging)
    return nlp, facts


def is_pipeline(model: str) -> bool:
    """Check whether a name refers to a pipeline, rather than to an encoder."""
    if model in sources.PACKAGED_ENCODERS:
        return False
    return (Path(model).expanduser() / "config.cfg").exists() or spacy.util.is_package(model)


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
            raise PipelineError(f"{model}: is a file, not a pipeline's directory")
        if not (path / "config.cfg").exists():
            raise PipelineError(
                f"{model}: is no spaCy pipeline (it has no config.cfg)",
                hint=f"Create one from this encoder: trf init {model} ./model"
                if (path / "config.json").exists()
                else "Create one: trf init minilm ./model",
            )
    elif not spacy.util.is_package(model):
        raise PipelineError(
            f"{model}: there is no such directory, and no such pipeline is installed",
            hint="Create one: trf init minilm ./model",
        )


def load_pipeline(
    model: str,
    *,
    device: str = "auto",
    exclude: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Language:
    """Load a pipeline from a directory or an installed package.

    Args:
        model: The directory or the package.
        device: Where the encoder runs; see `devices.resolve_device`.
        exclude: Names of components that aren't loaded.
        overrides: Values for settings of its config, by their dotted keys.

    Raises:
        PipelineError: There is no such pipeline, or it can't be loaded.
        DeviceError: The machine has no such device.
    """
    resolve_device(device)
    check_pipeline(model)
    path = Path(model).expanduser()
    try:
        source = path if path.exists() else model
        nlp = spacy.load(source, exclude=exclude, config=dict(overrides or {}))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise PipelineError(f"{model}: can't be loaded: {one_line(error)}") from error
    encoder = find_component(nlp, TransformersTok2Vec)
    if encoder is not None:
        encoder.model.shim.to(device)
    return nlp


def require_encoder(nlp: Language) -> TransformersTok2Vec:
    """Return the pipeline's encoder.

    Raises:
        PipelineError: There is none, or it is disabled.
    """
    encoder = find_component(nlp, TransformersTok2Vec)
    if encoder is None or encoder.name not in nlp.pipe_names:
        raise PipelineError(
            "The pipeline has no trf_tok2vec", hint="Create one: trf init minilm ./model"
        )
    return encoder


def describe_encoder(encoder: TransformersTok2Vec) -> dict[str, Any]:
    """Return type, size and number of parameters of an encoder."""
    module = encoder.transformers_model
    return {**pretrained.describe_config(module.config), "parameters": module.num_parameters()}


def describe_pipeline(nlp: Language) -> dict[str, Any]:
    """What a pipeline is made of. Sizes in MB (10⁶ bytes), parameters as a count."""
    encoder = find_component(nlp, TransformersTok2Vec)
    wordpiecer = find_component(nlp, TransformersWordPiecer)
    described = None
    if encoder is not None:
        known: Mapping[str, Any] = nlp.meta.get("trf", {}).get("encoder", {})
        described = {
            "name": known.get("name") or encoder.trf_name,
            **describe_encoder(encoder),
            **asdict(encoder.model.shim.inference),
            "max_length": None if wordpiecer is None else wordpiecer.max_length,
        }
    meta = nlp.meta
    return {
        "name": f"{meta['lang']}_{meta['name']}",
        "version": meta["version"],
        "lang": meta["lang"],
        "path": str(nlp.path),
        "size_mb": directory_bytes(nlp.path) / 1e6,
        "components": [
            {
                "name": name,
                "factory": nlp.get_pipe_meta(name).factory,
                "labels": list(getattr(pipe, "labels", [])),
            }
            for name, pipe in nlp.pipeline
        ],
        "encoder": described,
        "requirements": list(meta.get("requirements", [])),
        "performance": meta.get("performance", {}),
    }


def check_free(output: Path, *, force: bool) -> None:
    """Check that a pipeline may be written to a directory.

    Args:
        output: The directory.
        force: Whether a pipeline that is already there may be replaced.

    Raises:
        OutputError: Something is there that may not be replaced.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise OutputError(f"{output}: is a file", hint="Use a directory")
    if not any(output.iterdir()):
        return
    if not (output / "config.cfg").exists():
        raise OutputError(
            f"{output}: exists and is no spaCy pipeline", hint="Use another directory"
        )
    if not force:
        raise OutputError(f"{output}: exists", hint="Use another directory, or --force")


def _blank(lang: str) -> TransformersLanguage:
    try:
        return TransformersLanguage(meta={"lang": lang})
    except ImportError as error:
        raise PipelineError(
            f"{lang}: spaCy can't make this language's tokenizer: {one_line(error)}"
        ) from error
