from pathlib import Path

import pytest
from spacy.language import Language
from wordpieces import wordpieces_only

from trfcli_pipeline import TransformersLanguage


@pytest.fixture(scope="module")
def bert(tiny_bert: Path) -> Language:
    return wordpieces_only(tiny_bert, TransformersLanguage(meta={"lang": "xx"}))


@pytest.fixture(scope="module")
def gpt2(tiny_gpt2: Path) -> Language:
    return wordpieces_only(tiny_gpt2, TransformersLanguage(meta={"lang": "xx"}))


@pytest.fixture(params=["bert", "gpt2"])
def pieces(request: pytest.FixtureRequest) -> Language:
    return request.getfixturevalue(request.param)
