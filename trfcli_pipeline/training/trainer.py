"""The steps of a training, with an evaluation and a checkpoint every so often."""

import math
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from spacy.language import Language
from spacy.util import minibatch
from thinc.api import Model, xp2torch

from trfcli_pipeline.data.labels import complete_cats
from trfcli_pipeline.evaluation.eval_prediction import DEFAULT_THRESHOLD, Threshold
from trfcli_pipeline.evaluation.evaluate import predict
from trfcli_pipeline.evaluation.results import Evaluation, score_cats
from trfcli_pipeline.evaluation.thresholds import tune_thresholds
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.training.checkpoints import (
    Workspace,
    head_state,
    random_state,
    restore_head,
    restore_python_random,
    restore_random_state,
)
from trfcli_pipeline.training.config import TEXTCAT, TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.distributed import DistributedContext
from trfcli_pipeline.training.events import Checkpointed, Choice, Evaluated, Stepped
from trfcli_pipeline.training.examples import Examples


@dataclass(slots=True)
class TrainerState:
    """Where a training stands; all of it plain values.

    Attributes:
        epoch_step: Steps of the current epoch that are done.
        order: State of Python's random numbers when the epoch was shuffled.
        losses: Of the steps since the last evaluation.
        words: Trained on since the last evaluation, within `word_seconds`.
        best_step, best_score: Of the state that is kept.
        choice: Why it is kept.
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
    choice: Choice = "score"
    risen_step: int = 0
    stopped_early: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Epochs of steps, with an evaluation and a checkpoint every so often."""

    def __init__(
        self,
        nlp: Language,
        encoder: TransformersTok2Vec,
        classifier: TransformersTextCategorizer,
        examples: Examples,
        data: Data,
        recipe: TrainingConfig,
        ranks: DistributedContext,
    ) -> None:
        self.nlp = nlp
        self.encoder = encoder
        self.classifier = classifier
        self.examples = examples
        self.dev_texts = [record.text for record in data.dev]
        self.dev_decides = data.dev_decides
        self.dev_gold = [
            complete_cats(record, classifier.labels, recipe.exclusive) for record in data.dev
        ]
        self.recipe = recipe
        self.ranks = ranks
        self.weights = {name: w for name, w in recipe.T["score_weights"].items() if w}
        self.freeze_encoder = recipe.settings.freeze_encoder
        self.progress = TrainerState()
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
                now.words += sum(self.examples.n_tokens[index] for batch in step for index in batch)
                now.word_seconds += time.perf_counter() - start
                now.seconds += time.perf_counter() - start
                yield Stepped(now.step, loss)
                position = now.epoch + now.epoch_step / len(epoch)
                if now.epoch_step == len(epoch):
                    now.epoch, now.epoch_step = now.epoch + 1, 0
                is_last = now.step >= self.recipe.steps
                if is_last or now.step % T["eval_frequency"] == 0:
                    yield from self._evaluate_first(position)
                every = self.recipe.checkpoint_every
                if every and now.step % every == 0 and not is_last:
                    yield Checkpointed(now.step)
                if now.stopped_early:
                    return

    def state(self) -> dict[str, Any]:
        """What a checkpoint says beside `tensors`: plain values. To be called by all processes."""
        return {"progress": asdict(self.progress), "random": self.ranks.gather(random_state())}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights, and what the optimizers remember."""
        tensors = head_state(self.classifier.model, self.recipe.optimizer)
        if not self.freeze_encoder:
            tensors |= self.encoder.model.shim.adamw.state_dict()
        return tensors

    def averaged(self) -> AbstractContextManager[None]:
        """Put averages in the place of the weights, where the recipe has them kept."""
        return self.nlp.use_params(self.recipe.optimizer.averages)

    def restore(self, workspace: Workspace) -> None:
        """Continue from a checkpoint."""
        state, tensors = workspace.load()
        self.progress = TrainerState(**state["progress"])
        self._random_state = state["random"][self.ranks.rank]
        for _ in range(self.progress.step):
            self.recipe.optimizer.step_schedules()
        restore_head(self.classifier.model, self.recipe.optimizer, tensors)
        if not self.freeze_encoder:
            self.encoder.model.shim.adamw.load_state_dict(tensors)

    def _epoch(self) -> list[list[list[int]]]:
        """The batches of each step of the current epoch, as indices of the examples."""
        if self.progress.epoch_step:
            restore_python_random(self.progress.order)
        else:
            if self._random_state is not None:
                restore_random_state(self._random_state)
            self.progress.order = random.getstate()
        order = list(range(len(self.examples)))
        random.shuffle(order)
        # All of them at once, so that nothing else draws random numbers in between.
        batches = [
            [entry.index for entry in batch]
            for batch in self.recipe.T["batcher"](self.examples.entries(order))
        ]
        if self._random_state is not None and self.progress.epoch_step:
            restore_random_state(self._random_state)
        self._random_state = None
        return list(minibatch(batches, self.recipe.T["accumulate_gradient"]))

    def _update(self, step: list[list[int]]) -> float:
        optimizer, dropout = self.recipe.optimizer, self.recipe.T["dropout"]
        losses: dict[str, float] = {}
        for batch in step:
            own = self.examples.take(self.ranks.part(batch))
            if self.freeze_encoder:
                # The Docs carry the encoder's output already, so only the head has work to do.
                self.classifier.update(own, drop=dropout, losses=losses)
            else:
                self.nlp.update(
                    own, drop=dropout, sgd=cast(Any, False), losses=losses, exclude=self._frozen()
                )
        self.encoder.complete_update()
        if len(step) > 1:
            for gradient in self._gradients():
                gradient.div_(len(step))
        share = self.ranks.share(step)
        self.ranks.sum_gradients(list(self._gradients()), share)
        if not self.freeze_encoder:
            self.encoder.finish_update(optimizer)
        self.classifier.finish_update(optimizer)
        optimizer.step_schedules()
        return self.ranks.sum(losses[TEXTCAT] / len(step) * share, self.encoder.model.shim.device)

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

    def _evaluate_first(self, epoch: float) -> Iterator[Evaluated]:
        """Evaluate in the first process, and let the others know what came out."""
        now = self.progress
        if self.ranks.is_first:
            yield self._evaluate(epoch)
        now.losses, now.words, now.word_seconds = [], 0, 0.0
        names = ["best_step", "best_score", "choice", "risen_step", "stopped_early", "history"]
        found = self.ranks.from_first([getattr(now, name) for name in names])
        for name, value in zip(names, found, strict=True):
            setattr(now, name, value)

    def _evaluate(self, epoch: float) -> Evaluated:
        now, start = self.progress, time.perf_counter()
        with self.averaged():
            evaluation = self._judge()
        score = self._score(evaluation)
        if score > now.best_score:
            now.risen_step = now.step
        choice = self._choose(score)
        if choice:
            now.best_step, now.best_score, now.choice = now.step, score, choice
        patience = self.recipe.T["patience"]
        now.stopped_early = (
            bool(patience)
            and self.dev_decides
            and now.step < self.recipe.steps
            and now.step - now.risen_step >= patience
        )
        loss, speed = sum(now.losses) / len(now.losses), now.words / now.word_seconds
        event = Evaluated(now.step, epoch, loss, speed, score, evaluation, choice)
        now.history.append(_history_row(event))
        now.seconds += time.perf_counter() - start
        return event

    def _judge(self) -> Evaluation:
        """Run the pipeline on the dev texts; labels that aren't exclusive get thresholds first."""
        cats, labels = predict(self.nlp, self.dev_texts).cats, self.classifier.labels
        threshold: Threshold = DEFAULT_THRESHOLD
        if not self.recipe.exclusive:
            threshold = tune_thresholds(self.dev_gold, cats, labels)
            self.classifier.thresholds = threshold
        return score_cats(
            self.dev_gold, cats, labels, exclusive=self.recipe.exclusive, threshold=threshold
        )

    def _choose(self, score: float) -> Choice | None:
        """Why to keep a state of this score rather than the one that was kept, if so."""
        best, is_last = self.progress.best_score, self.progress.step == self.recipe.steps
        if not self.dev_decides:
            return "last" if is_last else None
        # Of equal scores the later one, which was reached with the lower learning rate.
        if score >= best:
            return "score"
        # Where the rate has come to zero, a state is better as a rule than those on the way, which
        # chance may favour on a few hundred dev texts.
        at_rest = is_last and self.recipe.optimizer.learn_rate == 0
        return "rate" if at_rest and score >= best - self._chance(best) else None

    def _chance(self, score: float) -> float:
        """The standard error of a score, as if it were the share of dev texts that are right."""
        return math.sqrt(max(score * (1 - score), 0.0) / len(self.dev_texts))

    def _score(self, evaluation: Evaluation) -> float:
        figures = _figures(evaluation)
        return sum(w * (figures[name] or 0.0) for name, w in self.weights.items())


def _head_gradients(model: Model) -> Iterator[torch.Tensor]:
    for node in model.walk():
        for name in node.param_names:
            if node.has_grad(name):
                yield xp2torch(node.get_grad(name))


def _history_row(event: Evaluated) -> dict[str, Any]:
    figures = _figures(event.evaluation)
    return {
        "step": event.step,
        "epoch": event.epoch,
        "loss": event.loss,
        "score": event.score,
        "is_kept": event.choice is not None,
        **{name: value for name, value in figures.items() if isinstance(value, float)},
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """Those of `Evaluation.metrics` that are quickly computed: no intervals."""
    return {**evaluation.cats, "accuracy": evaluation.accuracy, "ece": evaluation.ece}
