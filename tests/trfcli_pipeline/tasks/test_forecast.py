from pathlib import Path

import pytest
from trainings import QUICK, finish, rows, write

from trfcli_pipeline.errors import DataError
from trfcli_pipeline.tasks.forecast import forecast
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training.train import train_textcat


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests check what is returned, not how exact it is."""
    monkeypatch.setattr("trfcli_pipeline.curation.learning_curve.DRAWS", 2)
    monkeypatch.setattr("trfcli_pipeline.curation.extrapolation.RESAMPLES", 50)


@pytest.fixture
def train(tmp_path: Path) -> str:
    return write(tmp_path / "train.jsonl", rows("FRUIT", "FILM", "DOG"))


def test_the_forecast_of_an_encoder(tiny_bert: Path, train: str) -> None:
    found = forecast(str(tiny_bert), train)
    assert (found.metric, found.n_texts, found.n_more) == ("accuracy", 60, 60)
    assert found.dev is None
    assert found.sizes[-1] == 54
    assert found.now.low <= found.now.value <= found.then.value <= found.then.high <= 1
    assert set(found.label_gains) == {"FRUIT", "FILM", "DOG"}
    # Each label has words of its own.
    assert found.separability.words.value > 0.9


def test_scores_on_a_dev_set(tiny_bert: Path, train: str, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT", "FILM"))
    found = forecast(str(tiny_bert), train, dev=dev, more=20)
    assert found.dev == dev
    assert found.sizes[-1] == 60
    assert found.n_more == 20


def test_several_labels_per_text(tiny_bert: Path, tmp_path: Path) -> None:
    texts = rows("FRUIT", "FILM")
    texts = [
        {"text": row["text"], "labels": [row["label"], "LOVE"] if "love" in row["text"] else []}
        for row in texts
    ]
    found = forecast(str(tiny_bert), write(tmp_path / "train.jsonl", texts))
    assert found.metric == "cats_micro_f"


def test_the_same_seed_gives_the_same_forecast(tiny_bert: Path, train: str) -> None:
    one, other = (forecast(str(tiny_bert), train, seed=1).as_json() for _ in range(2))
    assert one == other


def test_many_texts_are_sampled(
    tiny_bert: Path, train: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trfcli_pipeline.tasks.forecast._MOST_TEXTS", 30)
    found = forecast(str(tiny_bert), train)
    assert (found.n_texts, found.sizes[-1]) == (60, 27)
    assert "The curve was measured on 30 of 60 texts, drawn at random" in found.warnings


def test_a_fine_tuned_encoder_may_have_seen_the_texts(
    tiny_bert: Path, train: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    init_model(str(tiny_bert), model, lang="xx")
    assert not any("was fine-tuned" in each for each in forecast(str(model), train).warnings)
    finish(train_textcat(str(model), train, arguments=QUICK))
    assert any("was fine-tuned" in each for each in forecast(str(model), train).warnings)


@pytest.mark.parametrize(
    ("labels", "number", "problem"),
    [
        (("FRUIT", "FILM"), 15, "15 texts, too few for a learning curve"),
        (("FRUIT",), 20, "all texts have the same labels"),
    ],
)
def test_data_without_a_curve(
    tiny_bert: Path, tmp_path: Path, labels: tuple[str, ...], number: int, problem: str
) -> None:
    train = write(tmp_path / "train.jsonl", rows(*labels)[:number])
    with pytest.raises(DataError, match=problem):
        forecast(str(tiny_bert), train)


def test_copies_and_blank_texts_do_not_count(tiny_bert: Path, tmp_path: Path) -> None:
    texts = rows("FRUIT", "FILM")[18:22] * 10 + [{"text": " ", "label": "FILM"}] * 20
    with pytest.raises(DataError, match="4 different texts, too few for a learning curve"):
        forecast(str(tiny_bert), write(tmp_path / "train.jsonl", texts))


def test_blank_texts_are_not_on_the_curve(tiny_bert: Path, tmp_path: Path) -> None:
    texts = rows("FRUIT", "FILM")
    blank = [{"text": " ", "label": "FILM"}] * 20
    data, dev = (write(tmp_path / name, texts + blank) for name in ("train.jsonl", "dev.jsonl"))
    found = forecast(str(tiny_bert), data, dev=dev)
    same = write(tmp_path / "same.jsonl", texts)
    expected = forecast(str(tiny_bert), same, dev=same)
    assert (found.n_texts, found.now) == (len(texts), expected.now)


@pytest.mark.parametrize("copies", [1, 2])
def test_labels_with_one_text_each_have_no_curve(
    tiny_bert: Path, tmp_path: Path, copies: int
) -> None:
    texts = [{"text": f"text {number}", "label": f"L{number}"} for number in range(30)] * copies
    with pytest.raises(DataError, match="each label has only one text"):
        forecast(str(tiny_bert), write(tmp_path / "train.jsonl", texts))


@pytest.mark.parametrize(("more", "is_guess"), [(180, False), (181, True)])
def test_far_forecasts_are_guesses(tiny_bert: Path, train: str, more: int, is_guess: bool) -> None:
    warnings = forecast(str(tiny_bert), train, more=more).warnings
    assert any("is a guess" in each for each in warnings) == is_guess


def test_labels_that_only_the_dev_set_has(tiny_bert: Path, train: str, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", [{"text": "a", "label": "CAT"}])
    with pytest.raises(DataError, match="CAT"):
        forecast(str(tiny_bert), train, dev=dev)
