"""Create a spaCy pipeline from a pretrained encoder."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.outputs.directories import open_directory
from trfcli_pipeline.errors import PipelineError, one_line
from trfcli_pipeline.huggingface import sources
from trfcli_pipeline.pipeline.loading import check_name, describe_encoder
from trfcli_pipeline.pipeline.saved import PIPELINE
from trfcli_pipeline.progress import phase

if TYPE_CHECKING:
    from trfcli_pipeline.pipeline.language import TransformersLanguage

# Of a saved parameter.
_BYTES = 4


def init_model(
    encoder: str,
    output: Path,
    *,
    lang: str = "en",
    name: str | None = None,
    words_per_batch: int | str | None = None,
    revision: str | None = None,
    force: bool = False,
) -> tuple["TransformersLanguage", dict[str, Any]]:
    """Create a pipeline from a pretrained encoder and save it.

    Args:
        encoder: A hub id, a directory, or the name of a packaged encoder.
        output: The directory to save the pipeline to.
        lang: Code of the language whose tokenizer the pipeline uses.
        name: Name of the pipeline. By default it is derived from the encoder's.
        words_per_batch: Wordpieces per sub-batch of the encoder, padding included; 0 for no limit,
            "auto" for as many as fit in memory.
        revision: A branch, tag or commit on the hub.
        force: Replace an existing pipeline. Other files in its directory stay.

    Returns:
        The pipeline, and the facts about its encoder that are saved in its meta: "name", "source",
        "revision", and those of `describe_encoder`.

    Raises:
        EncoderError: The encoder can't be found or used.
        PipelineError: `name` can't be part of a package name, or spaCy can't create the tokenizer
            of `lang`.
        OutputError: The output exists and `force` isn't set, or it can't be written.
    """
    if name is not None:
        check_name(name)
    with open_directory(output, PIPELINE, force=force, models=[encoder]) as claim:
        with phase(f"Loading {encoder}"):
            nlp, facts = _create(
                encoder, lang=lang, name=name, words_per_batch=words_per_batch, revision=revision
            )
        claim.check_room(_BYTES * facts["parameters"])
        with phase(f"Saving {output}"), claim.staged() as staging:
            nlp.to_disk(staging)
    return nlp, facts


def _create(
    encoder: str,
    *,
    lang: str,
    name: str | None,
    words_per_batch: int | str | None,
    revision: str | None,
) -> tuple["TransformersLanguage", dict[str, Any]]:
    source = sources.locate(encoder, revision=revision)
    # spaCy and torch take seconds to import, so errors about names and files come before.
    from trfcli_pipeline.pipeline.language import TransformersLanguage
    from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
    from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer

    try:
        nlp = TransformersLanguage(meta={"lang": lang})
    except ImportError as error:
        raise PipelineError(
            f"{lang}: spaCy can't create this language's tokenizer: {one_line(error)}",
            hint="Use a code such as en, de or xx (any language), and install the packages that "
            "its tokenizer needs: https://spacy.io/usage/models#languages",
        ) from error
    path = str(source.path)
    settings = {} if words_per_batch is None else {"words_per_batch": words_per_batch}
    nlp.add_pipe("sentencizer")
    wordpiecer = TransformersWordPiecer.from_pretrained(nlp.vocab, path)
    tok2vec = TransformersTok2Vec.from_pretrained(nlp.vocab, path, **settings)
    for component in (wordpiecer, tok2vec):
        # Save the given name: the resolved path exists only on this machine.
        component.trf_name = encoder
        nlp.add_pipe(component)
    # Packages add the language code as a prefix themselves.
    nlp.meta["name"] = (name or default_name(source.title)).removeprefix(f"{lang}_")
    facts = {
        "name": source.title,
        "source": source.origin,
        "revision": source.revision,
        **describe_encoder(tok2vec),
    }
    nlp.meta["trf"] = {"encoder": facts}
    return nlp, facts


def default_name(encoder: str) -> str:
    """Derive a pipeline's name from its encoder's: "bert-base-uncased" -> trf_bertbaseuncased"""
    return "trf_" + (re.sub(r"[^a-z0-9]", "", encoder.lower()) or "encoder")
