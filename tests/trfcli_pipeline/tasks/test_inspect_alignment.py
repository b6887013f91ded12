from collections.abc import Callable
from pathlib import Path

import pytest
from spacy.language import Language

from trfcli_pipeline.errors import EncoderError, PipelineError
from trfcli_pipeline.huggingface import pretrained
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.tasks.inspect_alignment import inspect_alignment

TEXT = "Zürich's cafés reopened. Unbelievable 🙈!"


def test_tokens_and_wordpieces_refer_to_each_other(tiny_bert: Path) -> None:
    report = inspect_alignment(TEXT, str(tiny_bert))
    assert [token["i"] for token in report["tokens"]] == list(range(len(report["tokens"])))
    for token in report["tokens"]:
        assert TEXT[token["start"] : token["end"]] == token["text"]
        for piece in token["wordpieces"]:
            assert token["i"] in report["wordpieces"][piece]["tokens"]
    for piece in report["wordpieces"]:
        for token in piece["tokens"]:
            assert piece["i"] in report["tokens"][token]["wordpieces"]


def test_sentences_are_character_ranges(tiny_bert: Path) -> None:
    report = inspect_alignment(TEXT, str(tiny_bert))
    assert [TEXT[start:end] for start, end in report["sentences"]] == [
        "Zürich's cafés reopened.",
        "Unbelievable 🙈!",
    ]


def test_special_and_unknown_wordpieces_are_distinguished(tiny_bert: Path) -> None:
    pieces = inspect_alignment(TEXT, str(tiny_bert))["wordpieces"]
    assert [piece["text"] for piece in pieces if piece["special"]] == ["[CLS]", "[SEP]"] * 2
    assert [piece["text"] for piece in pieces if piece["unknown"]] == ["[UNK]"]
    assert all(piece["tokens"] for piece in pieces if not piece["special"])


@pytest.mark.parametrize("n_words", [20, 60, 61, 62, 63, 64, 200])
def test_encoder_is_truncated_like_its_pipeline(
    tiny_bert: Path, tmp_path: Path, n_words: int
) -> None:
    init_model(str(tiny_bert), tmp_path / "model", lang="xx")
    text = " ".join(["dog"] * n_words)
    report = inspect_alignment(text, str(tiny_bert))
    assert report == inspect_alignment(text, str(tmp_path / "model"))


def test_the_code_of_an_encoder_is_imported_only_if_needed(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(config: object) -> None:
        raise AssertionError("imported the encoder's code")

    monkeypatch.setattr(pretrained, "_positions_after_padding", fail)
    assert inspect_alignment(TEXT, str(tiny_bert))["text"] == TEXT
    assert inspect_alignment("dog " * 62, str(tiny_bert))["tokens"][61]["wordpieces"]


def test_tokens_past_the_maximum_length_are_truncated(tiny_bert: Path) -> None:
    tokens = inspect_alignment("fox " * 100, str(tiny_bert))["tokens"]
    # 64 wordpieces, of which two are special.
    assert [token["truncated"] for token in tokens[:100]] == [False] * 62 + [True] * 38
    assert tokens[62]["wordpieces"] == []


def test_lone_surrogates_are_replaced(tiny_bert: Path) -> None:
    assert inspect_alignment("a\ud800b", str(tiny_bert))["text"] == "a\ufffdb"


def test_pipeline_and_its_encoder_give_the_same_alignment(
    make_nlp: Callable[..., Language], tiny_bert: Path, tmp_path: Path
) -> None:
    make_nlp().to_disk(tmp_path / "model")
    # Tokenizing must not read the weights.
    (tmp_path / "model" / "trf_tok2vec" / "model" / "model.safetensors").unlink()
    assert inspect_alignment(TEXT, str(tmp_path / "model")) == inspect_alignment(
        TEXT, str(tiny_bert)
    )


def test_models_without_wordpieces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no such directory"):
        inspect_alignment(TEXT, str(tmp_path / "nothing"))
    import spacy

    spacy.blank("xx").to_disk(tmp_path / "blank")
    with pytest.raises(PipelineError, match="no trf_wordpiecer"):
        inspect_alignment(TEXT, str(tmp_path / "blank"))
