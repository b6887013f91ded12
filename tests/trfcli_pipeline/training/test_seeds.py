"""Several seeds, of whose models the median is kept."""

from collections.abc import Callable, Generator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import srsly
from directories import snapshot
from trainings import QUICK, finish, hidden, rows, write

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.data import read_data
from trfcli_pipeline.training.events import (
    Checkpointed,
    Finished,
    SeedStarted,
    Stepped,
    TrainingEvent,
)
from trfcli_pipeline.training.seeds import SeedResults, config_with_seed
from trfcli_pipeline.training.train import train_textcat

# One evaluation for each seed; the dev set decides.
ONE_EPOCH = replace(
    QUICK, epochs=1, seed=3, seeds=3, freeze_encoder=True, learn_rate=None, checkpoint_every=2
)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_only_possible_medians_are_kept(tmp_path: Path, number: int) -> None:
    (tmp_path / "model").mkdir()
    orders = list(permutations(range(number)))
    for count, order in enumerate(orders[:: max(1, len(orders) // 12)]):
        results = SeedResults(tmp_path / str(count), number, {})
        for seed, score in enumerate(order):
            results.add(seed, score / 10, tmp_path / "model")
            kept = {int(path.name) for path in results.root.iterdir() if path.is_dir()}
            assert kept == results.candidates()
            assert len(kept) <= number // 2 + 1
        assert kept == {results.median()}
        assert order[results.median()] == (number - 1) // 2
        again = SeedResults(results.root, number, {})
        again.load()
        assert again.scores == results.scores


def test_all_seeds_train_on_the_same_texts(data: str) -> None:
    texts, config = read_data(data, None, TrainingArguments(max_texts=20, seed=3))
    other = config_with_seed(config, 4, len(texts.train))
    assert (other.seed, other.data_seed) == (4, 3)
    again, _ = read_data(data, None, other.arguments)
    assert ([*again.train], [*again.dev]) == ([*texts.train], [*texts.dev])
    # An override of the seed gives way, too.
    texts, config = read_data(data, None, TrainingArguments(overrides={"system.seed": 5}))
    assert config_with_seed(config, 6, len(texts.train)).seed == 6


def test_the_median_is_kept(
    model: Path, data: str, tmp_path: Path, scores: Callable[..., None]
) -> None:
    scores(0.5, 0.9, 0.7)
    trained = tmp_path / "trained"
    events = list(train_textcat(str(model), data, dev=data, output=trained, arguments=ONE_EPOCH))
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.seed, end.score) == (5, 0.7)
    assert end.seed_scores == {3: 0.5, 4: 0.9, 5: 0.7}
    started = [event for event in events if isinstance(event, SeedStarted)]
    assert [(each.seed, each.number, each.total) for each in started] == [
        *((3, 1, 3), (4, 2, 3), (5, 3, 3))
    ]
    facts = srsly.read_json(trained / "meta.json")["trf"]["training"]
    assert facts["seed"] == 5
    assert facts["seed_scores"] == pytest.approx({"3": 0.5, "4": 0.9, "5": 0.7})
    assert not hidden(trained).exists()

    # The same model as on its own.
    alone = tmp_path / "alone"
    arguments = replace(ONE_EPOCH, seed=5, seeds=1, data_seed=3)
    finish(train_textcat(str(model), data, dev=data, output=alone, arguments=arguments))
    for part in ("trf_textcat", "config.cfg"):
        assert _files(alone, part) == _files(trained, part)


def _files(model: Path, part: str) -> dict[str, str]:
    return {name: digest for name, digest in snapshot(model).items() if name.startswith(part)}


def test_an_interrupted_training_continues_with_the_seed_it_was_at(
    model: Path, data: str, tmp_path: Path
) -> None:
    arguments = replace(ONE_EPOCH, seeds=2)
    expected, output = tmp_path / "expected", tmp_path / "trained"
    finish(train_textcat(str(model), data, output=expected, arguments=arguments))
    first = train_textcat(str(model), data, output=output, arguments=arguments)
    assert [each.seed for each in _until(Stepped, first, seed=4)] == [3, 4]
    # The second time, a checkpoint of the second seed was saved.
    for kind, rest in ((Checkpointed, [4]), (Finished, [4])):
        assert not output.exists()
        again = train_textcat(str(model), data, output=output, arguments=arguments, resume=True)
        assert [each.seed for each in _until(kind, again, seed=4)] == rest
    assert snapshot(output) == snapshot(expected)
    assert not hidden(output).exists()
    (end,) = train_textcat(str(model), data, output=output, arguments=arguments, resume=True)
    assert isinstance(end, Finished)
    assert end.already_finished


def _until(
    kind: type, events: Generator[TrainingEvent, None, None], *, seed: int
) -> list[SeedStarted]:
    """The seeds that are started until something is reported of the model with a seed."""
    started: list[SeedStarted] = []
    for event in events:
        if isinstance(event, SeedStarted):
            started.append(event)
        if isinstance(event, kind) and started[-1].seed == seed:
            break
    events.close()
    return started


def test_a_new_training_discards_what_is_finished_and_says_so(
    model: Path, data: str, tmp_path: Path
) -> None:
    for event in train_textcat(str(model), data, arguments=ONE_EPOCH):
        if isinstance(event, SeedStarted) and event.number == 2:
            break
    assert (hidden(model) / "seeds").exists()
    other = write(tmp_path / "other.jsonl", rows("FRUIT", "DOG"))
    more = replace(ONE_EPOCH, seeds=5)
    with pytest.raises(PipelineError, match=r"the settings have changed \(seeds 3 -> 5\)"):
        list(train_textcat(str(model), data, arguments=more, resume=True))
    events = train_textcat(str(model), other, arguments=replace(ONE_EPOCH, seeds=1))
    plan = next(events)
    assert plan.warnings[-1] == (  # type: ignore[union-attr]
        "An unfinished training will be discarded (--resume continues it)"
    )
    next(events)
    assert not (hidden(model) / "seeds").exists()
    events.close()
