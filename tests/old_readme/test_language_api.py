"""The last part of that README: the language and entry points."""

import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import transformers as hf
from classifiers import encoder_weights, same
from old_readme_pipelines import TEXT, TRAIN_DATA, add_textcat, set_up
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import get_lang_class

from trfcli_pipeline import (
    TransformersLanguage,
    TransformersTextCategorizer,
    TransformersTok2Vec,
    TransformersWordPiecer,
)

# --- TransformersLanguage ---


def test_transformers_language_is_a_subclass_of_language() -> None:
    assert issubclass(TransformersLanguage, Language)


def test_update_runs_the_encoder_before_the_other_components(seen: dict[str, Any]) -> None:
    assert seen["tensor"].any()
    assert seen["trf_last_hidden_state"].any()


def test_update_runs_the_backward_pass_after_the_other_components(tiny_bert: Path) -> None:
    nlp = set_up(tiny_bert)
    nlp.add_pipe("old_readme_head")
    nlp.add_pipe("old_readme_head", name="another")
    nlp.update([TEXT], [{}], sgd=nlp.resume_training())
    first, second = (nlp.get_pipe(name).seen[0] for name in ("old_readme_head", "another"))
    # The last component still sees the gradient, which includes that of the first.
    assert not first["trf_d_last_hidden_state"].any()
    np.testing.assert_array_equal(second["trf_d_last_hidden_state"], -1.0)


def test_install_extensions_ran_at_the_import_and_is_a_static_method() -> None:
    assert Doc.has_extension("trf_alignment")
    assert isinstance(
        inspect.getattr_static(TransformersLanguage, "install_extensions"), staticmethod
    )
    TransformersLanguage.install_extensions()


@pytest.mark.parametrize("way", ["meta", "keyword"])
def test_transformers_language_takes_trf_name_from_meta_or_keyword(
    tiny_bert: Path, way: str
) -> None:
    name = str(tiny_bert)
    if way == "meta":
        nlp = TransformersLanguage(meta={"lang": "xx", "trf_name": name})
    else:
        nlp = TransformersLanguage(trf_name=name, meta={"lang": "xx"})
    wordpiecer = nlp.create_pipe("trf_wordpiecer")
    wordpiecer.initialize(list)
    assert len(wordpiecer.tokenizer) == len(hf.AutoTokenizer.from_pretrained(name))


@pytest.fixture
def untrained(tiny_bert: Path) -> Language:
    nlp = add_textcat(set_up(tiny_bert))
    nlp.resume_training()
    return nlp


TEXTS_AND_CATS: Any = tuple(zip(*TRAIN_DATA, strict=True))


def test_update_takes_docs_and_dictionaries(untrained: Language) -> None:
    texts, annotations = TEXTS_AND_CATS
    docs = [untrained.make_doc(text) for text in texts]
    assert untrained.update(docs, annotations)["trf_textcat"] == pytest.approx(np.log(2))


def test_update_takes_examples(untrained: Language) -> None:
    docs = [untrained.make_doc(text) for text, _ in TRAIN_DATA]
    pairs = zip(docs, TRAIN_DATA, strict=True)
    batch = [Example.from_dict(doc, annotation) for doc, (_, annotation) in pairs]
    assert untrained.update(batch)["trf_textcat"] == pytest.approx(np.log(2))


def test_update_takes_a_dropout_rate(untrained: Language) -> None:
    untrained.update(*TEXTS_AND_CATS, drop=0.25)
    assert untrained.get_pipe("trf_tok2vec").model.attrs["dropout_rate"] == 0.25


def test_update_takes_an_optimizer(untrained: Language) -> None:
    before = encoder_weights(untrained)
    optimizer = untrained.create_optimizer()
    optimizer.trf_lr = 0.0
    untrained.update(*TEXTS_AND_CATS, sgd=optimizer)
    assert same(encoder_weights(untrained), before)
    assert untrained(TEXT).cats != {"POSITIVE": 0.5, "NEGATIVE": 0.5}


def test_update_adds_losses_by_component(untrained: Language) -> None:
    losses: dict[str, float] = {}
    untrained.update(*TEXTS_AND_CATS, sgd=False, losses=losses)
    once = losses["trf_textcat"]
    untrained.update(*TEXTS_AND_CATS, sgd=False, losses=losses)
    assert losses["trf_textcat"] == pytest.approx(2 * once)


def test_update_takes_settings_for_components(untrained: Language) -> None:
    untrained.update(*TEXTS_AND_CATS, drop=0.25, component_cfg={"trf_tok2vec": {"drop": 0.5}})
    assert untrained.get_pipe("trf_tok2vec").model.attrs["dropout_rate"] == 0.5


# --- Entry points ---


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("trf_wordpiecer", TransformersWordPiecer),
        ("trf_tok2vec", TransformersTok2Vec),
        ("trf_textcat", TransformersTextCategorizer),
    ],
)
def test_entry_points_tell_any_language_how_to_create_components(name: str, kind: type) -> None:
    assert name in entry_points(group="spacy_factories").names
    assert isinstance(spacy.blank("xx").create_pipe(name), kind)


def test_an_entry_point_tells_spacy_of_the_language() -> None:
    (entry_point,) = entry_points(group="spacy_languages", name="trf")
    assert entry_point.load() is get_lang_class("trf") is TransformersLanguage


def test_custom_models_can_have_the_components_in_their_pipelines(
    tiny_bert: Path, tmp_path: Path
) -> None:
    custom = spacy.blank("xx")
    custom.add_pipe("sentencizer")
    for name in ("trf_wordpiecer", "trf_tok2vec"):
        custom.add_pipe(name, config={"trf_name": str(tiny_bert)})
    custom.initialize()
    custom.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.pipe_names == custom.pipe_names
    np.testing.assert_array_equal(again(TEXT).tensor, custom(TEXT).tensor)
