"""What training learns about when not to answer."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
from directories import snapshot
from trainings import QUICK, finish, rows, start, write

from trfcli_pipeline.errors import ArgumentError
from trfcli_pipeline.pipeline.saved import verify
from trfcli_pipeline.tasks.predict import Prediction, predict
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.train import train_textcat

FROZEN = replace(QUICK, freeze_encoder=True, learn_rate=None)


@pytest.fixture
def dev(tmp_path: Path) -> str:
    # Texts of the dev set may be the same: 120 of them.
    return write(tmp_path / "dev.jsonl", rows("FRUIT", "FILM") * 3)


def component(path: Path) -> Any:
    return spacy.load(path).get_pipe("trf_textcat")


@pytest.mark.parametrize("arguments", [QUICK, FROZEN], ids=["fine-tuned", "frozen"])
def test_fitted_on_the_dev_set(
    model: Path, data: str, dev: str, arguments: TrainingArguments
) -> None:
    end = finish(
        train_textcat(str(model), data, dev=dev, arguments=replace(arguments, coverage=0.75))
    )
    textcat = component(model)
    fitted = textcat.fitted_abstention
    assert end.abstention == fitted
    assert (fitted.texts, *fitted.aim) == (120, "coverage", 0.75)
    assert fitted.coverage >= 0.75
    # All training texts, as there are few of them.
    assert textcat.novelty.features.shape[0] == 40
    assert verify(model) > 0
    found = list(predict(str(model), ["this film. I love it!"]))
    assert all(isinstance(each, Prediction) and each.novelty is not None for each in found)


def test_same_training_gives_the_same_bytes(model: Path, data: str, dev: str) -> None:
    other = model.parent / "other"
    shutil.copytree(model, other)
    for path in (model, other):
        finish(train_textcat(str(path), data, dev=dev, arguments=QUICK))
    assert snapshot(model) == snapshot(other)


def test_earlier_weights_are_kept_with_their_own_novelty(
    model: Path, data: str, dev: str, scores: Any
) -> None:
    scores(0.9, 0.1)
    end = finish(train_textcat(str(model), data, dev=dev, arguments=QUICK))
    assert end.best_step == 5
    nlp = spacy.load(model)
    textcat: Any = nlp.get_pipe("trf_textcat")
    text = rows("FRUIT", "FILM")[0]["text"]
    features = textcat.model.get_ref("features").predict([nlp(text)])
    similarity = (textcat.novelty.features.astype("f") @ features[0]) / (
        features[0] @ features[0]
    ) ** 0.5
    # The text itself is among the labeled ones, with the features that the saved encoder computes.
    assert similarity.max() == pytest.approx(1.0, abs=1e-3)


def test_too_few_dev_texts(model: Path, data: str) -> None:
    end = finish(train_textcat(str(model), data, arguments=QUICK))
    assert end.abstention is None
    textcat = component(model)
    assert (textcat.fitted_abstention, textcat.novelty) == (None, None)
    assert "abstention" not in json.loads((model / "meta.json").read_text())["trf"]["training"]


@pytest.mark.parametrize("option", ["min_accuracy", "coverage"])
def test_option_that_too_few_dev_texts_make_useless_is_a_warning(
    model: Path, data: str, dev: str, option: str
) -> None:
    asked = replace(QUICK, **{option: 0.9})
    assert (
        f"--{option.replace('_', '-')} is ignored: it needs at least 100 dev texts, and there are "
        "only 4 (--dev)"
    ) in start(str(model), data, arguments=asked).warnings
    for plan in (
        start(str(model), data, arguments=QUICK),
        start(str(model), data, dev=dev, arguments=asked),
    ):
        assert not any("is ignored" in warning for warning in plan.warnings)


def test_accuracy_that_was_asked_for_is_reported(model: Path, data: str, dev: str) -> None:
    for asked in (None, 0.97):
        arguments = replace(QUICK, epochs=1, min_accuracy=asked)
        end = finish(train_textcat(str(model), data, dev=dev, arguments=arguments))
        assert end.min_accuracy == asked


def test_training_without_a_large_dev_set_drops_what_was_fitted(
    model: Path, data: str, dev: str
) -> None:
    finish(train_textcat(str(model), data, dev=dev, arguments=QUICK))
    assert component(model).fitted_abstention is not None
    finish(train_textcat(str(model), data, arguments=QUICK))
    textcat = component(model)
    assert (textcat.fitted_abstention, textcat.novelty) == (None, None)


def test_several_labels_per_text(model: Path, data: str, dev: str) -> None:
    arguments = replace(QUICK, exclusive=False, min_accuracy=0.5)
    end = finish(train_textcat(str(model), data, dev=dev, arguments=arguments))
    assert end.abstention is not None
    assert end.abstention.aim == ("accuracy", 0.5)
    assert spacy.load(model)("this film. I love it!")._.trf_label_set is not None


def test_one_aim_at_a_time() -> None:
    with pytest.raises(ArgumentError, match="--coverage can't be combined with --min-accuracy"):
        TrainingArguments(coverage=0.9, min_accuracy=0.97)
