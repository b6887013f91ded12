"""Saving and loading of components without some of their parts."""

from pathlib import Path
from typing import Any

import pytest
from classifiers import make, multilingual
from spacy.language import Language

PARTS = [("trf_wordpiecer", "tokenizer"), ("trf_tok2vec", "model")]


def content(component: Any) -> Any:
    """Return what is in the part that isn't settings."""
    is_encoder = component.name == "trf_tok2vec"
    return component.model.to_bytes() if is_encoder else component.tokenizer.get_vocab()


@pytest.fixture(scope="module")
def nlp(tiny_bert: Path) -> Language:
    return make(multilingual(), tiny_bert)


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_excluded_parts_are_not_saved(nlp: Language, tmp_path: Path, name: str, part: str) -> None:
    component = nlp.get_pipe(name)
    for excluded, kept in ((part, "cfg"), ("cfg", part)):
        path = tmp_path / excluded
        component.to_disk(path, exclude=[excluded])
        assert [each.name for each in path.iterdir()] == [kept]
        assert len(component.to_bytes(exclude=[excluded])) < len(component.to_bytes())
    assert component.to_bytes(exclude=["vocab"]) == component.to_bytes()


@pytest.mark.parametrize("way", ["disk", "bytes"])
@pytest.mark.parametrize(("name", "part"), PARTS)
def test_excluded_parts_are_not_loaded(
    nlp: Language, tiny_gpt2: Path, tmp_path: Path, name: str, part: str, way: str
) -> None:
    saved, other = nlp.get_pipe(name), make(multilingual(), tiny_gpt2).get_pipe(name)

    def load(exclude: str) -> None:
        if way == "disk":
            other.from_disk(tmp_path, exclude=[exclude])
        else:
            other.from_bytes(saved.to_bytes(), exclude=[exclude])

    saved.to_disk(tmp_path)
    before = content(other)
    load(part)
    assert content(other) == before
    assert other.trf_name == saved.trf_name
    other.trf_name = "mine"
    load("cfg")
    assert content(other) == content(saved)
    assert other.trf_name == "mine"


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_what_was_excluded_can_be_loaded_without(nlp: Language, name: str, part: str) -> None:
    component = nlp.get_pipe(name)
    before = component.to_bytes()
    component.from_bytes(component.to_bytes(exclude=[part]), exclude=[part])
    assert component.to_bytes() == before
