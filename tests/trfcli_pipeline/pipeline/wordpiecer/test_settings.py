"""Creating, configuring and saving the component."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from wordpieces import MAX_LENGTH, TEXTS, equal, wordpieces_only

from trfcli_pipeline import TransformersLanguage, TransformersWordPiecer
from trfcli_pipeline.errors import EncoderError, PipelineError


def test_from_nlp_takes_the_name_of_the_pipeline(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert))
    wordpiecer = TransformersWordPiecer.from_nlp(nlp)
    assert wordpiecer.trf_name == str(tiny_bert)
    wordpiecer.initialize(list)
    assert wordpiecer.max_length == MAX_LENGTH
    assert TransformersWordPiecer.from_nlp(nlp, trf_name="other").trf_name == "other"


def test_initialize_keeps_a_loaded_tokenizer(tiny_bert: Path) -> None:
    wordpiecer = TransformersWordPiecer.from_pretrained(spacy.blank("xx").vocab, str(tiny_bert))
    tokenizer = wordpiecer.tokenizer
    wordpiecer.trf_name = "/absent"
    wordpiecer.initialize(list)
    assert wordpiecer.tokenizer is tokenizer


def test_a_missing_tokenizer_is_an_error_with_a_hint(tmp_path: Path) -> None:
    nlp = spacy.blank("xx")
    wordpiecer = nlp.add_pipe("trf_wordpiecer")
    for use in (
        lambda: wordpiecer(nlp.make_doc("a")),
        wordpiecer.to_bytes,
        lambda: wordpiecer.to_disk(tmp_path / "wordpiecer"),
    ):
        with pytest.raises(PipelineError, match="the tokenizer isn't loaded yet") as caught:
            use()
        assert "nlp.initialize()" in str(caught.value)
    assert wordpiecer.max_length is None
    with pytest.raises(EncoderError, match="No encoder is given"):
        nlp.initialize()


@pytest.mark.parametrize("way", ["disk", "bytes", "pickle"])
def test_a_saved_component_returns_the_same_wordpieces(
    pieces: Language, tmp_path: Path, way: str
) -> None:
    wordpiecer = pieces.get_pipe("trf_wordpiecer")
    if way == "pickle":
        again = pickle.loads(pickle.dumps(wordpiecer))
    elif way == "disk":
        wordpiecer.to_disk(tmp_path / "trf_wordpiecer")
        again = TransformersWordPiecer(pieces.vocab).from_disk(tmp_path / "trf_wordpiecer")
    else:
        again = TransformersWordPiecer(pieces.vocab).from_bytes(wordpiecer.to_bytes())
    assert again.name == wordpiecer.name
    assert again.cfg == wordpiecer.cfg
    assert again.max_length == MAX_LENGTH
    with pieces.select_pipes(enable=["sentencizer"]):
        docs = list(pieces.pipe([*TEXTS, "apple " * 100]))
    for one, other in zip(wordpiecer.predict(docs), again.predict(docs), strict=True):
        assert equal(one, other)


def test_saving_twice_gives_the_same_bytes(bert: Language) -> None:
    wordpiecer = bert.get_pipe("trf_wordpiecer")
    assert wordpiecer.to_bytes() == wordpiecer.to_bytes()


SETTINGS = {
    "segments": "windows",
    "long_sentences": "window",
    "max_length": 10,
    "separator": "|||",
}
TEXT = "I love it. I hate it. I love apple pie. " + "apple " * 30


def segments_of(nlp: Language) -> list[list[int]]:
    return nlp(TEXT)._.trf_segments.tolist()


@pytest.mark.parametrize("way", ["add_pipe", "from_nlp", "from_pretrained"])
def test_settings_are_in_component_config_and_copies(
    tiny_bert: Path, tmp_path: Path, way: str
) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    if way == "add_pipe":
        nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert), **SETTINGS})
    elif way == "from_nlp":
        nlp.add_pipe(TransformersWordPiecer.from_nlp(nlp, trf_name=str(tiny_bert), **SETTINGS))
    else:
        nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert), **SETTINGS))
    nlp.initialize()
    assert nlp.get_pipe("trf_wordpiecer").cfg == {"trf_name": str(tiny_bert), **SETTINGS}
    assert nlp.config["components"]["trf_wordpiecer"] == {
        "factory": "trf_wordpiecer",
        "trf_name": str(tiny_bert),
        **SETTINGS,
    }
    nlp.to_disk(tmp_path)
    copies = [spacy.load(tmp_path), TransformersLanguage.from_config(nlp.config)]
    copies[1].from_bytes(nlp.to_bytes())
    for other in copies:
        assert other.get_pipe("trf_wordpiecer").cfg == nlp.get_pipe("trf_wordpiecer").cfg
        assert other.get_pipe("trf_wordpiecer").max_length == 10
        assert segments_of(other) == segments_of(nlp)
    assert max(size for _, _, size in segments_of(nlp)) == 10


def test_the_pipelines_config_takes_precedence(tiny_bert: Path, tmp_path: Path) -> None:
    nlp = wordpieces_only(tiny_bert, TransformersLanguage(meta={"lang": "xx"}))
    nlp.to_disk(tmp_path)
    changed = spacy.load(tmp_path, config={"components": {"trf_wordpiecer": {"max_length": 9}}})
    assert changed.get_pipe("trf_wordpiecer").max_length == 9
    assert segments_of(changed)[-1][2] == 9
    assert segments_of(nlp)[-1][2] == 32


def test_pickling_keeps_the_settings(tiny_bert: Path) -> None:
    wordpiecer = TransformersWordPiecer.from_pretrained(
        spacy.blank("xx").vocab, str(tiny_bert), **SETTINGS
    )
    again = pickle.loads(pickle.dumps(wordpiecer))
    assert again.cfg == wordpiecer.cfg
    doc = spacy.blank("xx")(TEXT)
    assert equal(again.predict([doc])[0], wordpiecer.predict([doc])[0])


def test_max_length_lowers_the_limit_only(tiny_bert: Path) -> None:
    vocab = spacy.blank("xx").vocab
    for length, expected in [(None, 64), (20, 20), (500, 64)]:
        wordpiecer = TransformersWordPiecer.from_pretrained(
            vocab, str(tiny_bert), max_length=length
        )
        assert wordpiecer.max_length == expected


@pytest.mark.parametrize(("separator", "least"), [("", 3), ("|", 5)])
def test_max_length_leaves_room_for_text(tiny_bert: Path, separator: str, least: int) -> None:
    def make(length: int) -> TransformersWordPiecer:
        return TransformersWordPiecer.from_pretrained(
            spacy.blank("xx").vocab, str(tiny_bert), max_length=length, separator=separator
        )

    for length in (least - 1, 0, -1):
        with pytest.raises(PipelineError, match="leaves no room for text") as caught:
            make(length)
        assert f"Use {least} or more" in str(caught.value)
    assert make(least).max_length == least


def test_an_encoder_without_a_maximum_gets_a_default(family_encoder: Callable[[str], Path]) -> None:
    vocab = spacy.blank("xx").vocab
    name = str(family_encoder("xlnet"))
    assert TransformersWordPiecer.from_pretrained(vocab, name).max_length == 2048
    longer = TransformersWordPiecer.from_pretrained(vocab, name, max_length=5000)
    assert longer.max_length == 5000
