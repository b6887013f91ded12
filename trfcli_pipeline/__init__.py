"""spaCy pipelines around pretrained transformers.

The components are registered with spaCy by importing this package, and so are the `._.trf_*`
attributes of Doc, Span and Token.
"""

from trfcli_pipeline.activations import Activations
from trfcli_pipeline.components.textcat import TransformersTextCategorizer
from trfcli_pipeline.components.tok2vec import TransformersTok2Vec
from trfcli_pipeline.components.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.language import TransformersLanguage

__all__ = [
    "Activations",
    "TransformersLanguage",
    "TransformersTextCategorizer",
    "TransformersTok2Vec",
    "TransformersWordPiecer",
]
