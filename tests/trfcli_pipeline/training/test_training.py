import hashlib
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.training import Example

from trfcli_pipeline.errors import (
    DataError,
    DeviceError,
    OutputError,
    PipelineError,
    TrfError,
)
from trfcli_pipeline.evaluation import Prediction
from trfcli_pipeline.pipelines import init_pipeline
from trfcli_pipeline.scores import Evaluation
from trfcli_pipeline.training import (
    Checkpointed,
    Evaluated,
    Event,
    Finished,
    Planned,
    Settings,
    Stepped,
    loop,
    train_textcat,
)
from trfcli_pipeline.training.provenance import digest_files
from trfcli_pipeline.training.recipe import config_path

WORDS = {
    "FRUIT": ["apple pie", "delicious apple", "apple shares", "a free apple"],
    "FILM": ["this film", "great fun film", "a terrible film", "bore of a film"],
    "DOG": ["the lazy dog", "brown dog", "dog jumps", "quick dog"],
}
TAILS = ["I love it", "I hate it", "Unbelievable", "Call now", "on the news"]
QUICK = Settings(epochs=2, batch_size=8, seed=1, learn_rate=5e-3)


def rows(*labels: str) -> list[dict[str, Any]]:
    """Twenty texts of each label."""
    return [
        {"text": f"{words}. {tail}!", "label": label}
        for words_and_tail in [
            [(label, words, tail) for words in WORDS[label] for tail in TAILS] for label in labels
        ]
        for label, words, tail in words_and_tail
    ]


def write(path: Path, data: Sequence[dict[str, Any]]) -> str:
    srsly.write_jsonl(path, data)
    return str(path)


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("data") / "train.jsonl", rows("FRUIT", "FILM"))


@pytest.fixture(scope="module")
def untrained(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("untrained") / "model"
    # English takes longer to load than all of the rest.
    init_pipeline(str(tiny_bert), path, lang="xx")
    return path


@pytest.fixture
def model(untrained: Path, tmp_path: Path) -> Path:
    """A pipeline without a classifier, alone in its directory."""
    path = tmp_path / "models" / "model"
    shutil.copytree(untrained, path)
    return path


@pytest.fixture(scope="module")
def classifier(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that tells fruit from film."""
    folder = tmp_path_factory.mktemp("trained")
    train = write(folder / "train.jsonl", rows("FRUIT", "FILM"))
    config = constant_rates(folder / "a.cfg", head=0.02, encoder=5e-3, dropout=0.0)
    settings = replace(QUICK, epochs=8, config=config, learn_rate=None)
    output = folder / "model"
    list(train_textcat(str(untrained), train, dev=train, output=output, settings=settings))
    return folder / "model"


def snapshot(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def encoder_files(directory: Path) -> dict[str, str]:
    return snapshot(directory / "trf_tok2vec")


def finish(events: Iterator[Event]) -> Finished:
    *_, last = events
    assert isinstance(last, Finished)
    return last


def start(*args: Any, **kwargs: Any) -> Planned:
    """What is planned, without doing it."""
    events = train_textcat(*args, **kwargs)
    plan = next(events)
    events.close()
    assert isinstance(plan, Planned)
    return plan


def constant_rates(
    path: Path, *, head: float, encoder: float, base: str = "textcat.cfg", **training: Any
) -> Path:
    """A config whose rates don't depend on how many steps there are."""
    config = spacy.util.load_config(config_path(base), interpolate=False)
    config["training"]["optimizer"].update(learn_rate=head, trf_lr=encoder)
    config["training"].update(training)
    config.to_disk(path)
    return path


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have each evaluation find the next of some scores."""

    def set_scores(*values: float) -> None:
        found = chain(values, repeat(values[-1]))

        def score(self: Any, evaluation: Evaluation) -> float:
            return next(found)

        monkeypatch.setattr(loop.Loop, "_score", score)

    return set_scores


# --- what happens, and when ---


def test_events_come_in_order_and_the_model_stays_until_the_last(model: Path, data: str) -> None:
    before = snapshot(model)
    events = []
    for event in train_textcat(str(model), data, settings=QUICK):
        if not isinstance(event, Finished):
            assert snapshot(model) == before
        events.append(event)
    plan, *middle, end = events
    assert isinstance(plan, Planned)
    assert isinstance(end, Finished)
    # 40 texts, 4 of them held out, in batches of 8.
    assert (plan.train_texts, plan.dev_texts, plan.batch_size) == (36, 4, 8)
    assert plan.steps == 2 * math.ceil(36 / 8) == 10
    kinds = [type(event) for event in middle]
    # No checkpoint at the end, where there is nothing to resume.
    assert kinds == [*[Stepped] * 5, Evaluated, Checkpointed, *[Stepped] * 5, Evaluated]
    steps = [event.step for event in middle if isinstance(event, Stepped)]
    assert steps == list(range(1, 11))
    evaluated = [event for event in middle if isinstance(event, Evaluated)]
    assert [event.step for event in evaluated] == [5, 10]
    assert [event.epoch for event in evaluated] == [1.0, 2.0]
    assert evaluated[0].is_best
    losses = [event.loss for event in middle if isinstance(event, Stepped)]
    assert evaluated[0].loss == pytest.approx(sum(losses[:5]) / 5)
    assert evaluated[1].loss == pytest.approx(sum(losses[5:]) / 5)
    assert evaluated[1].loss < evaluated[0].loss
    assert all(event.words_per_second > 0 for event in evaluated)
    best = [event for event in evaluated if event.is_best][-1]
    assert (end.best_step, end.score) == (best.step, best.score)
    assert end.path == model
    assert end.was == "pipeline without a text classifier"
    assert end.metric == "cats_macro_f"
    assert not end.stopped_early
    assert end.seconds > 0
    assert snapshot(model) != before
    assert list(model.parent.iterdir()) == [model]


def test_the_plan_says_what_was_found(model: Path, data: str) -> None:
    plan = start(str(model), data, settings=Settings(batch_size=8, learn_rate=2e-4, epochs=5))
    assert plan.label_counts == {"FILM": 18, "FRUIT": 18}
    assert plan.exclusive
    assert plan.classifier == "new classifier, first fitted to the encoder as it is"
    assert plan.trf_lr == 2e-4
    assert plan.learn_rate == 1e-3
    assert plan.warmup_steps == math.ceil(plan.steps / 10) == 3
    few = ", too few to choose by: the last state is kept"
    assert plan.dev_origin == f"held out, stratified 10 %, seed 0{few}"
    assert 5 < plan.mean_length < 30
    assert plan.threads >= 1
    assert plan.device == "cpu" or ":" in plan.device or plan.device == "cuda"


def test_the_trained_pipeline_predicts(classifier: Path) -> None:
    nlp = spacy.load(classifier)
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"]
    for row in rows("FRUIT", "FILM"):
        cats = nlp(row["text"]).cats
        assert max(cats, key=cats.__getitem__) == row["label"]
    facts = nlp.meta["trf"]["training"]
    assert (facts["texts"], facts["dev_texts"]) == (40, 40)
    assert facts["labels"] == {"FILM": 20, "FRUIT": 20}
    assert facts["seed"] == 1
    assert facts["trf_lr"] == 5e-3
    assert facts["steps"] == 40
    assert facts["best_step"] <= 40
    assert facts["data"].keys() == {"train.jsonl"}
    assert nlp.meta["trf"]["encoder"]["name"] == "tiny-bert"
    assert nlp.meta["performance"]["cats_macro_f"] == 1.0
    assert nlp.config["training"]["batcher"]["size"] == 8


def test_an_output_leaves_the_model_alone(model: Path, data: str, tmp_path: Path) -> None:
    before = snapshot(model)
    output = tmp_path / "out" / "trained"
    end = finish(train_textcat(str(model), data, output=output, settings=QUICK))
    assert snapshot(model) == before
    assert end.path == output
    assert end.was is None
    assert "trf_textcat" in spacy.load(output).pipe_names
    again = finish(train_textcat(str(model), data, output=output, settings=QUICK))
    assert again.was == "another pipeline"


def test_the_best_state_is_kept(
    model: Path, data: str, tmp_path: Path, scores: Callable[..., None]
) -> None:
    """With constant rates, the state after one epoch of three is that after one of one."""
    config = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3)
    for name, epochs in (("one", 1), ("three", 3), ("late", 3)):
        scores(*([0.5, 0.9, 0.9] if name == "late" else [0.9, 0.5, 0.5]))
        settings = replace(QUICK, epochs=epochs, config=config, learn_rate=None)
        end = finish(
            train_textcat(str(model), data, dev=data, output=tmp_path / name, settings=settings)
        )
        # Of equal scores the later one.
        assert end.best_step == (15 if name == "late" else 5)
        meta = srsly.read_json(tmp_path / name / "meta.json")
        assert meta["trf"]["training"]["best_step"] == end.best_step
        assert meta["trf"]["training"]["steps"] == 5 * epochs
        assert meta["trf"]["training"]["score"] == 0.9
    for part in ("trf_tok2vec", "trf_textcat"):
        one, three, late = (snapshot(tmp_path / each / part) for each in ("one", "three", "late"))
        assert one == three
        assert one != late


def test_the_same_seed_gives_the_same_model(model: Path, data: str, tmp_path: Path) -> None:
    found = {}
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        # What went on before must not matter.
        random.seed(name)
        settings = replace(QUICK, seed=seed)
        events = list(train_textcat(str(model), data, output=tmp_path / name, settings=settings))
        files = snapshot(tmp_path / name)
        del files["meta.json"]
        losses = [event.loss for event in events if isinstance(event, Stepped)]
        meta = srsly.read_json(tmp_path / name / "meta.json")
        del meta["trf"]["training"]["seconds"]
        found[name] = files, losses, meta
    assert found["one"] == found["two"]
    assert found["one"] != found["three"]


# --- what goes wrong ---


def hidden(model: Path) -> Path:
    """Where an unfinished training of the model is kept."""
    return model.parent / f".{model.name}.training"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("kind", [Planned, Stepped, Evaluated, Checkpointed])
def test_an_interruption_leaves_the_model_as_it_was(
    model: Path, data: str, error: type[BaseException], kind: type[Event]
) -> None:
    before = snapshot(model)
    events = train_textcat(str(model), data, settings=QUICK)
    while not isinstance(next(events), kind):
        pass
    with pytest.raises(error):
        events.throw(error)
    assert snapshot(model) == before
    beside = {hidden(model)} if kind is Checkpointed else set()
    assert set(model.parent.iterdir()) == {model} | beside


def test_an_error_in_the_middle_leaves_the_model_as_it_was(
    model: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(model)
    predict = loop.predict
    calls = 0

    def fail_later(*args: Any, **kwargs: Any) -> Prediction:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MemoryError
        return predict(*args, **kwargs)

    monkeypatch.setattr(loop, "predict", fail_later)
    with pytest.raises(MemoryError):
        list(train_textcat(str(model), data, settings=QUICK))
    assert calls == 2
    assert snapshot(model) == before


# --- going on ---


def results(model: Path) -> dict[str, str]:
    """Hashes of all that a training makes, but for the time that it took."""
    found = snapshot(model)
    meta = srsly.read_json(model / "meta.json")
    del found["meta.json"], meta["trf"]["training"]["seconds"]
    return {**found, "meta": srsly.json_dumps(meta, sort_keys=True)}


# Checkpoints in the middle of an epoch, and where it ends; evaluations at other steps.
LONG = replace(QUICK, epochs=3, eval_every=4, checkpoint_every=3)


@pytest.fixture(scope="module")
def uninterrupted(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Data, and the result of a training with LONG."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    data = write(folder / "train.jsonl", rows("FRUIT", "FILM"))
    list(train_textcat(str(untrained), data, output=folder / "model", settings=LONG))
    return data, folder / "model"


@pytest.mark.parametrize("steps", [(2,), (3,), (7,), (10,), (15,), (4, 6, 9, 13)])
def test_a_resumed_training_ends_as_an_uninterrupted_one(
    model: Path, uninterrupted: tuple[str, Path], steps: tuple[int, ...]
) -> None:
    data, result = uninterrupted
    for stop in steps:
        events = train_textcat(str(model), data, settings=LONG, resume=True)
        for event in events:
            if isinstance(event, Stepped) and event.step == stop:
                break
        events.close()
        random.seed(stop)
    events = train_textcat(str(model), data, settings=LONG, resume=True)
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.done_steps == (steps[-1] - 1) // 3 * 3
    finish(events)
    assert list(model.parent.iterdir()) == [model]
    assert results(model) | {"meta": ""} == results(result) | {"meta": ""}
    one, other = (srsly.read_json(path / "meta.json") for path in (model, result))
    # Where the result goes is part of what was asked for.
    for meta in (one, other):
        del meta["trf"]["training"]["seconds"], meta["trf"]["training"]["request"]
    assert one == other


KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
torch.cpu.get_capabilities = dict  # float32, as in the tests themselves
from trfcli_pipeline.training import Checkpointed, Settings, train_textcat

settings = Settings(
    epochs=3, batch_size=8, seed=1, learn_rate=5e-3, eval_every=4, checkpoint_every=3
)
for event in train_textcat(sys.argv[1], sys.argv[2], settings=settings):
    if isinstance(event, Checkpointed) and event.step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_training_leaves_the_model_and_can_be_resumed(
    model: Path, uninterrupted: tuple[str, Path]
) -> None:
    data, result = uninterrupted
    before = snapshot(model)
    command = [sys.executable, "-c", KILLED, str(model), data]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert snapshot(model) == before
    finish(train_textcat(str(model), data, settings=LONG, resume=True))
    for part in ("trf_tok2vec", "trf_textcat"):
        assert snapshot(model / part) == snapshot(result / part)


def test_a_kill_before_the_old_files_are_gone_is_no_harm(model: Path, data: str) -> None:
    """The result is in its place, the checkpoint isn't removed yet."""
    kept = model.parent.parent / "kept"
    for event in train_textcat(str(model), data, settings=QUICK):
        if isinstance(event, Checkpointed):
            shutil.copytree(hidden(model), kept)
    trained = snapshot(model)
    kept.rename(hidden(model))
    (end,) = train_textcat(str(model), data, settings=QUICK, resume=True)
    assert isinstance(end, Finished)
    assert end.was_finished
    assert snapshot(model) == trained
    assert list(model.parent.iterdir()) == [model]
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    assert (end.best_step, end.score) == (facts["best_step"], facts["score"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": replace(QUICK, learn_rate=1e-3)}, "the settings differ"),
        ({"settings": replace(QUICK, freeze_encoder=True)}, "the settings differ"),
        ({"train": "other.jsonl"}, "the training texts and the dev texts differ"),
    ],
)
def test_another_training_is_not_resumed(
    model: Path, data: str, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    for event in train_textcat(str(model), data, settings=QUICK):
        if isinstance(event, Checkpointed):
            break
    kept = snapshot(hidden(model))
    write(tmp_path / "other.jsonl", rows("FRUIT", "FILM")[::-1])
    arguments: dict[str, Any] = {"train": data, "settings": QUICK, **change}
    if "train" in change:
        arguments["train"] = str(tmp_path / change["train"])
    with pytest.raises(PipelineError, match=message):
        list(train_textcat(str(model), **arguments, resume=True))
    assert snapshot(hidden(model)) == kept
    # Without --resume it is given up, which is said.
    plan = start(str(model), data, settings=QUICK)
    assert plan.remarks[-1].endswith("(step 5) is given up: no --resume")


def test_no_checkpoints(model: Path, data: str) -> None:
    settings = replace(QUICK, checkpoint_every=0)
    events = list(train_textcat(str(model), data, settings=settings))
    assert not any(isinstance(event, Checkpointed) for event in events)


def test_the_history_of_scores_is_kept(uninterrupted: tuple[str, Path]) -> None:
    _, result = uninterrupted
    history = list(srsly.read_jsonl(result / "training.jsonl"))
    assert [row["step"] for row in history] == [4, 8, 12, 15]
    best = [row for row in history if row["is_best"]][-1]
    facts = srsly.read_json(result / "meta.json")["trf"]["training"]
    assert (best["step"], best["score"]) == (facts["best_step"], facts["score"])
    assert best["score"] == best["cats_macro_f"]


# --- what goes wrong, continued ---


def test_labels_that_only_dev_has_are_an_error(model: Path, data: str, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT", "DOG"))
    before = snapshot(model)
    with pytest.raises(DataError, match=r"dev\.jsonl: 1 label is not .*DOG \(line 21\)"):
        next(train_textcat(str(model), data, dev=dev, settings=QUICK))
    assert snapshot(model) == before
    assert list(model.parent.iterdir()) == [model]


def test_a_dev_file_is_used(model: Path, data: str, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT"))
    plan = start(str(model), data, dev=dev, settings=QUICK)
    assert (plan.train_texts, plan.dev_texts) == (40, 20)
    assert plan.dev_origin == f"from {dev}"
    assert any("dev" in remark and "train too" in remark for remark in plan.remarks)
    finish(train_textcat(str(model), data, dev=dev, settings=replace(QUICK, epochs=1)))
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    digest = hashlib.sha256(Path(dev).read_bytes()).hexdigest()
    assert facts["data"]["dev.jsonl"] == digest


def test_data_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    paths = [str(tmp_path / part / "data.jsonl") for part in ("train", "dev")]
    for path in paths:
        Path(path).parent.mkdir()
        Path(path).write_text(path)
    assert digest_files(*paths) == {
        path: hashlib.sha256(path.encode()).hexdigest() for path in paths
    }
    assert digest_files(paths[0], None).keys() == {"data.jsonl"}
    assert digest_files(paths[0], paths[0]).keys() == {"data.jsonl"}
    assert digest_files("-", None) == {}


def _file(path: Path) -> str:
    path.touch()
    return str(path)


def _photos(path: Path) -> Path:
    path.mkdir()
    (path / "one.jpg").touch()
    return path


def _without_encoder(path: Path) -> str:
    spacy.blank("en").to_disk(path)
    return str(path)


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (PipelineError, "no such directory", lambda t: {"model": str(t / "absent")}),
        (PipelineError, "is a file", lambda t: {"model": _file(t / "file")}),
        (PipelineError, "no trf_tok2vec", lambda t: {"model": _without_encoder(t / "blank")}),
        (OutputError, "is a file", lambda t: {"output": Path(_file(t / "file"))}),
        (OutputError, "is no spaCy pipeline", lambda t: {"output": _photos(t / "photos")}),
        (
            DataError,
            "no such file|can't be read|not found",
            lambda t: {"train": str(t / "a.jsonl")},
        ),
        (
            DataError,
            "all texts have the same label, A",
            lambda t: {"train": write(t / "a.jsonl", [{"text": "a", "label": "A"}])},
        ),
        (
            DataError,
            "too few texts",
            lambda t: {"train": write(t / "a.jsonl", [{"text": x, "label": x} for x in "AB"])},
        ),
        (DeviceError, "abacus", lambda t: {"settings": Settings(device="abacus")}),
        (DataError, "no such config", lambda t: {"settings": Settings(config=t / "absent.cfg")}),
        (
            PipelineError,
            "no such architecture",
            lambda t: {"settings": Settings(architecture="cnn")},
        ),
        (
            DataError,
            r"a\.jsonl, line 1: no labels, but every text should have exactly one",
            lambda t: {
                "train": write(t / "a.jsonl", [{"text": str(n), "labels": []} for n in range(20)]),
                "settings": Settings(exclusive=True),
            },
        ),
    ],
)
def test_what_cannot_be_used_shows_before_the_first_step(
    model: Path,
    data: str,
    tmp_path: Path,
    error: type[TrfError],
    message: str,
    make: Callable[[Path], dict[str, Any]],
) -> None:
    arguments = {"model": str(model), "train": data, **make(tmp_path)}
    before = snapshot(tmp_path)
    with pytest.raises(error, match=message):
        next(train_textcat(**arguments))
    assert snapshot(tmp_path) == before


# --- the classifier that is there already ---


def test_a_classifier_of_the_same_labels_is_continued(
    classifier: Path, data: str, tmp_path: Path
) -> None:
    config = constant_rates(tmp_path / "a.cfg", head=0.0, encoder=0.0, dropout=0.0)
    settings = replace(QUICK, epochs=1, config=config, learn_rate=None)
    events = train_textcat(str(classifier), data, output=tmp_path / "out", settings=settings)
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.classifier == "continues with the pipeline's classifier"
    finish(events)
    # Rates of zero: it is what it was.
    assert encoder_files(tmp_path / "out") == encoder_files(classifier)
    one, other = spacy.load(classifier), spacy.load(tmp_path / "out")
    for row in rows("FRUIT", "FILM")[::5]:
        assert one(row["text"]).cats == other(row["text"]).cats
        assert max(other(row["text"]).cats.values()) > 0.6


@pytest.mark.parametrize("change", ["labels", "multilabel", "architecture"])
def test_another_classifier_is_replaced(
    classifier: Path, data: str, tmp_path: Path, change: str
) -> None:
    labels = ("FRUIT", "FILM", "DOG") if change == "labels" else ("FRUIT", "FILM")
    train = write(tmp_path / "train.jsonl", rows(*labels))
    settings = replace(QUICK, epochs=1)
    if change == "multilabel":
        settings = replace(settings, exclusive=False)
    if change == "architecture":
        settings = replace(settings, architecture="softmax_class_vector")
    model = tmp_path / "model"
    shutil.copytree(classifier, model)
    events = train_textcat(str(model), train, settings=settings)
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.classifier.startswith("new classifier in place of")
    end = finish(events)
    assert end.was == "pipeline with a text classifier of 2 labels"
    textcat = spacy.load(model).get_pipe("trf_textcat")
    assert set(textcat.labels) == set(labels)
    assert textcat.exclusive_classes == (change != "multilabel")
    assert textcat.cfg["architecture"] == settings.architecture or change != "architecture"


def test_several_labels_at_once(model: Path, tmp_path: Path) -> None:
    data = [{"text": row["text"], "labels": [row["label"], "ANY"]} for row in rows("FRUIT", "FILM")]
    data += [{"text": f"nothing {tail}", "labels": []} for tail in TAILS]
    train = write(tmp_path / "train.jsonl", data)
    config = constant_rates(
        tmp_path / "a.cfg",
        head=0.02,
        encoder=5e-3,
        base="textcat_multilabel.cfg",
        dropout=0.0,
    )
    settings = replace(QUICK, epochs=8, config=config, learn_rate=None)
    events = list(train_textcat(str(model), train, dev=train, settings=settings))
    plan, end = events[0], events[-1]
    assert isinstance(plan, Planned)
    assert isinstance(end, Finished)
    assert not plan.exclusive
    assert plan.label_counts.keys() == {"ANY", "FILM", "FRUIT"}
    assert end.metric == "cats_micro_f"
    assert end.score > 0.8
    cats = spacy.load(model)("apple pie. I love it!").cats
    assert cats["ANY"] > 0.5 > cats["FILM"]


# --- settings ---


def test_accumulated_batches_make_one_step(model: Path, data: str, tmp_path: Path) -> None:
    """Two batches of four have the gradient of one batch of eight, when all are of that size."""
    config = constant_rates(tmp_path / "a.cfg", head=0.02, encoder=1e-3, dropout=0.0)
    losses = {}
    for size, accumulate in ((8, 1), (4, 2)):
        settings = Settings(
            config=config, epochs=2, batch_size=size, accumulate=accumulate, seed=1, dev_split=0.2
        )
        events = list(train_textcat(str(model), data, output=tmp_path / "o", settings=settings))
        assert isinstance(events[0], Planned)
        assert events[0].steps == 8
        losses[size] = [event.loss for event in events if isinstance(event, Stepped)]
    # The same texts, but in other batches after the first step.
    assert losses[4][0] == pytest.approx(losses[8][0], abs=1e-6)
    assert sum(losses[4]) == pytest.approx(sum(losses[8]), rel=0.2)


def test_what_the_encoder_sees_at_once(model: Path, data: str) -> None:
    together = start(str(model), data, settings=QUICK)
    assert together.segments == "sentences together, up to 64 wordpieces"
    single = start(str(model), data, settings=replace(QUICK, segments="sentences"))
    assert single.segments == "single sentences"
    # Two sentences each: one pair of special tokens more.
    assert single.mean_length == pytest.approx(together.mean_length + 2)
    finish(train_textcat(str(model), data, settings=replace(QUICK, epochs=1)))
    nlp = spacy.load(model)
    assert nlp.get_pipe("trf_wordpiecer").settings.segments == "windows"
    assert len(nlp("One. Two.")._.trf_segments) == 1


def test_rare_labels_can_weigh_more(model: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", [*rows("FRUIT"), *rows("FILM")[:10]])
    settings = replace(QUICK, epochs=1, balance=True, dev_split=0.2, focal_gamma=1.0)
    finish(train_textcat(str(model), train, settings=settings))
    cfg = spacy.load(model).get_pipe("trf_textcat").cfg
    # 16 and 8 of 24 texts.
    assert cfg["class_weights"] == {"FILM": 1.5, "FRUIT": 0.75}
    assert cfg["focal_gamma"] == 1.0


def test_thresholds_are_tuned_for_several_labels(model: Path, tmp_path: Path) -> None:
    data = [{"text": row["text"], "labels": [row["label"]]} for row in rows("FRUIT", "FILM")]
    data += [{"text": "neither", "labels": []}]
    train = write(tmp_path / "a.jsonl", data)
    finish(train_textcat(str(model), train, dev=train, settings=replace(QUICK, epochs=1)))
    classifier = spacy.load(model).get_pipe("trf_textcat")
    assert classifier.thresholds.keys() == {"FRUIT", "FILM"}
    assert len(set(classifier.thresholds.values()) | {0.5}) > 1


def test_a_frozen_encoder_stays_as_it_is(model: Path, data: str) -> None:
    before = encoder_files(model)
    config = constant_rates(model.parent.parent / "a.cfg", head=0.05, encoder=1.0, dropout=0.0)
    settings = Settings(epochs=20, batch_size=8, freeze_encoder=True, config=config, seed=0)
    events = list(train_textcat(str(model), data, dev=data, settings=settings))
    assert isinstance(events[0], Planned)
    assert events[0].trf_lr is None
    assert encoder_files(model) == before
    losses = [event.loss for event in events if isinstance(event, Evaluated)]
    assert losses[-1] < 0.7 * losses[0]
    # Guessing gives 0.5, and random features not much more than this.
    assert finish(iter(events)).score > 0.7


def test_other_trained_components_stay_as_they_are(model: Path, data: str) -> None:
    nlp = spacy.load(model)
    tagger = nlp.add_pipe("tagger")
    batch = [Example.from_dict(nlp.make_doc("a dog"), {"tags": ["A", "B"]})]
    tagger.initialize(lambda: batch, nlp=nlp)
    nlp.to_disk(model)
    before = snapshot(model / "tagger")
    finish(train_textcat(str(model), data, settings=QUICK))
    assert snapshot(model / "tagger") == before
    assert spacy.load(model).pipe_names[-2:] == ["tagger", "trf_textcat"]


def test_patience_ends_the_training(model: Path, data: str, scores: Callable[..., None]) -> None:
    scores(0.5, 0.7, 0.6, 0.69, 0.9)
    settings = replace(QUICK, epochs=10, patience=2)
    events = list(train_textcat(str(model), data, dev=data, settings=settings))
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert [event.score for event in evaluated] == [0.5, 0.7, 0.6, 0.69]
    assert [event.is_best for event in evaluated] == [True, True, False, False]
    end = finish(iter(events))
    assert end.stopped_early
    assert end.best_step == 10
    assert end.score == 0.7


def test_patience_ends_a_training_that_stands_still(
    model: Path, data: str, scores: Callable[..., None]
) -> None:
    scores(0.5, 0.7, 0.7, 0.7, 0.7)
    settings = replace(QUICK, epochs=10, patience=2)
    events = list(train_textcat(str(model), data, dev=data, settings=settings))
    assert sum(isinstance(event, Evaluated) for event in events) == 4
    end = finish(iter(events))
    assert end.stopped_early
    # Of equal scores the later one.
    assert end.best_step == 20


def test_a_few_held_out_texts_decide_nothing(
    model: Path, data: str, scores: Callable[..., None]
) -> None:
    scores(0.9, 0.5, 0.4)
    end = finish(train_textcat(str(model), data, settings=replace(QUICK, epochs=3, patience=1)))
    assert (end.best_step, end.score, end.stopped_early) == (15, 0.4, False)
    assert "the last state is kept" in start(str(model), data, settings=QUICK).dev_origin


def test_patience_that_lasts_is_no_early_end(
    model: Path, data: str, scores: Callable[..., None]
) -> None:
    scores(0.9, 0.5)
    end = finish(train_textcat(str(model), data, settings=replace(QUICK, epochs=3, patience=2)))
    assert not end.stopped_early


def test_evaluations_come_as_often_as_asked_for(model: Path, data: str) -> None:
    settings = replace(QUICK, eval_every=3)
    events = list(train_textcat(str(model), data, settings=settings))
    # And once more at the end.
    assert [event.step for event in events if isinstance(event, Evaluated)] == [3, 6, 9, 10]


def test_at_most_so_many_texts(model: Path, data: str, tmp_path: Path) -> None:
    plan = start(str(model), data, settings=replace(QUICK, max_texts=12))
    assert (plan.train_texts, plan.dev_texts) == (12, 4)
    assert sum(plan.label_counts.values()) == 12
    plan = start(str(model), data, settings=replace(QUICK, max_texts=1000))
    assert plan.train_texts == 36
    # A label that none of them has is known all the same.
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT", "FILM"))
    plan = start(str(model), data, dev=dev, settings=replace(QUICK, max_texts=1))
    assert sorted(plan.label_counts.values()) == [0, 1]


def test_how_much_is_held_out(model: Path, data: str) -> None:
    plan = start(str(model), data, settings=replace(QUICK, dev_split=0.25, seed=7))
    assert (plan.train_texts, plan.dev_texts) == (30, 10)
    assert plan.label_counts == {"FILM": 15, "FRUIT": 15}
    assert plan.dev_origin.startswith("held out, stratified 25 %, seed 7")


def test_a_config_gives_the_other_defaults(model: Path, data: str, tmp_path: Path) -> None:
    config = spacy.util.load_config(config_path("textcat.cfg"), interpolate=False)
    config["training"]["batcher"]["size"] = 12
    config["training"]["max_epochs"] = 3
    config["training"]["optimizer"]["trf_lr"]["initial_rate"] = 2e-3
    config["components"]["trf_textcat"]["architecture"] = "softmax_pooler_output"
    config["system"]["seed"] = 5
    config.to_disk(tmp_path / "a.cfg")
    plan = start(str(model), data, settings=Settings(config=tmp_path / "a.cfg"))
    assert (plan.batch_size, plan.steps, plan.trf_lr) == (12, 9, 2e-3)
    # What is said by hand comes first.
    settings = replace(QUICK, config=tmp_path / "a.cfg")
    plan = start(str(model), data, settings=settings)
    assert (plan.batch_size, plan.steps, plan.trf_lr) == (8, 10, 5e-3)
    finish(train_textcat(str(model), data, settings=Settings(config=tmp_path / "a.cfg")))
    nlp = spacy.load(model)
    assert nlp.get_pipe("trf_textcat").cfg["architecture"] == "softmax_pooler_output"
    assert nlp.meta["trf"]["training"]["seed"] == 5
    assert nlp.config["training"]["batcher"]["size"] == 12


def test_a_rate_can_be_a_number(model: Path, data: str, tmp_path: Path) -> None:
    config = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3)
    settings = replace(QUICK, config=config, learn_rate=None)
    plan = start(str(model), data, settings=settings)
    assert (plan.learn_rate, plan.trf_lr) == (0.01, 1e-3)
    plan = start(str(model), data, settings=replace(settings, learn_rate=2e-3))
    assert plan.trf_lr == 2e-3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[training.batcher]", "[training.butcher]", "lacks 'batcher'"),
        ("[components.trf_textcat]", "[components.textcat]", "lacks 'trf_textcat'"),
        ("max_epochs = 3", "", "lacks 'max_epochs'"),
        ("dropout = 0.0", 'dropout = "low"', "dropout: .*number"),
        ("grad_clip = 1.0", "grad_clap = 1.0", r"optimizer\.grad_clap: unexpected argument"),
        ("trfcli.AdamW.v1", "trfcli.AdamZ.v1", "AdamZ"),
        ("${training.max_steps}", "${training.mix_steps}", "mix_steps"),
        ("[paths]", "", "formatted correctly"),
    ],
)
def test_a_config_that_cannot_be_used_is_an_error(
    model: Path, data: str, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = config_path("textcat.cfg").read_text()
    assert old in text
    path = tmp_path / "a.cfg"
    path.write_text(text.replace(old, new))
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        next(train_textcat(str(model), data, settings=Settings(config=path)))
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    assert snapshot(tmp_path) == before


def test_a_config_needs_no_schedule_section(model: Path, data: str, tmp_path: Path) -> None:
    path = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3)
    config = spacy.util.load_config(path, interpolate=False)
    del config["schedule"]
    config.to_disk(path)
    assert (
        start(str(model), data, settings=replace(QUICK, config=path, learn_rate=None)).steps == 10
    )


# --- files beside the pipeline's own ---


def test_files_of_other_people_survive(classifier: Path, data: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(classifier, model)
    (model / "README.md").write_text("mine")
    (model / "data").mkdir()
    (model / "data" / "train.jsonl").write_text("{}")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("ref")
    (model / "link").symlink_to("README.md")
    (model / "dangling").symlink_to("absent")
    finish(train_textcat(str(model), data, settings=replace(QUICK, epochs=1)))
    assert (model / "README.md").read_text() == "mine"
    assert (model / "data" / "train.jsonl").read_text() == "{}"
    assert (model / ".git" / "HEAD").read_text() == "ref"
    assert os.readlink(model / "link") == "README.md"
    assert os.readlink(model / "dangling") == "absent"
    assert "trf_textcat" in spacy.load(model).pipe_names


def test_parts_of_components_that_are_gone_do_not(model: Path, data: str) -> None:
    nlp = spacy.load(model)
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "X", "pattern": "apple"}])
    nlp.to_disk(model)
    # Taken out of the pipeline by hand, but its files are still there.
    nlp.remove_pipe("entity_ruler")
    meta = srsly.read_json(model / "meta.json")
    nlp.config.to_disk(model / "config.cfg")
    assert "entity_ruler" in meta["components"]
    finish(train_textcat(str(model), data, settings=replace(QUICK, epochs=1)))
    assert not (model / "entity_ruler").exists()
