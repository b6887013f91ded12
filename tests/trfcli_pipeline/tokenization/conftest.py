from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from spacy.language import Language

from trfcli_pipeline import TransformersLanguage


@pytest.fixture(scope="module")
def make(family_encoder: Callable[[str], Path]) -> Callable[..., Language]:
    """Create a pipeline for a family of encoders; cached for the same settings."""

    @cache
    def make_pipeline(name: str, *, encoder: bool = False, **settings: Any) -> Language:
        path = str(family_encoder(name))
        nlp = TransformersLanguage(meta={"lang": "xx"})
        nlp.add_pipe("sentencizer")
        nlp.add_pipe("trf_wordpiecer", config={"trf_name": path, **settings})
        if encoder:
            nlp.add_pipe("trf_tok2vec", config={"trf_name": path})
        nlp.initialize()
        return nlp

    return make_pipeline
