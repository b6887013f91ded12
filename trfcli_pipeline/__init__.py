"""spaCy pipelines around pretrained transformers.

The components are registered with spaCy by importing this package, and so are the `._.trf_*`
attributes of Doc, Span and Token.
"""

from .activations import Activations
from .components.textcat import TransformersTextCategorizer
from .components.tok2vec import TransformersTok2Vec
from .components.wordpiecer import TransformersWordPiecer
from .language import TransformersLanguage

__all__ = [
    "Activations",
    "TransformersLanguage",
    "TransformersTextCategorizer",
    "TransformersTok2Vec",
    "TransformersWordPiecer",
]
