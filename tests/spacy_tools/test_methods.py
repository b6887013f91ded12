"""spaCy's methods on our pipelines."""

from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
import srsly
from spacy import displacy
from spacy.language import Language
from tiny_ner import NER, TEXT, TOKEN_VECTORS, examples, make_nlp, same_predictions
from typer.testing import Result

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


def test_select_pipes(trained: Language) -> None:
    with trained.select_pipes(disable=["ner"]):
        doc = trained(TEXT)
        assert doc.cats
        assert not doc.ents
    with trained.select_pipes(enable=["sentencizer", "trf_wordpiecer", "trf_tok2vec", "ner"]):
        doc = trained(TEXT)
        assert not doc.cats
        assert doc.ents
    with trained.select_pipes(enable=["sentencizer", "trf_wordpiecer"]):
        assert trained(TEXT)._.trf_word_pieces
    assert trained(TEXT).cats


def test_replace_pipe(model: Path, tiny_bert: Path) -> None:
    nlp = spacy.load(model)
    ensemble = {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": True,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
        "tok2vec": TOKEN_VECTORS,
    }
    replaced = nlp.replace_pipe("trf_textcat", "textcat", config={"model": ensemble})
    replaced.initialize(lambda: examples(nlp), nlp=nlp)
    losses = [
        nlp.update(examples(nlp), sgd=TransformersOptimizer())["trf_textcat"] for _ in range(5)
    ]
    assert losses[-1] < losses[0]
    encoder = nlp.replace_pipe("trf_tok2vec", "trf_tok2vec", config={"trf_name": str(tiny_bert)})
    encoder.initialize(lambda: examples(nlp), nlp=nlp)
    assert encoder.listening_components == ["trf_textcat", "ner"]
    assert nlp(TEXT).cats.keys() == {"GOOD", "BAD"}


def test_to_bytes(trained: Language) -> None:
    again = TransformersLanguage.from_config(trained.config, meta=trained.meta)
    again.from_bytes(trained.to_bytes())
    assert same_predictions(again, trained)
    for name in ("trf_tok2vec", "trf_textcat", "ner"):
        assert again.get_pipe(name).to_bytes() == trained.get_pipe(name).to_bytes()


def test_displacy(trained: Language) -> None:
    html = displacy.render(trained(TEXT), style="ent", jupyter=False)
    assert "ORG" in html
    assert "Apple" in html
    doc = trained(TEXT)
    doc.spans["sc"] = list(doc.ents)
    assert "ORG" in displacy.render(doc, style="span", jupyter=False)


def test_replace_listeners(trained: Language) -> None:
    with pytest.raises(PipelineError, match="ner: can't have its own copy of trf_tok2vec"):
        trained.replace_listeners("trf_tok2vec", "ner", ["model.tok2vec"])
    trained.replace_listeners("trf_tok2vec", "ner", [])
    assert trained(TEXT).ents


# --- components of another pipeline ---


def test_components_can_be_sourced(trained: Language, model: Path) -> None:
    source = spacy.load(model)
    nlp = spacy.blank("xx", vocab=source.vocab)
    for name in source.pipe_names:
        nlp.add_pipe(name, source=source)
    assert same_predictions(nlp, trained)


@pytest.mark.parametrize("lang", ["trf", "xx"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_new_head_trains_on_a_sourced_encoder(
    spacy_cli: Callable[..., Result],
    model: Path,
    data: Path,
    tmp_path: Path,
    lang: str,
    frozen: bool,
) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"}) if lang == "trf" else spacy.blank(lang)
    config = nlp.config
    sourced = ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    config["nlp"]["pipeline"] = [*sourced, "ner", "trf_textcat"]
    config["components"] = {name: {"source": str(model)} for name in sourced}
    config["components"]["ner"] = {"factory": "ner", "model": NER}
    config["components"]["trf_textcat"] = {"factory": "trf_textcat"}
    config["corpora"] = {
        name: {"@readers": "spacy.Corpus.v1", "path": str(data)} for name in ("train", "dev")
    }
    config["training"] |= {"max_steps": 2, "eval_frequency": 1}
    config["training"]["optimizer"] = {"@optimizers": "trfcli.AdamW.v1"}
    if frozen:
        config["training"]["frozen_components"] = sourced
        if lang != "trf":
            config["training"]["annotating_components"] = sourced
    config.to_disk(tmp_path / "config.cfg")
    spacy_cli("train", tmp_path / "config.cfg", "--output", tmp_path / "out")
    trained = spacy.load(tmp_path / "out" / "model-last")
    before, after = (
        each.get_pipe("trf_tok2vec").to_bytes() for each in (spacy.load(model), trained)
    )
    assert (before == after) == frozen
    assert trained.get_pipe("trf_textcat").model.get_ref("output_layer").get_param("W").any()
    assert trained(TEXT).cats.keys() == {"GOOD", "BAD"}


# --- meta ---


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_meta_stays_the_same_however_often_it_is_saved(
    tiny_bert: Path, tmp_path: Path, lang: str
) -> None:
    nlp = make_nlp(tiny_bert, lang)
    nlp.initialize()
    metas = []
    for number in range(3):
        nlp.to_disk(tmp_path / str(number))
        meta = srsly.read_json(tmp_path / str(number) / "meta.json")
        if lang == "trf":
            # transformers adds defaults to its tokenizer_config.json when it saves it again.
            del meta["trf"]["files"]["trf_wordpiecer/tokenizer/tokenizer_config.json"]
        metas.append(meta)
        nlp = spacy.load(tmp_path / str(number))
    assert metas[0] == metas[1] == metas[2]
    assert metas[0]["lang"] == "xx"
    if lang == "trf":
        (requirement,) = metas[0]["requirements"]
        assert requirement.startswith("trfcli>=")
