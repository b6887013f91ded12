"""The underlying language and the meta data."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Config

from trfcli_pipeline import TransformersLanguage

LANGUAGES = ["en", "de", "fr"]


TEXT_OF = {
    "en": "I don't like Mr. Smith's cat.",
    "de": "Das ist z.B. Herrn Müllers Katze, bzw. gibt's die.",
    "fr": "L'été s'achève aujourd'hui, qu'est-ce que c'est ?",
}


blank = cache(spacy.blank)


def is_like_blank(nlp: Language, lang: str) -> bool:
    """Check that the pipeline processes text like spaCy's own for the language."""
    text = TEXT_OF[lang]
    one, other = nlp.make_doc(text), blank(lang).make_doc(text)
    assert nlp.lang == "trf"
    assert nlp.meta["lang"] == lang
    assert nlp.vocab.lang == lang
    assert [token.text for token in one] == [token.text for token in other]
    for token, expected in zip(one, other, strict=True):
        for attribute in ("norm_", "lower_", "prefix_", "is_stop", "like_num", "lang_", "is_punct"):
            assert getattr(token, attribute) == getattr(expected, attribute)
    assert nlp.vocab.get_noun_chunks == blank(lang).vocab.get_noun_chunks
    return True


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_underlying_language_reads_as_in_spacy(lang: str) -> None:
    nlp = TransformersLanguage(meta={"lang": lang})
    assert is_like_blank(nlp, lang)
    assert nlp.Defaults.stop_words == blank(lang).Defaults.stop_words
    assert type(nlp.tokenizer) is type(blank(lang).tokenizer)


def test_noun_chunks_are_those_of_the_language() -> None:
    words = ["the", "dog", "loves", "Katze"]
    chunks = {}
    for lang in ("en", "de"):
        for nlp in (TransformersLanguage(meta={"lang": lang}), blank(lang)):
            doc = Doc(
                nlp.vocab,
                words,
                pos=["DET", "NOUN", "VERB", "NOUN"],
                deps=["det", "nsubj", "ROOT", "oa"],
                heads=[1, 2, 2, 2],
            )
            chunks[lang, nlp.lang] = [chunk.text for chunk in doc.noun_chunks]
    assert chunks["en", "trf"] == chunks["en", "en"] == ["the dog"]
    # "oa" is a German dependency label.
    assert chunks["de", "trf"] == chunks["de", "de"]
    assert "Katze" in chunks["de", "trf"]


@pytest.mark.parametrize("lang", ["de"])
@pytest.mark.parametrize("way", ["load", "from_disk", "from_bytes", "from_config", "config alone"])
def test_the_language_survives(tmp_path: Path, lang: str, way: str) -> None:
    nlp = TransformersLanguage(meta={"lang": lang, "name": "mine"})
    nlp.add_pipe("sentencizer")
    match way:
        case "load":
            nlp.to_disk(tmp_path)
            again = spacy.load(tmp_path)
        case "from_disk":
            nlp.to_disk(tmp_path)
            again = TransformersLanguage(meta={"lang": lang})
            again.add_pipe("sentencizer")
            again.from_disk(tmp_path)
        case "from_bytes":
            again = TransformersLanguage(meta={"lang": lang})
            again.add_pipe("sentencizer")
            again.from_bytes(nlp.to_bytes())
        case "from_config":
            again = TransformersLanguage.from_config(nlp.config, meta=nlp.meta)
        case "config alone":
            config = Config().from_str(nlp.config.to_str(), interpolate=False)
            again = spacy.util.load_model_from_config(config)
    assert isinstance(again, TransformersLanguage)
    assert is_like_blank(again, lang)
    assert again.config == nlp.config
    assert again.config["nlp"]["lang"] == "trf"
    if way != "config alone":
        assert again.meta["name"] == "mine"
    # A second round trip.
    again.to_disk(tmp_path / "again")
    assert is_like_blank(spacy.load(tmp_path / "again"), lang)


def test_the_language_of_the_config_is_that_of_the_pipeline() -> None:
    nlp = TransformersLanguage(meta={"lang": "de"})
    assert nlp.config["nlp"]["tokenizer"] == {
        "@tokenizers": "trfcli.LanguageTokenizer.v1",
        "lang": "de",
    }


def test_an_empty_vocab_can_be_used() -> None:
    nlp = TransformersLanguage(Vocab(), meta={"lang": "de"})
    assert nlp.meta["lang"] == "de"
    assert nlp.config["nlp"]["tokenizer"]["lang"] == "de"
    text = TEXT_OF["de"]
    assert [each.text for each in nlp(text)] == [each.text for each in spacy.blank("de")(text)]


def test_a_vocab_of_another_language_is_refused() -> None:
    with pytest.raises(ValueError, match="E150"):
        TransformersLanguage(spacy.blank("de").vocab, meta={"lang": "en"})


def test_blank_creates_the_language() -> None:
    nlp = spacy.blank("trf")
    assert isinstance(nlp, TransformersLanguage)
    assert is_like_blank(nlp, "en")
    assert nlp.config == TransformersLanguage().config
    assert is_like_blank(spacy.blank("trf", meta={"lang": "de"}), "de")


def test_other_pipelines_are_left_alone() -> None:
    TransformersLanguage(meta={"lang": "de"})
    assert TransformersLanguage.lang == "trf"
    assert not TransformersLanguage.Defaults.stop_words
    assert spacy.blank("en").lang == "en"
    assert spacy.blank("en").config["nlp"]["tokenizer"] == {"@tokenizers": "spacy.Tokenizer.v1"}


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(ImportError, match="xyz"):
        TransformersLanguage(meta={"lang": "xyz"})


def test_a_vocab_of_another_pipeline_can_be_used() -> None:
    vocab = spacy.blank("de").vocab
    nlp = TransformersLanguage(vocab)
    assert nlp.vocab is vocab
    assert is_like_blank(nlp, "de")


def test_requirements_name_this_package_once(tmp_path: Path) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    for number in range(3):
        nlp.to_disk(tmp_path / str(number))
        nlp = spacy.load(tmp_path / str(number))
    (requirement,) = srsly.read_json(tmp_path / "2" / "meta.json")["requirements"]
    assert requirement.startswith("trfcli>=")
    major, minor = version("trfcli").split(".")[:2]
    assert f">={major}.{minor}" in requirement


def test_other_requirements_are_kept() -> None:
    nlp = TransformersLanguage(meta={"requirements": ["other>=1", "trfcli==0.0.1"]})
    assert nlp.meta["requirements"] == ["other>=1", "trfcli==0.0.1"]
    nlp = TransformersLanguage(meta={"requirements": ["other>=1"]})
    assert nlp.meta["requirements"][0] == "other>=1"
    assert len(nlp.meta["requirements"]) == len(nlp.meta["requirements"]) == 2


@pytest.mark.parametrize("meta", [{}, {"lang": "en"}])
def test_the_tokenizer_of_a_language_selects_the_language(
    tmp_path: Path, meta: dict[str, str]
) -> None:
    config = TransformersLanguage().config
    config["nlp"]["tokenizer"] = {"@tokenizers": "spacy.zh.ChineseTokenizer", "segmenter": "char"}
    nlp = TransformersLanguage.from_config(config, meta=meta)
    # Pipelines of earlier versions say what they are.
    expected = meta.get("lang", "zh")
    nlp.to_disk(tmp_path)
    for each in (nlp, spacy.load(tmp_path)):
        assert each.meta["lang"] == each.vocab.lang == expected
        assert each.Defaults is spacy.util.get_lang_class(expected).Defaults
        assert [token.text for token in each("你好")] == ["你", "好"]


def test_a_tokenizer_of_any_language_leaves_the_default() -> None:
    config = TransformersLanguage().config
    config["nlp"]["tokenizer"] = {"@tokenizers": "spacy.Tokenizer.v1"}
    assert TransformersLanguage.from_config(config).meta["lang"] == "en"
    vocab = spacy.blank("de").vocab
    assert TransformersLanguage.from_config(config, vocab=vocab).meta["lang"] == "de"
