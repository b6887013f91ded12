"""Classifiers with random weights."""

from pathlib import Path

import pytest
from spacy.language import Language
from textcats import make


@pytest.fixture(scope="session")
def exclusive(tiny_bert: Path) -> Language:
    return make(tiny_bert, exclusive_classes=True)


@pytest.fixture(scope="session")
def multilabel(tiny_bert: Path) -> Language:
    return make(tiny_bert, exclusive_classes=False)
