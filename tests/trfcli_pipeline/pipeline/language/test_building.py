"""The two ways of building a pipeline."""

from pathlib import Path

import numpy as np
import pytest
import spacy
from directories import snapshot
from languages import DATA, TEXTS, examples, make_like_spacy_2, make_like_spacy_3, predictions
from spacy.tokens import Doc
from spacy.training import Example

from trfcli_pipeline import (
    TransformersLanguage,
    TransformersTextCategorizer,
    TransformersTok2Vec,
    TransformersWordPiecer,
)
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


def test_both_ways_of_building_a_pipeline_agree(tiny_bert: Path, tmp_path: Path) -> None:
    name = str(tiny_bert)
    old, new = make_like_spacy_2(name), make_like_spacy_3(name, spacy.blank("trf"))
    assert old.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"]
    assert old.config == new.config
    assert old.meta == new.meta
    optimizer = TransformersOptimizer()
    old.update(*zip(*[(text, {"cats": cats}) for text, cats in DATA], strict=True), sgd=optimizer)
    new.update(examples(new), sgd=TransformersOptimizer())
    assert predictions(old) == predictions(new)
    old.to_disk(tmp_path / "old")
    new.to_disk(tmp_path / "new")
    assert snapshot(tmp_path / "old") == snapshot(tmp_path / "new")
    assert old.to_bytes() == new.to_bytes()


def test_trf_name_can_be_given_once(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer")
    nlp.add_pipe("trf_tok2vec")
    nlp.initialize()
    expected = make_like_spacy_3(str(tiny_bert))(TEXTS[0])
    np.testing.assert_array_equal(nlp(TEXTS[0]).tensor, expected.tensor)


def test_components_built_by_hand_can_be_placed_and_named(tiny_bert: Path) -> None:
    nlp = TransformersLanguage()
    wordpiecer = TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert))
    tok2vec = TransformersTok2Vec.from_pretrained(nlp.vocab, str(tiny_bert), words_per_batch=50)
    assert nlp.add_pipe(tok2vec, "encoder") is tok2vec
    assert nlp.add_pipe(wordpiecer, "pieces", first=True) is wordpiecer
    nlp.add_pipe(nlp.create_pipe("sentencizer"), before="pieces")
    assert nlp.pipe_names == ["sentencizer", "pieces", "encoder"]
    assert nlp.get_pipe("encoder") is tok2vec
    assert nlp.get_pipe_config("encoder")["words_per_batch"] == 50
    assert nlp.get_pipe_meta("pieces").factory == "trf_wordpiecer"
    assert nlp("I love it. I hate it.")._.trf_pooler_output.shape[0] == 2
    # The components know their new names, which losses and sentence setters depend on.
    eg = Example.from_dict(nlp.make_doc("I love it. I hate it."), {})
    assert nlp.update([eg], annotates=["encoder"], sgd=False) == {"encoder": 0.0}
    wordpiecer.update([eg])
    assert len(eg.predicted._.trf_segments) == 2


def test_a_component_without_a_factory_is_refused() -> None:
    nlp = TransformersLanguage()

    def unknown(doc: Doc) -> Doc:
        return doc

    with pytest.raises(ValueError, match="E966"):
        nlp.add_pipe(unknown)
    with pytest.raises(ValueError, match="E966"):
        nlp.add_pipe(TransformersTextCategorizer(nlp.vocab, name="own"))
    assert nlp.pipe_names == []


def test_a_name_can_be_used_once(tiny_bert: Path) -> None:
    nlp = TransformersLanguage()
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert)))
    with pytest.raises(ValueError, match="E007"):
        nlp.add_pipe(TransformersWordPiecer(nlp.vocab, str(tiny_bert)))
    assert nlp.pipe_names == ["trf_wordpiecer"]
