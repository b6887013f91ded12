"""spaCy pipelines around pretrained transformers.

The components are registered with spaCy by importing this package, and so are the `._.trf_*`
attributes of Doc, Span and Token.
"""

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.pipeline.language import TransformersLanguage
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer

__all__ = [
    "Activations",
    "TransformersLanguage",
    "TransformersTextCategorizer",
    "TransformersTok2Vec",
    "TransformersWordPiecer",
]
