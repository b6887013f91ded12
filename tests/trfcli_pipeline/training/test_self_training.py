"""Training with unlabeled texts."""

from pathlib import Path

import pytest
import spacy
from trainings import QUICK, finish, rows, start, write

from trfcli_pipeline.curation.self_training import SelfTraining
from trfcli_pipeline.data.files import read_object
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.training import classifier_start
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.data import read_data
from trfcli_pipeline.training.events import Checkpointed
from trfcli_pipeline.training.train import train_textcat


@pytest.fixture
def few(tmp_path: Path) -> str:
    return write(tmp_path / "few.jsonl", rows("FRUIT", "FILM")[::3])


@pytest.fixture
def pool(tmp_path: Path) -> str:
    texts = [{"text": row["text"].upper() + " Again"} for row in rows("FRUIT", "FILM", "DOG")]
    return write(tmp_path / "pool.jsonl", texts)


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Unlabeled texts help or not, whatever the figures are."""
    monkeypatch.setattr(SelfTraining, "helps", request.param)


@pytest.mark.parametrize("decided", [True], indirect=True)
def test_a_classifier_starts_from_unlabeled_texts_that_help(
    decided: None, model: Path, few: str, pool: str, tmp_path: Path
) -> None:
    plan = start(str(model), few, unlabeled=pool, arguments=QUICK)
    assert plan.self_training is not None
    assert plan.self_training.n_unlabeled == 60
    assert plan.classifier.endswith("a linear probe that also learned from 60 unlabeled texts")
    out = tmp_path / "out"
    finish(train_textcat(str(model), few, unlabeled=pool, output=out, arguments=QUICK))
    training = read_object(out / "meta.json", PipelineError)["trf"]["training"]
    assert training["unlabeled_texts"] == 60
    assert training["data"].keys() == {"few.jsonl", "pool.jsonl"}


@pytest.mark.parametrize("decided", [False], indirect=True)
def test_unlabeled_texts_that_do_not_help_change_nothing(
    decided: None, model: Path, few: str, pool: str, tmp_path: Path
) -> None:
    plan = start(str(model), few, unlabeled=pool, arguments=QUICK)
    assert plan.classifier == "new classifier, initialized by a linear probe"
    scores = []
    for unlabeled in (pool, None):
        finish(
            train_textcat(
                str(model),
                few,
                unlabeled=unlabeled,
                output=tmp_path / "out",
                arguments=QUICK,
                force=True,
            )
        )
        scores.append(spacy.load(tmp_path / "out")("this film").cats)
    assert scores[0] == scores[1]


def test_other_unlabeled_texts_are_another_training(model: Path, few: str, pool: str) -> None:
    for event in train_textcat(str(model), few, unlabeled=pool, arguments=QUICK):
        if isinstance(event, Checkpointed):
            break
    with pytest.raises(PipelineError, match="the unlabeled texts have changed"):
        list(train_textcat(str(model), few, arguments=QUICK, resume=True))
    finish(train_textcat(str(model), few, unlabeled=pool, arguments=QUICK, resume=True))


def test_an_existing_classifier_learns_from_labeled_texts_only(
    model: Path, few: str, pool: str
) -> None:
    finish(train_textcat(str(model), few, arguments=QUICK))
    plan = start(str(model), few, unlabeled=pool, arguments=QUICK)
    assert plan.self_training is None
    assert any("The unlabeled texts aren't used" in warning for warning in plan.warnings)


def test_labeled_and_empty_texts_are_left_out(few: str, tmp_path: Path) -> None:
    labeled = rows("FRUIT", "FILM")[0]["text"]
    texts = [labeled, f" {labeled.upper()}", " ", "one", "two"]
    pool = write(tmp_path / "pool.jsonl", [{"text": text} for text in texts])
    data, _ = read_data(few, None, TrainingArguments(), unlabeled=pool)
    assert [record.text for record in data.unlabeled] == ["one", "two"]


def test_a_large_pool_is_sampled(few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trfcli_pipeline.training.data.MOST_UNLABELED", 20)
    pool = write(tmp_path / "pool.jsonl", [{"text": f"text {i}"} for i in range(200)])
    one, other = (
        {
            record.text
            for record in read_data(few, None, TrainingArguments(seed=seed), unlabeled=pool)[
                0
            ].unlabeled
        }
        for seed in (0, 1)
    )
    assert len(one) == len(other) == 20
    assert one != other
    # The first texts aren't preferred.
    assert any(int(text.split()[1]) >= 100 for text in one)


def test_no_text_is_left(few: str) -> None:
    with pytest.raises(DataError, match="no text that isn't labeled already"):
        read_data(few, None, TrainingArguments(), unlabeled=few)


def test_few_texts_are_compared_with_a_bag_of_words(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_start, "_ENOUGH_TO_COMPARE", 20)
    # The encoder doesn't know these words, and so can't tell them apart.
    texts = [
        {"text": f"{word} {number}", "label": label}
        for number in range(30)
        for word, label in (("ᚠᚢ", "A"), ("ᚨᚱ", "B"))
    ]
    plan = start(str(model), write(tmp_path / "few.jsonl", texts), arguments=QUICK)
    assert any("A bag of words predicts these labels better" in each for each in plan.warnings)
