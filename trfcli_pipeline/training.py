"""Fine-tunes an encoder and a text classifier, and keeps the best state by dev score."""

import math
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import srsly
import torch
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.util import registry
from thinc.api import Config, ConfigValidationError, Optimizer, fix_random_seed

from trfcli_pipeline.batching import make_examples
from trfcli_pipeline.components import find_component
from trfcli_pipeline.components.textcat import TransformersTextCategorizer
from trfcli_pipeline.components.tok2vec import TransformersTok2Vec
from trfcli_pipeline.corpus import Record, read_records
from trfcli_pipeline.dataset import (
    check_labels,
    is_exclusive,
    label_names,
    remarks,
    stratified_split,
)
from trfcli_pipeline.devices import installed_version
from trfcli_pipeline.errors import DataError, OutputError, PipelineError
from trfcli_pipeline.evaluation import evaluate
from trfcli_pipeline.pipelines import load_pipeline, sha256
from trfcli_pipeline.saving import staged_directory
from trfcli_pipeline.scores import Evaluation

TEXTCAT = "trf_textcat"
_WARMUP_SHARE = 0.1
_OWN_ENTRIES = {"config.cfg", "meta.json", "tokenizer", "vocab"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user can ask of a training; None leaves a thing to the config or the data.

    Attributes:
        config: A config file to take the other defaults from.
        dev_split: Share of the training texts to hold out where there is no dev file.
        exclusive: Whether exactly one label holds for a text.
        learn_rate: Of the encoder.
        patience: Evaluations without a better score after which to end.
        eval_every: Steps from one evaluation to the next; an epoch's if None.
        max_texts: The most texts to train on, drawn at random.
    """

    config: Path | None = None
    dev_split: float = 0.1
    exclusive: bool | None = None
    architecture: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learn_rate: float | None = None
    patience: int | None = None
    eval_every: int | None = None
    freeze_encoder: bool = False
    seed: int | None = None
    device: str = "auto"
    max_texts: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """The first event: what was read, and what is going to be done.

    Attributes:
        dev_origin: Where the dev texts come from, as a phrase.
        label_counts: Training texts of each label.
        remarks: What is odd about the data.
        mean_length: Wordpieces of a training text.
        classifier: What becomes of the pipeline's classifier, as a phrase.
    """

    train_texts: int
    dev_texts: int
    dev_origin: str
    label_counts: Mapping[str, int]
    exclusive: bool
    remarks: Sequence[str]
    device: str
    threads: int
    trf_lr: float | None
    learn_rate: float
    batch_size: int
    steps: int
    warmup_steps: int
    mean_length: float
    classifier: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """An event after each step. The loss is the batch's."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An event after each evaluation.

    Attributes:
        loss: Mean of the steps since the last evaluation.
        words_per_second: Trained on since the last evaluation.
        score: What the best state is chosen by.
    """

    step: int
    epoch: float
    loss: float
    words_per_second: float
    score: float
    evaluation: Evaluation
    is_best: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the best state is in its place.

    Attributes:
        metric: Name of the score that was highest, such as "cats_macro_f".
        was: What was at `path` before, as a phrase; None if nothing was.
        stopped_early: Whether patience ended the training.
    """

    best_step: int
    metric: str
    score: float
    path: Path
    was: str | None
    stopped_early: bool
    seconds: float


Event = Planned | Stepped | Evaluated | Finished


def train_textcat(
    model: str,
    train: str,
    *,
    dev: str | None = None,
    output: Path | None = None,
    settings: Settings | None = None,
) -> Iterator[Event]:
    """Train a pipeline's text classifier, together with its encoder.

    The pipeline at `model` stays as it is until training has ended well.

    Args:
        model: Directory or name of a pipeline with trf_tok2vec.
        train, dev: Files with labelled texts.
        output: Where the trained pipeline goes; by default to `model`, in place of what it was.

    Yields:
        What happens, as it happens: Planned, then Stepped and Evaluated, then Finished.

    Raises:
        DataError, PipelineError, DeviceError, OutputError: Something can't be used. All but
            running out of memory show before the first step.
    """
    settings = settings or Settings()
    target = _check_output(model, output)
    train_records, dev_records, dev_origin = _read(train, dev, settings)
    labels = label_names(train_records)
    exclusive = is_exclusive(train_records) if settings.exclusive is None else settings.exclusive
    if exclusive and not is_exclusive(train_records):
        raise DataError(
            f"{train}: not every text has exactly one label",
            hint="Train with --multilabel, or correct the data",
        )
    nlp = load_pipeline(model, device=settings.device)
    encoder = _encoder(nlp)
    was = _describe_classifier(nlp)
    config, T = _config(settings, exclusive, len(train_records))
    fix_random_seed(config["training"]["seed"])
    classifier, classifier_phrase = _set_classifier(nlp, config, labels, exclusive)
    examples = make_examples(nlp, train_records, labels, exclusive=exclusive)
    mean_length = _prepare(nlp, examples, encode=settings.freeze_encoder)
    schedule = config["training"]["optimizer"]
    counts = Counter(label for record in train_records for label in record.labels)
    plan = Planned(
        train_texts=len(train_records),
        dev_texts=len(dev_records),
        dev_origin=dev_origin,
        label_counts={label: counts[label] for label in labels},
        exclusive=exclusive,
        remarks=remarks(train_records, dev_records),
        device=str(encoder.model.device),
        threads=torch.get_num_threads(),
        trf_lr=None if settings.freeze_encoder else _peak(schedule["trf_lr"]),
        learn_rate=_peak(schedule["learn_rate"]),
        batch_size=config["training"]["batcher"]["size"],
        steps=config["training"]["max_steps"],
        warmup_steps=config["schedule"]["warmup_steps"],
        mean_length=mean_length,
        classifier=classifier_phrase,
    )
    yield plan

    loop = _Loop(nlp, classifier, examples, dev_records, T, freeze_encoder=settings.freeze_encoder)
    with staged_directory(target) as staging:
        for event in loop.run():
            if isinstance(event, Evaluated) and event.is_best:
                _describe_training(nlp, classifier, config, plan, event, [train, dev])
                nlp.to_disk(staging)
            yield event
        if loop.best is None:
            raise PipelineError("Training ended before its first evaluation")
        _complete_meta(staging, steps=loop.step, seconds=loop.seconds)
        previous = _describe_target(
            target, was if target == Path(model).expanduser().absolute() else None
        )
        _keep_foreign_files(target, staging)
    yield Finished(
        best_step=loop.best.step,
        metric=" + ".join(loop.weights),
        score=loop.best.score,
        path=target,
        was=previous,
        stopped_early=loop.stopped_early,
        seconds=loop.seconds,
    )


class _Loop:
    """Epochs of steps, with an evaluation every so often."""

    def __init__(
        self,
        nlp: Language,
        classifier: TransformersTextCategorizer,
        examples: list[Example],
        dev_records: Sequence[Record],
        T: Mapping[str, Any],
        *,
        freeze_encoder: bool,
    ) -> None:
        self.nlp = nlp
        self.classifier = classifier
        self.examples = examples
        self.dev_texts = [record.text for record in dev_records]
        self.dev_gold = [record.cats or {} for record in dev_records]
        self.T = T
        self.weights = {name: w for name, w in T["score_weights"].items() if w}
        self.freeze_encoder = freeze_encoder
        self.best: Evaluated | None = None
        self.step = 0
        self.seconds = 0.0
        self.stopped_early = False

    def run(self) -> Iterator[Stepped | Evaluated]:
        T, start = self.T, time.perf_counter()
        losses: list[float] = []
        words, since = 0, time.perf_counter()
        for epoch, batch in self._batches():
            loss = self._update(batch, T["optimizer"])
            self.step += 1
            losses.append(loss)
            words += sum(len(example.predicted) for example in batch)
            yield Stepped(self.step, loss)
            ended = self.step >= T["max_steps"]
            if ended or self.step % T["eval_frequency"] == 0:
                speed = words / (time.perf_counter() - since)
                event = self._evaluate(epoch, sum(losses) / len(losses), speed)
                self.seconds = time.perf_counter() - start
                yield event
                losses, words, since = [], 0, time.perf_counter()
                best_step = self.best.step if self.best else self.step
                if not ended and T["patience"] and self.step - best_step >= T["patience"]:
                    self.stopped_early = ended = True
            if ended:
                return

    def _batches(self) -> Iterator[tuple[float, list[Example]]]:
        """Batches without end, each with the epochs that are over after it."""
        epoch = 0
        while True:
            random.shuffle(self.examples)
            seen = 0
            for batch in self.T["batcher"](self.examples):
                seen += len(batch)
                yield epoch + seen / len(self.examples), batch
            epoch += 1

    def _update(self, batch: list[Example], optimizer: Optimizer) -> float:
        losses: dict[str, float] = {}
        dropout = self.T["dropout"]
        if self.freeze_encoder:
            # The Docs carry the encoder's output already, so only the head has work to do.
            self.classifier.update(batch, drop=dropout, sgd=optimizer, losses=losses)
        else:
            self.nlp.update(
                batch, drop=dropout, sgd=optimizer, losses=losses, exclude=self._frozen()
            )
        optimizer.step_schedules()
        return losses[TEXTCAT]

    def _frozen(self) -> list[str]:
        trained = (TransformersTok2Vec, TransformersTextCategorizer)
        return [
            name
            for name, pipe in self.nlp.pipeline
            if getattr(pipe, "is_trainable", False) and not isinstance(pipe, trained)
        ]

    def _evaluate(self, epoch: float, loss: float, speed: float) -> Evaluated:
        evaluation = evaluate(self.nlp, self.dev_texts, self.dev_gold, component=TEXTCAT)
        metrics = evaluation.metrics()
        score = sum(w * (metrics[name] or 0.0) for name, w in self.weights.items())
        # Of equal scores the later one, which was reached with the lower learning rate.
        is_best = self.best is None or score >= self.best.score
        event = Evaluated(self.step, epoch, loss, speed, score, evaluation, is_best)
        if is_best:
            self.best = event
        return event


def config_path(name: str) -> Path:
    """A config file that the package ships."""
    installed = Path(str(files("trfcli_pipeline"))) / "configs" / name
    # In a checkout they stand beside the package.
    return installed if installed.exists() else installed.parents[2] / "configs" / name


def _check_output(model: str, output: Path | None) -> Path:
    target = (Path(model) if output is None else output).expanduser().absolute()
    if output is None and not target.is_dir():
        # Raises if there is none.
        load_pipeline(model)
        raise OutputError(
            f"{model}: an installed pipeline can't be replaced",
            hint="Say where the trained one should go: --output DIR",
        )
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file", hint="Name a directory")
    if target.is_dir() and any(target.iterdir()) and not (target / "config.cfg").exists():
        raise OutputError(
            f"{target}: exists and is no spaCy pipeline", hint="Name another directory"
        )
    return target


def _read(
    train: str, dev: str | None, settings: Settings
) -> tuple[list[Record], list[Record], str]:
    train_records = read_records(train, labelled=True)
    if dev is None:
        seed = settings.seed or 0
        train_records, dev_records = stratified_split(train_records, settings.dev_split, seed)
        origin = f"held out, stratified {100 * settings.dev_split:g} %, seed {seed}"
        if not dev_records:
            raise DataError(
                f"{train}: too few texts to hold some out for dev",
                hint="Give a file with --dev, or a larger --dev-split",
            )
    else:
        dev_records = read_records(dev, labelled=True)
        origin = f"from {dev}"
        check_labels(train_records, dev_records, dev_name=dev)
    if settings.max_texts is not None and settings.max_texts < len(train_records):
        train_records = random.Random(settings.seed or 0).sample(train_records, settings.max_texts)
        check_labels(train_records, dev_records, dev_name="dev")
    return train_records, dev_records, origin


def _encoder(nlp: Language) -> TransformersTok2Vec:
    encoder = find_component(nlp, TransformersTok2Vec)
    if encoder is None:
        raise PipelineError(
            "The pipeline has no trf_tok2vec", hint="Make one: trf init minilm ./model"
        )
    return encoder


def _config(settings: Settings, exclusive: bool, n_texts: int) -> tuple[Config, Mapping[str, Any]]:
    """The config: the file's, with what the user and the data say; and its training section, built.

    Raises:
        DataError: The file can't be used.
    """
    path = settings.config or config_path("textcat.cfg" if exclusive else "textcat_multilabel.cfg")
    if not path.is_file():
        raise DataError(f"{path}: there is no such config file")
    try:
        config = Config().from_disk(path, interpolate=False)
        _fill_config(config, settings, exclusive, n_texts)
        config = config.interpolate()
        T = registry.resolve(config["training"], schema=ConfigSchemaTraining)
    except KeyError as error:
        raise DataError(
            f"{path}: lacks {error}", hint="Start from a config that is there: configs/textcat.cfg"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: {_what_is_wrong(error)}") from error
    return config, T


def _fill_config(config: Config, settings: Settings, exclusive: bool, n_texts: int) -> None:
    training = config["training"]
    wanted: dict[tuple[str, ...], Any] = {
        ("training", "max_epochs"): settings.epochs,
        ("training", "batcher", "size"): settings.batch_size,
        ("components", TEXTCAT, "architecture"): settings.architecture,
        ("components", TEXTCAT, "exclusive_classes"): exclusive,
        ("system", "seed"): settings.seed,
    }
    if isinstance(training["optimizer"]["trf_lr"], Mapping):
        wanted["training", "optimizer", "trf_lr", "initial_rate"] = settings.learn_rate
    else:
        wanted["training", "optimizer", "trf_lr"] = settings.learn_rate
    for (*sections, key), value in wanted.items():
        if value is not None:
            section = config
            for name in sections:
                section = section[name]
            section[key] = value
    steps_an_epoch = math.ceil(n_texts / training["batcher"]["size"])
    steps = steps_an_epoch * training["max_epochs"]
    training["max_steps"] = steps
    training["eval_frequency"] = settings.eval_every or steps_an_epoch
    if settings.patience is not None:
        training["patience"] = settings.patience * training["eval_frequency"]
    config.setdefault("schedule", {})["warmup_steps"] = math.ceil(_WARMUP_SHARE * steps)
    defaults = Language.default_config["training"]
    config["training"] = Config(defaults).merge(training)


def _what_is_wrong(error: ValueError) -> str:
    """The gist of what spaCy says about a config, in one line."""
    for each in getattr(error, "errors", None) or ():
        return f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Validation errors begin with a headline of their own.
    return (
        " ".join(lines[1:4])
        if len(lines) > 1 and isinstance(error, ConfigValidationError)
        else lines[0]
    )


def _peak(rate: float | Mapping[str, Any]) -> float:
    return rate["initial_rate"] if isinstance(rate, Mapping) else rate


def _set_classifier(
    nlp: Language, config: Config, labels: Sequence[str], exclusive: bool
) -> tuple[TransformersTextCategorizer, str]:
    """Give the pipeline a classifier for these labels. Also returns what was done, as a phrase."""
    wanted = dict(config["components"][TEXTCAT])
    factory = wanted.pop("factory")
    phrase = "new classifier"
    old = _classifier(nlp)
    if old is not None:
        if (
            set(old.labels) == set(labels)
            and old.exclusive_classes == exclusive
            and old.cfg["architecture"] == wanted["architecture"]
        ):
            return old, "continues with the pipeline's classifier"
        phrase = "new classifier in place of one with other labels or settings"
        nlp.remove_pipe(TEXTCAT)
    nlp.add_pipe(factory, name=TEXTCAT, config=wanted)
    classifier = cast(TransformersTextCategorizer, nlp.get_pipe(TEXTCAT))
    classifier.initialize(None, nlp=nlp, labels=labels)
    return classifier, phrase


def _classifier(nlp: Language) -> TransformersTextCategorizer | None:
    pipe = nlp.get_pipe(TEXTCAT) if TEXTCAT in nlp.pipe_names else None
    return pipe if isinstance(pipe, TransformersTextCategorizer) else None


def _prepare(nlp: Language, examples: Sequence[Example], *, encode: bool) -> float:
    """Give the examples' Docs what stays the same from epoch to epoch.

    That is sentences and wordpieces; with a frozen encoder also its output. Returns the mean
    number of wordpieces.
    """
    last = "trf_tok2vec" if encode else "trf_wordpiecer"
    kept = nlp.pipe_names[: nlp.pipe_names.index(last) + 1]
    with nlp.select_pipes(enable=kept):
        docs = list(nlp.pipe([example.predicted for example in examples]))
    return sum(len(doc._.trf_word_pieces) for doc in docs) / len(docs)


def _describe_classifier(nlp: Language) -> str:
    classifier = _classifier(nlp)
    if classifier is None:
        return "pipeline without a text classifier"
    return f"pipeline with a text classifier of {len(classifier.labels)} labels"


def _describe_target(target: Path, was: str | None) -> str | None:
    if not target.exists():
        return None
    return was or "another pipeline"


def _describe_training(
    nlp: Language,
    classifier: TransformersTextCategorizer,
    config: Config,
    plan: Planned,
    event: Evaluated,
    data: Sequence[str | None],
) -> None:
    """Write into the pipeline's meta and config how it came about."""
    nlp.meta["performance"] = {
        key: value
        for key, value in event.evaluation.metrics().items()
        if key.startswith("cats_") or key == "accuracy"
    }
    encoder = nlp.meta.get("trf", {}).get("encoder", {})
    nlp.meta["trf"] = {
        "encoder": encoder,
        "training": {
            "texts": plan.train_texts,
            "dev_texts": plan.dev_texts,
            "labels": dict(plan.label_counts),
            "exclusive_classes": plan.exclusive,
            "architecture": classifier.cfg["architecture"],
            "epochs": config["training"]["max_epochs"],
            "best_step": event.step,
            "batch_size": plan.batch_size,
            "trf_lr": plan.trf_lr,
            "learn_rate": plan.learn_rate,
            "seed": config["training"]["seed"],
            "device": plan.device,
            "versions": {
                name: installed_version(name) for name in ("torch", "transformers", "spacy")
            },
            "data": {Path(path).name: sha256(path) for path in data if path not in (None, "-")},
        },
    }
    nlp.config = nlp.config.merge({"training": config["training"], "schedule": config["schedule"]})


def _complete_meta(path: Path, **facts: Any) -> None:
    meta = srsly.read_json(path / "meta.json")
    meta["trf"]["training"].update(facts)
    srsly.write_json(path / "meta.json", meta)


def _keep_foreign_files(old: Path, new: Path) -> None:
    """Copy what people put beside a pipeline's own files, such as a README or the data."""
    if not (old / "meta.json").exists():
        return
    own = _OWN_ENTRIES | set(srsly.read_json(old / "meta.json").get("components", []))
    for entry in old.iterdir():
        if entry.name in own or (new / entry.name).exists():
            continue
        if entry.is_dir():
            shutil.copytree(entry, new / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)
