"""Fine-tunes an encoder and a text classifier, and keeps the best state by dev score."""

import hashlib
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import srsly
import torch
from spacy.language import Language
from spacy.training import Example
from spacy.util import minibatch
from thinc.api import Model, fix_random_seed, xp2torch

from trfcli_pipeline.batching import make_examples
from trfcli_pipeline.checkpoints import (
    Workspace,
    head_state,
    random_state,
    restore_head,
    restore_python_random,
    restore_random_state,
)
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
from trfcli_pipeline.pipelines import check_pipeline, directory_digest, load_pipeline, sha256
from trfcli_pipeline.recipe import TEXTCAT, Recipe, Settings
from trfcli_pipeline.saving import replace_directory, staged_directory
from trfcli_pipeline.scores import Evaluation

_OWN_ENTRIES = {"config.cfg", "meta.json", "tokenizer", "vocab", "training.jsonl"}
_VERSIONS = ("trfcli", "torch", "transformers", "spacy")


@dataclass(frozen=True, slots=True)
class Planned:
    """The first event: what was read, and what is going to be done.

    Attributes:
        dev_origin: Where the dev texts come from, as a phrase.
        label_counts: Training texts of each label.
        remarks: What is odd about the data.
        mean_length: Wordpieces of a training text.
        classifier: What becomes of the pipeline's classifier, as a phrase.
        done_steps: Steps that were taken before, by the training that this one resumes.
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
    done_steps: int = 0


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
class Checkpointed:
    """An event after each checkpoint: from here, the training can be resumed."""

    step: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the best state is in its place.

    Attributes:
        metric: Name of the score that was highest, such as "cats_macro_f".
        was: What was at `path` before, as a phrase; None if nothing was.
        stopped_early: Whether patience ended the training.
        seconds: Time of the training, evaluations included.
        was_finished: Whether there was nothing to resume, as the training had ended before.
    """

    best_step: int
    metric: str
    score: float
    path: Path
    was: str | None
    stopped_early: bool
    seconds: float
    was_finished: bool = False


Event = Planned | Stepped | Evaluated | Checkpointed | Finished


def train_textcat(
    model: str,
    train: str,
    *,
    dev: str | None = None,
    output: Path | None = None,
    settings: Settings | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    """Train a pipeline's text classifier, together with its encoder.

    The pipeline at `model` stays as it is until training has ended well.

    Args:
        model: Directory or name of a pipeline with trf_tok2vec.
        train, dev: Files with labelled texts.
        output: Where the trained pipeline goes; by default to `model`, in place of what it was.
        resume: Go on from the last checkpoint of a training that didn't end, to the same result;
            without one, start from the beginning.

    Yields:
        What happens, as it happens: Planned, then Stepped, Evaluated and Checkpointed, then
        Finished.

    Raises:
        DataError, PipelineError, DeviceError, OutputError: Something can't be used. All but
            running out of memory show before the first step.
    """
    settings = settings or Settings()
    shown = Path(model) if output is None else output
    target = _check_output(model, output)
    workspace = Workspace.beside(target)
    data, recipe = _read(train, dev, settings)

    nlp = load_pipeline(model, device=settings.device)
    identity = _identity(recipe, nlp.path, data)
    # In place, the pipeline is another one once training has ended.
    request = _digest({**identity, "the pipeline": output and identity["the pipeline"]})
    if resume and (finished := _finished_before(target, shown, request)) is not None:
        workspace.remove()
        yield finished
        return
    resumed = resume and workspace.can_resume
    if resumed:
        _check_identity(workspace, identity)

    encoder = _encoder(nlp)
    was = _describe_classifier(nlp)
    fix_random_seed(recipe.seed)
    classifier, classifier_phrase = _set_classifier(nlp, recipe, data.labels)
    examples = make_examples(nlp, data.train, data.labels, exclusive=recipe.exclusive)
    mean_length = _prepare(nlp, examples, encode=settings.freeze_encoder)
    counts = Counter(label for record in data.train for label in record.labels)
    loop = _Loop(nlp, encoder, classifier, examples, data.dev, recipe)
    if resumed:
        loop.restore(workspace)
    plan = Planned(
        train_texts=len(data.train),
        dev_texts=len(data.dev),
        dev_origin=data.dev_origin,
        label_counts={label: counts[label] for label in data.labels},
        exclusive=recipe.exclusive,
        remarks=[*remarks(data.train, data.dev), *_given_up(workspace, shown, resumed)],
        device=str(encoder.model.device),
        threads=torch.get_num_threads(),
        trf_lr=recipe.trf_lr,
        learn_rate=recipe.learn_rate,
        batch_size=recipe.batch_size,
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        mean_length=mean_length,
        classifier=classifier_phrase,
        done_steps=loop.progress.step,
    )
    yield plan

    if not resumed:
        workspace.remove()
    try:
        for event in loop.run():
            if isinstance(event, Evaluated) and event.is_best:
                _describe_training(nlp, classifier, recipe, plan, event, [train, dev])
                with staged_directory(workspace.best) as staging:
                    nlp.to_disk(staging)
            if isinstance(event, Checkpointed):
                workspace.save({**loop.state(), "identity": identity}, loop.tensors())
            yield event
    except BaseException:
        if not workspace.can_resume:
            workspace.remove()
        raise
    progress = loop.progress
    _complete(workspace.best, progress, request)
    previous = _put_in_place(workspace, target, was if _is_same(target, model) else None)
    yield Finished(
        best_step=progress.best_step,
        metric=" + ".join(loop.weights),
        score=progress.best_score,
        path=shown,
        was=previous,
        stopped_early=progress.stopped_early,
        seconds=progress.seconds,
    )


@dataclass(frozen=True, slots=True)
class _Data:
    """What to train on and what to choose the best state by.

    Attributes:
        dev_origin: Where the dev texts come from, as a phrase.
        labels: Of all training texts that there are, also where only some of these are used.
    """

    train: list[Record]
    dev: list[Record]
    dev_origin: str
    labels: list[str]


@dataclass(slots=True)
class _Progress:
    """Where a training stands; all of it plain values.

    Attributes:
        epoch_step: Steps of the current epoch that are done.
        order: State of Python's random numbers when the epoch was shuffled.
        losses: Of the steps since the last evaluation.
        words: Trained on since the last evaluation, within `word_seconds`.
        best_step, best_score: Of the state that is kept.
        risen_step: When the score last rose, which of equal scores is the first.
        history: What `training.jsonl` says, one row an evaluation.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    order: Any = None
    losses: list[float] = field(default_factory=list)
    words: int = 0
    word_seconds: float = 0.0
    seconds: float = 0.0
    best_step: int = 0
    best_score: float = -1.0
    risen_step: int = 0
    stopped_early: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


class _Loop:
    """Epochs of steps, with an evaluation and a checkpoint every so often."""

    def __init__(
        self,
        nlp: Language,
        encoder: TransformersTok2Vec,
        classifier: TransformersTextCategorizer,
        examples: list[Example],
        dev_records: Sequence[Record],
        recipe: Recipe,
    ) -> None:
        self.nlp = nlp
        self.encoder = encoder
        self.classifier = classifier
        self.examples = examples
        self.dev_texts = [record.text for record in dev_records]
        self.dev_gold = [record.cats or {} for record in dev_records]
        self.recipe = recipe
        self.weights = {name: w for name, w in recipe.T["score_weights"].items() if w}
        self.freeze_encoder = recipe.settings.freeze_encoder
        self.progress = _Progress()
        self._random_state: Mapping[str, Any] | None = None

    def has_ended(self) -> bool:
        return self.progress.stopped_early or self.progress.step >= self.recipe.steps

    def run(self) -> Iterator[Stepped | Evaluated | Checkpointed]:
        """Train until the steps or the patience are used up."""
        T, now = self.recipe.T, self.progress
        while not self.has_ended():
            epoch = self._epoch()
            for step in epoch[now.epoch_step :]:
                start = time.perf_counter()
                loss = self._update(step)
                now.step += 1
                now.epoch_step += 1
                now.losses.append(loss)
                now.words += sum(len(example.predicted) for batch in step for example in batch)
                now.word_seconds += time.perf_counter() - start
                now.seconds += time.perf_counter() - start
                yield Stepped(now.step, loss)
                position = now.epoch + now.epoch_step / len(epoch)
                if now.epoch_step == len(epoch):
                    now.epoch, now.epoch_step = now.epoch + 1, 0
                is_last = now.step >= self.recipe.steps
                if is_last or now.step % T["eval_frequency"] == 0:
                    yield self._evaluate(position)
                every = self.recipe.checkpoint_every
                if every and now.step % every == 0 and not is_last:
                    yield Checkpointed(now.step)
                if now.stopped_early:
                    return

    def state(self) -> dict[str, Any]:
        """What a checkpoint says beside `tensors`: plain values."""
        return {"progress": asdict(self.progress), "random": random_state()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights, and what the optimizers remember."""
        tensors = head_state(self.classifier.model, self.recipe.optimizer)
        return tensors if self.freeze_encoder else tensors | self.encoder.model.training_state()

    def restore(self, workspace: Workspace) -> None:
        """Continue from a checkpoint."""
        state, tensors = workspace.load()
        self.progress = _Progress(**state["progress"])
        self._random_state = state["random"]
        for _ in range(self.progress.step):
            self.recipe.optimizer.step_schedules()
        restore_head(self.classifier.model, self.recipe.optimizer, tensors)
        if not self.freeze_encoder:
            self.encoder.model.restore_training_state(tensors)

    def _epoch(self) -> list[list[list[Example]]]:
        """The batches of each step of the current epoch."""
        if self.progress.epoch_step:
            restore_python_random(self.progress.order)
        else:
            if self._random_state is not None:
                restore_random_state(self._random_state)
            self.progress.order = random.getstate()
        examples = list(self.examples)
        random.shuffle(examples)
        # All of them at once, so that nothing else draws random numbers in between.
        batches = list(self.recipe.T["batcher"](examples))
        if self._random_state is not None and self.progress.epoch_step:
            restore_random_state(self._random_state)
        self._random_state = None
        return list(minibatch(batches, self.recipe.T["accumulate_gradient"]))

    def _update(self, step: list[list[Example]]) -> float:
        optimizer, dropout = self.recipe.optimizer, self.recipe.T["dropout"]
        losses: dict[str, float] = {}
        for batch in step:
            if self.freeze_encoder:
                # The Docs carry the encoder's output already, so only the head has work to do.
                self.classifier.update(batch, drop=dropout, losses=losses)
            else:
                self.nlp.update(
                    batch, drop=dropout, sgd=cast(Any, False), losses=losses, exclude=self._frozen()
                )
        self.encoder.complete_update()
        if len(step) > 1:
            for gradient in self._gradients():
                gradient.div_(len(step))
        if not self.freeze_encoder:
            self.encoder.finish_update(optimizer)
        self.classifier.finish_update(optimizer)
        optimizer.step_schedules()
        return losses[TEXTCAT] / len(step)

    def _gradients(self) -> Iterator[torch.Tensor]:
        """All gradients, in the memory where the optimizers look for them."""
        for parameter in self.encoder.transformers_model.parameters():
            if parameter.grad is not None:
                yield parameter.grad
        yield from _head_gradients(self.classifier.model)

    def _frozen(self) -> list[str]:
        trained = (TransformersTok2Vec, TransformersTextCategorizer)
        return [
            name
            for name, pipe in self.nlp.pipeline
            if getattr(pipe, "is_trainable", False) and not isinstance(pipe, trained)
        ]

    def _evaluate(self, epoch: float) -> Evaluated:
        now, start = self.progress, time.perf_counter()
        evaluation = evaluate(self.nlp, self.dev_texts, self.dev_gold, component=TEXTCAT)
        metrics = evaluation.metrics()
        score = sum(w * (metrics[name] or 0.0) for name, w in self.weights.items())
        if score > now.best_score:
            now.risen_step = now.step
        # Of equal scores the later one, which was reached with the lower learning rate.
        is_best = score >= now.best_score
        if is_best:
            now.best_step, now.best_score = now.step, score
        patience = self.recipe.T["patience"]
        now.stopped_early = (
            bool(patience)
            and now.step < self.recipe.steps
            and now.step - now.risen_step >= patience
        )
        loss, speed = sum(now.losses) / len(now.losses), now.words / now.word_seconds
        event = Evaluated(now.step, epoch, loss, speed, score, evaluation, is_best)
        now.history.append(_history_row(event))
        now.losses, now.words, now.word_seconds = [], 0, 0.0
        now.seconds += time.perf_counter() - start
        return event


def _head_gradients(model: Model) -> Iterator[torch.Tensor]:
    for node in model.walk():
        for name in node.param_names:
            if node.has_grad(name):
                yield xp2torch(node.get_grad(name))


def _history_row(event: Evaluated) -> dict[str, Any]:
    metrics = event.evaluation.metrics()
    return {
        "step": event.step,
        "epoch": event.epoch,
        "loss": event.loss,
        "score": event.score,
        "is_best": event.is_best,
        **{name: value for name, value in metrics.items() if _is_score(name, value)},
    }


def _is_score(name: str, value: Any) -> bool:
    return isinstance(value, float) and (name.startswith("cats_") or name in ("accuracy", "ece"))


def _check_output(model: str, output: Path | None) -> Path:
    check_pipeline(model)
    target = (Path(model) if output is None else output).expanduser().absolute()
    if output is None and not target.is_dir():
        raise OutputError(
            f"{model}: an installed pipeline can't be replaced",
            hint="Say where the trained one should go: --output DIR",
        )
    if target.exists() and not target.is_dir():
        raise OutputError(f"{output}: is a file", hint="Name a directory")
    if target.is_dir() and any(target.iterdir()) and not (target / "config.cfg").exists():
        raise OutputError(
            f"{output}: exists and is no spaCy pipeline", hint="Name another directory"
        )
    return target


def _read(train: str, dev: str | None, settings: Settings) -> tuple["_Data", Recipe]:
    train_records = read_records(train, labelled=True)
    dev_records = None if dev is None else read_records(dev, labelled=True)
    exclusive = _check_exclusive(train, train_records, dev, dev_records, settings)
    recipe = Recipe(settings, exclusive=exclusive)
    train_records, dev_records, origin = _parts(train, train_records, dev, dev_records, recipe)
    labels = label_names(train_records)
    if settings.max_texts is not None and settings.max_texts < len(train_records):
        train_records = random.Random(recipe.seed).sample(train_records, settings.max_texts)
    recipe.fit(len(train_records))
    return _Data(train_records, dev_records, origin, labels), recipe


def _check_exclusive(
    train: str,
    train_records: Sequence[Record],
    dev: str | None,
    dev_records: Sequence[Record] | None,
    settings: Settings,
) -> bool:
    """Whether exactly one label holds for a text, as the user says or the data shows."""
    exclusive = settings.exclusive
    if exclusive is None:
        exclusive = is_exclusive(train_records)
        if not exclusive:
            return False
    for name, records in ((train, train_records), (dev, dev_records or ())):
        odd = next((each for each in records if exclusive and len(each.labels) != 1), None)
        if odd is not None:
            raise DataError(
                f"{name}, line {odd.line}: {len(odd.labels) or 'no'} labels, "
                "but every text should have exactly one",
                hint="Train with --multilabel, or correct the data",
            )
    if exclusive and len(label_names(train_records)) == 1:
        raise DataError(
            f"{train}: all texts have the same label, {label_names(train_records)[0]}",
            hint="A classifier needs texts of at least two labels",
        )
    return exclusive


def _parts(
    train: str,
    train_records: list[Record],
    dev: str | None,
    dev_records: list[Record] | None,
    recipe: Recipe,
) -> tuple[list[Record], list[Record], str]:
    """The records to train on, those to choose the best state by, and where these come from."""
    settings = recipe.settings
    if dev_records is None:
        train_records, dev_records = stratified_split(
            train_records, settings.dev_split, recipe.seed
        )
        origin = f"held out, stratified {100 * settings.dev_split:g} %, seed {recipe.seed}"
        if not dev_records:
            raise DataError(
                f"{train}: too few texts to hold some out for dev",
                hint="Give a file with --dev, or a larger --dev-split",
            )
    else:
        origin = f"from {dev}"
        check_labels(train_records, dev_records, dev_name=str(dev))
    return train_records, dev_records, origin


def _identity(recipe: Recipe, path: Path, data: _Data) -> dict[str, str]:
    """Hashes of all that a training's result depends on, each under a name for people."""
    asked = {"config": recipe.config.to_str(), "freeze_encoder": recipe.settings.freeze_encoder}
    return {
        "the settings": _digest(asked),
        "the training texts": _digest_records(data.train),
        "the dev texts": _digest_records(data.dev),
        "the pipeline": directory_digest(path),
        "the installed packages": _digest({name: installed_version(name) for name in _VERSIONS}),
    }


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _digest_records(records: Sequence[Record]) -> str:
    found = hashlib.sha256()
    for record in records:
        found.update(json.dumps([record.text, record.cats, record.partial]).encode())
    return found.hexdigest()


def _check_identity(workspace: Workspace, identity: Mapping[str, str]) -> None:
    """Make sure that a checkpoint belongs to the training that is to be resumed."""
    saved = workspace.progress()["identity"]
    changed = [name for name, value in identity.items() if saved.get(name) != value]
    if changed:
        raise PipelineError(
            f"The unfinished training can't be resumed: {' and '.join(changed)} differ from then",
            hint="Give the same options and files, or start anew without --resume",
        )


def _given_up(workspace: Workspace, shown: Path, resumed: bool) -> Iterator[str]:
    if workspace.can_resume and not resumed:
        step = workspace.progress()["progress"]["step"]
        yield f"an unfinished training of {shown} (step {step:,}) is given up: no --resume"


def _finished_before(target: Path, shown: Path, request: str) -> Finished | None:
    """The end of the training that is asked for, if the target holds its result."""
    if not (target / "meta.json").exists():
        return None
    facts = srsly.read_json(target / "meta.json").get("trf", {}).get("training", {})
    if facts.get("request") != request:
        return None
    return Finished(
        best_step=facts["best_step"],
        metric=facts["metric"],
        score=facts["score"],
        path=shown,
        was=None,
        stopped_early=facts["stopped_early"],
        seconds=facts["seconds"],
        was_finished=True,
    )


def _encoder(nlp: Language) -> TransformersTok2Vec:
    encoder = find_component(nlp, TransformersTok2Vec)
    if encoder is None:
        raise PipelineError(
            "The pipeline has no trf_tok2vec", hint="Make one: trf init minilm ./model"
        )
    return encoder


def _set_classifier(
    nlp: Language, recipe: Recipe, labels: Sequence[str]
) -> tuple[TransformersTextCategorizer, str]:
    """Give the pipeline a classifier for these labels. Also returns what was done, as a phrase."""
    wanted = recipe.classifier
    factory = wanted.pop("factory")
    phrase = "new classifier"
    old = _classifier(nlp)
    if old is not None:
        if (
            set(old.labels) == set(labels)
            and old.exclusive_classes == recipe.exclusive
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


def _is_same(target: Path, model: str) -> bool:
    return target.resolve() == Path(model).expanduser().resolve()


def _describe_training(
    nlp: Language,
    classifier: TransformersTextCategorizer,
    recipe: Recipe,
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
            "epochs": recipe.epochs,
            "batch_size": plan.batch_size,
            "trf_lr": plan.trf_lr,
            "learn_rate": plan.learn_rate,
            "seed": recipe.seed,
            "device": plan.device,
            "versions": {name: installed_version(name) for name in _VERSIONS},
            "data": {Path(path).name: sha256(path) for path in data if path not in (None, "-")},
            "metric": " + ".join(name for name, w in recipe.T["score_weights"].items() if w),
            "best_step": event.step,
            "score": event.score,
        },
    }
    sections = {name: recipe.config[name] for name in ("training", "schedule")}
    # spaCy adds the components' own scores to those that a config chooses, unless it names them.
    unused: dict[str, Any] = {
        score: None
        for name in nlp.pipe_names
        for score in nlp.get_pipe_meta(name).default_score_weights
    }
    weights = unused | dict(sections["training"]["score_weights"])
    sections["training"] = {**sections["training"], "score_weights": weights}
    nlp.config = nlp.config.merge(sections)


def _complete(path: Path, progress: _Progress, request: str) -> None:
    """Add to a trained pipeline what is only known once training has ended."""
    meta = srsly.read_json(path / "meta.json")
    meta["trf"]["training"].update(
        steps=progress.step,
        stopped_early=progress.stopped_early,
        seconds=progress.seconds,
        request=request,
    )
    srsly.write_json(path / "meta.json", meta)
    srsly.write_jsonl(path / "training.jsonl", progress.history)


def _put_in_place(workspace: Workspace, target: Path, was: str | None) -> str | None:
    """Put the best pipeline where it was asked for. Returns what was there, as a phrase."""
    previous = None
    if target.exists():
        previous = was or "another pipeline"
        _keep_foreign_files(target, workspace.best)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_directory(target, workspace.best)
    workspace.remove()
    return previous


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
