"""Training a pipeline that has a classifier already."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
from trainings import QUICK, constant_rates, encoder_files, finish, rows, start, write

from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import Planned
from trfcli_pipeline.training.train import train_textcat


@pytest.fixture(scope="module")
def multilabel(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with a multi-label classifier for FRUIT, FILM and DOG, with thresholds."""
    folder = tmp_path_factory.mktemp("multilabel")
    train = write(folder / "train.jsonl", rows("FRUIT", "FILM", "DOG"))
    arguments = replace(QUICK, exclusive=False, balance=True)
    output = folder / "model"
    list(train_textcat(str(untrained), train, dev=train, output=output, arguments=arguments))
    nlp = spacy.load(output)
    nlp.get_pipe("trf_textcat").thresholds = {"FRUIT": 0.11, "FILM": 0.12, "DOG": 0.13}
    nlp.to_disk(output)
    return output


def frozen(tmp_path: Path, **arguments: Any) -> TrainingArguments:
    """Arguments of a training that changes no weights, because all learning rates are 0."""
    base = "textcat.cfg" if arguments.get("exclusive", True) else "textcat_multilabel.cfg"
    config = constant_rates(tmp_path / "a.cfg", head=0.0, encoder=0.0, base=base, dropout=0.0)
    return replace(QUICK, epochs=1, learn_rate=None, config=config, **arguments)


def output_rows(path: Path) -> dict[str, Any]:
    """Weights and bias of each label."""
    textcat = spacy.load(path).get_pipe("trf_textcat")
    output = textcat.model.get_ref("output_layer")
    columns = np.column_stack([output.get_param("W"), output.get_param("b")])
    return {label: row.tolist() for label, row in zip(textcat.labels, columns, strict=True)}


def test_classifier_with_the_same_labels_is_trained_further(
    classifier: Path, data: str, tmp_path: Path
) -> None:
    config = constant_rates(tmp_path / "a.cfg", head=0.0, encoder=0.0, dropout=0.0)
    arguments = replace(QUICK, epochs=1, config=config, learn_rate=None)
    events = train_textcat(str(classifier), data, output=tmp_path / "out", arguments=arguments)
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.classifier == "training the existing classifier further"
    finish(events)
    # With learning rates of zero, nothing changes.
    assert encoder_files(tmp_path / "out") == encoder_files(classifier)
    one, other = spacy.load(classifier), spacy.load(tmp_path / "out")
    for row in rows("FRUIT", "FILM")[::5]:
        assert one(row["text"]).cats == other(row["text"]).cats
        assert max(other(row["text"]).cats.values()) > 0.6


@pytest.mark.parametrize("drop_labels", [False, True])
def test_labels_are_added_and_only_removed_if_asked_for(
    classifier: Path, tmp_path: Path, drop_labels: bool
) -> None:
    train = write(tmp_path / "train.jsonl", rows("FRUIT", "DOG"))
    arguments = frozen(tmp_path, drop_labels=drop_labels)
    events = train_textcat(str(classifier), train, output=tmp_path / "out", arguments=arguments)
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.classifier == "training the existing classifier further"
    lost = (
        "1 label of the classifier will be removed, because no training text has it: FILM"
        if drop_labels
        else "1 label of the classifier occurs in no training text and will be trained as not "
        "applying: FILM (--drop-labels removes it)"
    )
    assert plan.warnings[-2:] == ["1 label will be added: DOG", lost]
    finish(events)
    before, after = output_rows(classifier), output_rows(tmp_path / "out")
    assert list(after) == (["FRUIT", "DOG"] if drop_labels else ["FILM", "FRUIT", "DOG"])
    assert all(after[label] == before[label] for label in after if label != "DOG")
    assert not any(after["DOG"])
    assert spacy.load(tmp_path / "out")("brown dog").cats.keys() == set(after)


def test_labels_that_the_training_texts_lack_are_unknown_to_a_multi_label_classifier(
    multilabel: Path, tmp_path: Path
) -> None:
    data = [{"text": row["text"], "labels": [row["label"]]} for row in rows("FRUIT", "DOG")]
    data += [{"text": "nothing", "labels": []}]
    train = write(tmp_path / "train.jsonl", data)
    arguments = replace(QUICK, epochs=1)
    events = train_textcat(
        str(multilabel), train, dev=train, output=tmp_path / "out", arguments=arguments
    )
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.warnings[-2].startswith(
        "1 label of the classifier occurs in no training text and will stay as it is: FILM"
    )
    assert plan.warnings[-1].startswith("class_weights of the last training no longer apply")
    finish(events)
    before, after = output_rows(multilabel), output_rows(tmp_path / "out")
    assert list(after) == list(before)
    assert after["FILM"] == before["FILM"]
    assert after["DOG"] != before["DOG"]
    textcat = spacy.load(tmp_path / "out").get_pipe("trf_textcat")
    assert textcat.thresholds["FILM"] == 0.12
    assert textcat.thresholds["DOG"] != 0.13
    # The dev set says nothing about the label.
    scores = srsly.read_json(tmp_path / "out" / "meta.json")["performance"]
    assert scores["cats_f_per_type"].keys() == {"FRUIT", "DOG"}


def test_settings_of_an_earlier_loss_are_not_inherited(multilabel: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", rows("FRUIT", "FILM", "DOG"))
    arguments = replace(QUICK, epochs=1, exclusive=False)
    finish(train_textcat(str(multilabel), train, output=tmp_path / "out", arguments=arguments))
    for path, weights in ((multilabel, {"DOG": 1, "FILM": 1, "FRUIT": 1}), (tmp_path / "out", {})):
        nlp = spacy.load(path)
        assert nlp.get_pipe("trf_textcat").cfg["class_weights"] == weights
        assert nlp.config["components"]["trf_textcat"]["class_weights"] == weights


def test_architecture_of_a_classifier_is_kept_unless_another_is_chosen(
    model: Path, data: str, tmp_path: Path
) -> None:
    chosen = replace(QUICK, epochs=1, architecture="softmax_class_vector")
    finish(train_textcat(str(model), data, arguments=chosen))
    plan = start(str(model), data, arguments=replace(QUICK, epochs=1))
    assert plan.classifier == "training the existing classifier further"
    finish(train_textcat(str(model), data, arguments=replace(QUICK, epochs=1)))
    textcat = spacy.load(model).get_pipe("trf_textcat")
    assert textcat.cfg["architecture"] == "softmax_class_vector"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"exclusive": False}, "exclusive_classes is False instead of True"),
        (
            {"architecture": "softmax_class_vector"},
            "architecture is softmax_class_vector instead of softmax_last_hidden",
        ),
        (
            {"overrides": {"components.trf_textcat.pooling": "attention"}},
            "pooling is attention instead of mean",
        ),
    ],
)
def test_classifier_with_another_structure_is_replaced(
    classifier: Path, data: str, tmp_path: Path, change: dict[str, Any], difference: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(classifier, model)
    events = train_textcat(str(model), data, arguments=replace(QUICK, epochs=1, **change))
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.classifier.startswith("new classifier, replacing one")
    assert plan.warnings[-1] == (
        f"The trained classifier will be replaced by a new one: {difference}"
    )
    end = finish(events)
    assert end.replaced == "a pipeline with a text classifier of 2 labels"
    textcat = spacy.load(model).get_pipe("trf_textcat")
    assert set(textcat.labels) == {"FRUIT", "FILM"}
    assert textcat.exclusive_classes == ("exclusive" not in change)
