"""spaCy pipelines on pretrained transformers.

spaCy finds the components and the language `trf` by the entry points of this package. The
`._.trf_*` attributes of Doc, Span and Token are registered when spaCy creates any pipeline, or when
the first name is imported from this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trfcli_pipeline.encoder.activations import Activations
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

# spaCy and torch take seconds to import, and much of the package works without them.
_MODULES = {
    "Activations": "encoder.activations",
    "TransformersLanguage": "pipeline.language",
    "TransformersTextCategorizer": "pipeline.textcat",
    "TransformersTok2Vec": "pipeline.tok2vec",
    "TransformersWordPiecer": "pipeline.wordpiecer",
    "verify": "pipeline.saved",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(f"{__name__}.pipeline.factories")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
