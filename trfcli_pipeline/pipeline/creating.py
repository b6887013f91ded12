"""Create pipelines from pretrained encoders."""

import re
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.errors import PipelineError, one_line
from trfcli_pipeline.huggingface import sources
from trfcli_pipeline.pipeline.loading import describe_encoder

if TYPE_CHECKING:
    from trfcli_pipeline.pipeline.language import TransformersLanguage


def create_pipeline(
    encoder: str,
    *,
    lang: str = "en",
    name: str | None = None,
    words_per_batch: int | str | None = None,
    revision: str | None = None,
) -> tuple["TransformersLanguage", dict[str, Any]]:
    """Create a pipeline from a pretrained encoder: a sentencizer, `trf_wordpiecer`, `trf_tok2vec`.

    Args: See `tasks.init_model.init_model`.

    Returns:
        The pipeline, and the facts about its encoder that are in its meta: "name", "source",
        "revision", and those of `describe_encoder`.

    Raises:
        EncoderError: The encoder can't be found or used.
        PipelineError: spaCy can't create the tokenizer of `lang`.
    """
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
