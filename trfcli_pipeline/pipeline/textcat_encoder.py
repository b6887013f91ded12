"""Connect a text classifier to the encoder of its pipeline."""

from spacy.language import Language

from trfcli_pipeline.heads.architectures import ClassifierModel, bind_encoder
from trfcli_pipeline.pipeline.components import require_component
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer


def connect_to_encoder(model: ClassifierModel, architecture: str, nlp: Language) -> None:
    """Tell a classifier what it has to know about the encoder of its pipeline.

    Args:
        model: The classifier.
        architecture: The name that it was made by.
        nlp: The pipeline.

    Raises:
        PipelineError: The pipeline has no encoder, or one that doesn't provide what the
            architecture reads.
    """
    encoder = require_component(nlp, TransformersTok2Vec)
    tokenizer = require_component(nlp, TransformersWordPiecer).tokenizer
    bind_encoder(
        model,
        architecture,
        width=encoder.token_vector_width,
        class_token_id=tokenizer.cls_token_id,
        has_pooler=getattr(encoder.transformers_model, "pooler", None) is not None,
        kept=encoder.kept,
    )
