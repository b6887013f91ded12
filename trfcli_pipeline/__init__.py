"""spaCy pipelines on pretrained transformers.

Importing this package registers the `._.trf_*` attributes of Doc, Span and Token. spaCy finds the
components and the language `trf` by the entry points of this package.
"""

from trfcli_pipeline.encoder.activations import Activations

# Importing the factories registers them.
from trfcli_pipeline.pipeline import factories  # noqa: F401
from trfcli_pipeline.pipeline.language import TransformersLanguage
from trfcli_pipeline.pipeline.saved import verify
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer

__all__ = [
    "Activations",
    "TransformersLanguage",
    "TransformersTextCategorizer",
    "TransformersTok2Vec",
    "TransformersWordPiecer",
    "verify",
]
