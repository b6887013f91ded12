"""The training loop: steps, evaluations and checkpoints."""

import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, cast

import torch
from spacy.language import Language
from spacy.util import minibatch

from trfcli_pipeline.data.labels import complete_cats
from trfcli_pipeline.errors import NonFiniteError
from trfcli_pipeline.evaluation.eval_prediction import DEFAULT_THRESHOLD, Threshold
from trfcli_pipeline.evaluation.results import Evaluation, score_cats
from trfcli_pipeline.evaluation.run import predict_texts
from trfcli_pipeline.evaluation.thresholds import tune_thresholds
from trfcli_pipeline.heads.architectures import kinds_read
from trfcli_pipeline.pipeline.running import few_collections
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
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.distributed import DistributedContext, SharedWeights
from trfcli_pipeline.training.events import Checkpointed, Evaluated, KeepReason, Stepped
from trfcli_pipeline.training.examples import Examples
from trfcli_pipeline.training.overrides import TEXTCAT
from trfcli_pipeline.training.trainer_state import TrainerState


class Trainer:
    """Trains epoch by epoch, and reports each step, evaluation and checkpoint.

    Args:
        encoder: The pipeline's encoder.
        classifier: The pipeline's classifier.
        examples: The training set.
        data: The data, which includes the dev set.
        config: Fitted to the data.
        context: This process and those that train with it.
    """

    def __init__(
        self,
        nlp: Language,
        encoder: TransformersTok2Vec,
        classifier: TransformersTextCategorizer,
        examples: Examples,
        data: Data,
        config: TrainingConfig,
        context: DistributedContext,
    ) -> None:
        self.nlp = nlp
        self.encoder = encoder
        self.classifier = classifier
        self.examples = examples
        self.dev_texts = [record.text for record in data.dev]
        self.dev_decides = data.dev_decides
        # In multi-label data, labels that only the classifier knows are unknown.
        self.dev_labels = classifier.labels if config.exclusive else data.labels
        self.dev_gold = [complete_cats(each, data.labels, config.exclusive) for each in data.dev]
        self.config = config
        self.context = context
        self.freeze_encoder = config.arguments.freeze_encoder
        self.kinds = kinds_read(classifier.model)
        # The mean size of an update, because the first one may be unusual.
        n_pieces = round(examples.mean_length * config.batch_size)
        encoder.model.shim.expect_updates(n_pieces)
        weights = [] if self.freeze_encoder else encoder.model.shim.gradients.weights
        self.shared_weights = SharedWeights(context, weights, classifier.model)
        self.state = TrainerState()
        self._random_state: Mapping[str, Any] | None = None

    def has_ended(self) -> bool:
        return self.state.stopped_early or self.state.step >= self.config.steps

    def run(self) -> Iterator[Stepped | Evaluated | Checkpointed]:
        """Train until the last step, or until patience stops it."""
        state, config = self.state, self.config
        while not self.has_ended():
            epoch = self._epoch()
            for step in epoch[state.epoch_step :]:
                start = time.perf_counter()
                loss = self._update(step)
                if not math.isfinite(loss):
                    raise NonFiniteError(f"{self.classifier.name}: the loss is {loss}")
                state.step += 1
                state.epoch_step += 1
                state.losses.append(loss)
                state.words += sum(self.examples.n_tokens[i] for batch in step for i in batch)
                state.word_seconds += time.perf_counter() - start
                state.seconds += time.perf_counter() - start
                yield Stepped(state.step, loss)
                position = state.epoch + state.epoch_step / len(epoch)
                if state.epoch_step == len(epoch):
                    state.epoch, state.epoch_step = state.epoch + 1, 0
                is_last = state.step >= config.steps
                if is_last or state.step % config.training["eval_frequency"] == 0:
                    yield from self._evaluate_together(position)
                every = config.checkpoint_every
                if every and state.step % every == 0 and not is_last:
                    yield Checkpointed(state.step)
                if self.has_ended():
                    return

    def plain_state(self) -> dict[str, Any]:
        """The part of a checkpoint that JSON can hold. All processes have to call this together."""
        shim = self.encoder.model.shim
        return {
            "progress": asdict(self.state),
            "random": self.context.gather(random_state(shim.device)),
            "memory": self.context.gather(shim.updating.state_dict()),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """The part of a checkpoint that is tensors: weights and optimizer states.

        Raises:
            NonFiniteError: One of them has NaN or an infinite number.
        """
        tensors = head_state(self.classifier.model, self.config.optimizer)
        if not self.freeze_encoder:
            tensors |= self.encoder.model.shim.adamw.state_dict()
        broken = [name for name, each in tensors.items() if not each.isfinite().all()]
        if broken:
            raise NonFiniteError(f"{broken[0]} is NaN or infinite")
        return tensors

    def averaged(self) -> AbstractContextManager[None]:
        """Swap the weights for their averages, if the config asks for averages."""
        return self.nlp.use_params(self.config.optimizer.averages)

    def restore(self, workspace: Workspace) -> None:
        """Continue from a checkpoint.

        Raises:
            PipelineError: A part of it is missing or damaged.
        """
        state, tensors = workspace.load()
        with workspace.explain():
            self.state = TrainerState(**state["progress"])
            self._random_state = state["random"][self.context.rank]
            self.encoder.model.shim.updating.load_state_dict(state["memory"][self.context.rank])
            for _ in range(self.state.step):
                self.config.optimizer.step_schedules()
            restore_head(self.classifier.model, self.config.optimizer, tensors)
            if not self.freeze_encoder:
                self.encoder.model.shim.adamw.load_state_dict(tensors)
            # Each epoch sets these again. Here, damaged ones are found before training goes on.
            restore_random_state(self._random_state, self.encoder.model.shim.device)
            if self.state.epoch_step:
                restore_python_random(self.state.order)

    def _epoch(self) -> list[list[list[int]]]:
        """The batches of each step of the current epoch, as indices into the examples."""
        if self.state.epoch_step:
            restore_python_random(self.state.order)
        else:
            if self._random_state is not None:
                restore_random_state(self._random_state, self.encoder.model.shim.device)
            self.state.order = random.getstate()
        order = list(range(len(self.examples)))
        random.shuffle(order)
        # All batches at once, or dropout would draw random numbers in between.
        batches = [
            [entry.index for entry in batch]
            for batch in self.config.training["batcher"](self.examples.entries(order))
        ]
        if self._random_state is not None and self.state.epoch_step:
            restore_random_state(self._random_state, self.encoder.model.shim.device)
        self._random_state = None
        return list(minibatch(batches, self.config.training["accumulate_gradient"]))

    def _update(self, step: list[list[int]]) -> float:
        optimizer, dropout = self.config.optimizer, self.config.training["dropout"]
        losses: dict[str, float] = {TEXTCAT: 0.0}
        for batch in step:
            part = self.context.part(batch)
            if not part:
                continue
            own = self.examples.take(part)
            # The loss is a mean over the known labels.
            weight = self._n_known(part) / max(self._n_known(batch), 1) / len(step)
            if not self.freeze_encoder:
                # `nlp.update` would copy the Docs, which takes as long as encoding short texts on a
                # GPU. They have wordpieces, and all other components are frozen.
                self.encoder.update(own, drop=dropout, losses=losses, kinds=self.kinds)
            # With a frozen encoder, the Docs already have its output.
            self.classifier.update(own, drop=dropout, losses=losses, weight=weight)
            if not self.freeze_encoder:
                self.encoder.release([example.predicted for example in own])
        self.encoder.complete_update()
        self.shared_weights.sum_gradients()
        if not self.freeze_encoder:
            self.encoder.finish_update(optimizer)
        self.classifier.finish_update(optimizer)
        optimizer.step_schedules()
        return self.context.sum(losses[TEXTCAT])

    def _n_known(self, batch: list[int]) -> int:
        return sum(self.examples.n_known[index] for index in batch)

    def _evaluate_together(self, epoch: float) -> Iterator[Evaluated]:
        """Predict the dev set in all processes, and score it in the first one."""
        state, start = self.state, time.perf_counter()
        with self.averaged(), few_collections():
            own = predict_texts(
                self.nlp, self.context.part(self.dev_texts), title="Evaluating"
            ).cats
        cats = self.context.collect(own)
        if self.context.is_first:
            yield self._evaluate(epoch, cats, start)
        state.losses, state.words, state.word_seconds = [], 0, 0.0
        # Processes of different machines may round scores differently, but must stop together.
        for name, value in self.context.gather(asdict(state))[0].items():
            setattr(state, name, value)

    def _evaluate(
        self, epoch: float, cats: Sequence[Mapping[str, float]], start: float
    ) -> Evaluated:
        state, evaluation = self.state, self._score_dev(cats)
        score = self._score(evaluation)
        if score > state.best_score:
            state.improved_step = state.step
        reason = self._reason_to_keep(score)
        if reason:
            state.best_step, state.best_score, state.kept_because = state.step, score, reason
        patience = self.config.training["patience"]
        state.stopped_early = (
            bool(patience)
            and self.dev_decides
            and state.step < self.config.steps
            and state.step - state.improved_step >= patience
        )
        loss, speed = sum(state.losses) / len(state.losses), state.words / state.word_seconds
        metric = self.config.metric
        event = Evaluated(state.step, epoch, loss, speed, metric, score, evaluation, reason)
        state.history.append(history_row(event))
        state.seconds += time.perf_counter() - start
        return event

    def _score_dev(self, cats: Sequence[Mapping[str, float]]) -> Evaluation:
        """Score predictions for the dev set; tune a multi-label classifier's thresholds first."""
        labels, threshold = self.dev_labels, cast(Threshold, DEFAULT_THRESHOLD)
        if not self.config.exclusive:
            threshold = tune_thresholds(self.dev_gold, cats, labels)
            self.classifier.thresholds = {**self.classifier.thresholds, **threshold}
        return score_cats(
            self.dev_gold,
            cats,
            labels,
            exclusive=self.config.exclusive,
            threshold=threshold,
        )

    def _reason_to_keep(self, score: float) -> KeepReason | None:
        """Reason to keep the current weights instead of the best so far; None if there is none."""
        best, is_last = self.state.best_score, self.state.step == self.config.steps
        if not self.dev_decides:
            return "last" if is_last else None
        if is_last and not self.state.history:
            return "only"
        # Of equal scores we prefer the later one, as its learning rate was lower.
        if score >= best:
            return "score"
        # Weights are usually best once the learning rate has reached zero. On a few hundred dev
        # texts, an earlier score may be higher just by chance.
        has_settled = is_last and self.config.optimizer.learn_rate == 0
        # As if the score were an accuracy on the dev texts.
        standard_error = math.sqrt(max(best * (1 - best), 0.0) / len(self.dev_texts))
        return "rate" if has_settled and score >= best - standard_error else None

    def _score(self, evaluation: Evaluation) -> float:
        scores, weights = _scores(evaluation), self.config.score_weights
        return sum(weight * (scores[name] or 0.0) for name, weight in weights.items())


def history_row(event: Evaluated) -> dict[str, Any]:
    """The row of an evaluation in `training.jsonl`."""
    scores = _scores(event.evaluation)
    return {
        "step": event.step,
        "epoch": event.epoch,
        "loss": event.loss,
        "score": event.score,
        "is_kept": event.kept_because is not None,
        # JSON has no NaN.
        **{
            name: value if math.isfinite(value) else None
            for name, value in scores.items()
            if isinstance(value, float)
        },
    }


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    """The scores of an evaluation that are quick to compute: no confidence intervals."""
    return {**evaluation.cats, "accuracy": evaluation.accuracy, "ece": evaluation.ece}
