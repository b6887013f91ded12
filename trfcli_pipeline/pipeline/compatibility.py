"""Checks that the components of a pipeline fit together."""

from spacy.language import Language
from spacy.pipeline import TextCategorizer

from trfcli_pipeline.pipeline.textcat_checks import check_labels
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.tokenizer_checks import check_tokenizers


def check_components(nlp: Language) -> None:
    """Check that tokenizer, encoder and classifiers fit together, as far as they are loaded.

    Raises:
        PipelineError: They don't.
    """
    for _, pipe in nlp.pipeline:
        if isinstance(pipe, TransformersTok2Vec) and pipe.model.shim.is_loaded:
            check_tokenizers(nlp, pipe.transformers_model.config)
        elif isinstance(pipe, TextCategorizer):
            check_labels(pipe.name, pipe.labels, pipe.model)
