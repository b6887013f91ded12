"""Components that don't fit together are refused where the pipeline is built."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from classifiers import examples, make, multilingual
from spacy.language import Language
from transformers import AutoConfig, AutoModel, AutoTokenizer

from trfcli_pipeline import TransformersTok2Vec, TransformersWordPiecer
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.pipeline.loading import load_pipeline

OTHER_MODEL = "its tokenizer is that of another model"


def initialize(nlp: Language, tokenizer: Path, encoder: Path) -> None:
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tokenizer)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(encoder)})
    nlp.initialize()


def add(nlp: Language, tokenizer: Path, encoder: Path) -> None:
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, str(tokenizer)))
    nlp.add_pipe(TransformersTok2Vec.from_pretrained(nlp.vocab, str(encoder)))


def source(nlp: Language, tokenizer: Path, encoder: Path) -> None:
    one, other = make(multilingual(), tokenizer), make(multilingual(), encoder)
    nlp.add_pipe("trf_wordpiecer", source=one)
    nlp.add_pipe("trf_tok2vec", source=other)


@pytest.mark.parametrize("build", [initialize, add, source])
def test_tokenizer_and_encoder_of_different_models(
    tiny_bert: Path, tiny_gpt2: Path, build: Callable[[Language, Path, Path], None]
) -> None:
    for tokenizer, encoder in [(tiny_bert, tiny_gpt2), (tiny_gpt2, tiny_bert)]:
        with pytest.raises(PipelineError, match=OTHER_MODEL) as caught:
            build(multilingual(), tokenizer, encoder)
        assert "same trf_name" in str(caught.value)


def test_initialize_checks_in_any_language(tiny_bert: Path, tiny_gpt2: Path) -> None:
    with pytest.raises(PipelineError, match=OTHER_MODEL):
        initialize(spacy.blank("xx"), tiny_gpt2, tiny_bert)


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_an_exchanged_tokenizer_is_found_when_loading(
    tiny_bert: Path, tiny_gpt2: Path, tmp_path: Path, lang: str
) -> None:
    make(spacy.blank(lang), tiny_bert).to_disk(tmp_path / "bert")
    make(spacy.blank(lang), tiny_gpt2).to_disk(tmp_path / "gpt2")
    shutil.rmtree(tmp_path / "bert/trf_wordpiecer")
    shutil.copytree(tmp_path / "gpt2/trf_wordpiecer", tmp_path / "bert/trf_wordpiecer")
    with pytest.raises(PipelineError, match=OTHER_MODEL):
        spacy.load(tmp_path / "bert")
    with pytest.raises(PipelineError, match=OTHER_MODEL):
        load_pipeline(str(tmp_path / "bert"))


def with_added_token(encoder: Path, path: Path, **token: str) -> Path:
    shutil.copytree(encoder, path)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    if token:
        tokenizer.add_special_tokens(token)
    else:
        tokenizer.add_tokens(["marvelous"])
    tokenizer.save_pretrained(path)
    return path


def test_a_tokenizer_that_is_larger_than_the_vocabulary(tiny_bert: Path, tmp_path: Path) -> None:
    path = with_added_token(tiny_bert, tmp_path / "larger")
    with pytest.raises(PipelineError, match="1 wordpieces that the encoder doesn't know"):
        initialize(multilingual(), path, path)


def test_tokens_that_never_occur_need_no_place_in_the_vocabulary(
    tiny_gpt2: Path, tmp_path: Path
) -> None:
    """Many GPT-2 tokenizers have a padding token that the model was never given."""
    path = with_added_token(tiny_gpt2, tmp_path / "padded", pad_token="[PAD]")
    nlp = multilingual()
    initialize(nlp, path, path)
    assert nlp("I love it").tensor.any()


def test_segments_that_are_longer_than_the_encoder_accepts(tiny_bert: Path, tmp_path: Path) -> None:
    shorter = tmp_path / "shorter"
    config = AutoConfig.from_pretrained(tiny_bert, max_position_embeddings=32)
    AutoModel.from_config(config).save_pretrained(shorter)
    with pytest.raises(PipelineError, match="up to 64 wordpieces; the encoder accepts 32"):
        initialize(multilingual(), tiny_bert, shorter)


# --- two encoders ---


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_a_second_encoder_is_refused(tiny_bert: Path, lang: str) -> None:
    nlp = make(spacy.blank(lang), tiny_bert)
    with pytest.raises(
        PipelineError, match="other: a pipeline can have only one encoder"
    ) as caught:
        nlp.add_pipe("trf_tok2vec", name="other")
    assert "nlp.remove_pipe('other')" in str(caught.value)
    nlp.remove_pipe("other")
    assert nlp("I love it").tensor.any()


def test_a_sourced_second_encoder_is_refused(tiny_bert: Path, tiny_gpt2: Path) -> None:
    nlp, other = make(multilingual(), tiny_bert), make(multilingual(), tiny_gpt2)
    with pytest.raises(PipelineError, match="second: a pipeline can have only one encoder"):
        nlp.add_pipe("trf_tok2vec", name="second", source=other)


def test_a_config_with_two_encoders_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    make(multilingual(), tiny_bert).to_disk(tmp_path)
    config = spacy.util.load_config(tmp_path / "config.cfg")
    config["nlp"]["pipeline"].append("other")
    config["components"]["other"] = dict(config["components"]["trf_tok2vec"])
    with pytest.raises(PipelineError, match="only one encoder"):
        spacy.util.load_model_from_config(config)


# --- classifiers ---


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_a_classifier_for_another_width(
    tiny_bert: Path, family_encoder: Callable[[str], Path], lang: str
) -> None:
    nlp = make(spacy.blank(lang), family_encoder("bert"))
    other = make(multilingual(), tiny_bert, "textcat")
    with pytest.raises(PipelineError, match="textcat: was trained with an encoder of width 16"):
        nlp.add_pipe("textcat", source=other)


def test_duplicate_labels_are_refused(tiny_bert: Path) -> None:
    nlp = make(multilingual(), tiny_bert)
    textcat = nlp.add_pipe("trf_textcat")
    with pytest.raises(DataError, match="duplicate labels: GOOD"):
        textcat.initialize(lambda: examples(nlp), nlp=nlp, labels=["GOOD", "BAD", "GOOD"])
    textcat.initialize(lambda: examples(nlp), nlp=nlp, labels=["GOOD", "BAD"])
    assert textcat.labels == ("GOOD", "BAD")


@pytest.mark.parametrize("labels", [["GOOD", "GOOD"], ["GOOD"], ["GOOD", "BAD", "FAIR"]])
def test_a_classifier_with_other_labels_than_outputs(
    tiny_bert: Path, tmp_path: Path, labels: list[str]
) -> None:
    make(multilingual(), tiny_bert, "textcat").to_disk(tmp_path)
    path = tmp_path / "textcat/cfg"
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": labels}))
    with pytest.raises(PipelineError, match="different labels, but 2 outputs"):
        spacy.load(tmp_path)


def test_unknown_wordpieces_are_an_error(tiny_bert: Path) -> None:
    nlp = make(multilingual(), tiny_bert)
    doc = nlp("I love it")
    doc._.trf_word_pieces = [*doc._.trf_word_pieces[:-1], 130]
    with pytest.raises(PipelineError, match="has the wordpiece 130, but the encoder knows only"):
        nlp.get_pipe("trf_tok2vec")(doc)
