"""A trained pipeline."""

from pathlib import Path

import pytest
from languages import examples, make_like_spacy_3
from spacy.language import Language

from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


@pytest.fixture(scope="session")
def trained(tiny_bert: Path) -> Language:
    nlp = make_like_spacy_3(str(tiny_bert))
    for _ in range(2):
        nlp.update(examples(nlp), sgd=TransformersOptimizer())
    return nlp
