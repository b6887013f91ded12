"""Trains one model: from a pipeline that was just loaded to the trained one in the workspace."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from spacy.language import Language
from thinc.api import fix_random_seed

from trfcli_pipeline.data.checks import data_warnings
from trfcli_pipeline.data.outputs.spaces import is_full
from trfcli_pipeline.data.outputs.staging import staged_directory
from trfcli_pipeline.errors import NonFiniteError, OutputError
from trfcli_pipeline.evaluation.abstention import FEWEST_TEXTS
from trfcli_pipeline.pipeline.loading import require_encoder
from trfcli_pipeline.pipeline.saved import pipeline_digest
from trfcli_pipeline.progress import Phase, phase
from trfcli_pipeline.training.abstaining import add_novelty, learn_to_abstain
from trfcli_pipeline.training.checkpoints import Workspace
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.distributed import DistributedContext
from trfcli_pipeline.training.events import Checkpointed, Evaluated, Planned, Stepped, TrainingEvent
from trfcli_pipeline.training.examples import Examples
from trfcli_pipeline.training.provenance import complete_meta, describe_training
from trfcli_pipeline.training.setup import (
    set_up_classifier,
    set_up_encoder,
    set_up_outputs,
    set_up_segments,
)
from trfcli_pipeline.training.size_rules import format_rate
from trfcli_pipeline.training.trainer import Trainer
from trfcli_pipeline.training.trainer_state import TrainerState

# Bytes of memory for examples; the rest are tokenized again whenever they are needed.
_MEMORY = 3 * 2**30


@dataclass(frozen=True, slots=True)
class Run:
    """What the models of a training share.

    Attributes:
        workspace: Where they are until they are finished.
        identity: What the training depends on; see `provenance.identify`.
        request: Digest of the identity.
        files: The data files; see `provenance.describe_files`.
    """

    workspace: Workspace
    context: DistributedContext
    data: Data
    identity: Mapping[str, Any]
    request: str
    files: Mapping[str, Any]

    def summarize(self, state: TrainerState) -> dict[str, Any]:
        """The facts about a trained model that an experiment tracker shows."""
        return {
            "score": state.best_score,
            "best_step": state.best_step,
            "steps": state.step,
            "seconds": round(state.seconds, 1),
            "model": pipeline_digest(self.workspace.best),
        }


def train_model(
    nlp: Language, config: TrainingConfig, run: Run, *, title: str, resume: bool, discards: bool
) -> Generator[TrainingEvent, None, TrainerState]:
    """Train a model with one seed, and leave it in the workspace.

    Args:
        nlp: The untrained pipeline.
        title: What is going on, for a progress bar.
        resume: Whether to continue from the checkpoint, if it is of this seed.
        discards: Whether what an unfinished training left is removed otherwise.
    """
    workspace, context, data = run.workspace, run.context, run.data
    arguments = config.arguments
    resumed = resume and workspace.has_checkpoint_of(config.seed)
    encoder = require_encoder(nlp)
    if not arguments.freeze_encoder:
        encoder.model.shim.check_trainable()
    fix_random_seed(config.seed)
    # LoRA adapters have to start alike in all processes, so they come before the seeds differ.
    methods = set_up_encoder(encoder, config)
    # The order of the texts is the same in all processes, but dropout differs.
    torch.manual_seed(config.seed + context.rank)
    segments = set_up_segments(nlp, config)
    set_up_outputs(nlp, config)
    examples = Examples(
        nlp,
        data.train,
        data.labels,
        exclusive=config.exclusive,
        encode=arguments.freeze_encoder,
        memory=_MEMORY // context.size,
    )
    setup = set_up_classifier(nlp, config, data, examples)
    trainer = Trainer(nlp, encoder, setup.classifier, examples, data, config, context)
    trainer.shared_weights.broadcast()
    if resumed:
        trainer.restore(workspace)
    shim = encoder.model.shim
    discarded = workspace if discards and not resumed else None
    plan = Planned(
        config,
        data,
        warnings=[*_find_warnings(trainer, data, discarded), *setup.warnings],
        device=str(shim.device),
        threads=torch.get_num_threads(),
        mean_length=examples.mean_length,
        classifier=setup.phrase,
        segments=segments,
        precision="fp32" if arguments.freeze_encoder else shim.precision,
        methods=methods,
        done_steps=trainer.state.step,
        self_training=setup.self_training,
    )
    yield plan

    if context.is_first and not resumed:
        workspace.remove(keep_seeds=not discards)
    with phase(title, total=config.steps, unit="steps", done=plan.done_steps) as training:
        yield from _run(trainer, plan, run, training)
    if context.is_first:
        with trainer.averaged():
            add_novelty(trainer, workspace.best)
        complete_meta(workspace.best, trainer.state, run.identity["the pipeline"], run.request)
    return trainer.state


def _find_warnings(trainer: Trainer, data: Data, discarded: Workspace | None) -> list[str]:
    """Warnings about the data, the memory, and an unfinished training run to be discarded."""
    examples, is_first = trainer.examples, trainer.context.is_first
    with phase("Looking for problems in the texts"):
        found = data_warnings(data.train, data.dev) if is_first else []
    if examples.n_kept < len(examples):
        done = "encoded" if examples.encode else "tokenized"
        found.append(
            f"{len(examples) - examples.n_kept:,} of {len(examples):,} training texts don't fit "
            f"in memory and will be {done} again in every epoch"
        )
    arguments = trainer.config.arguments
    if arguments.asks_for_abstention and len(data.dev) < FEWEST_TEXTS:
        option = "--min-accuracy" if arguments.coverage is None else "--coverage"
        found.append(
            f"{option} is ignored: it needs at least {FEWEST_TEXTS} dev texts, and there are only "
            f"{len(data.dev)} (--dev)"
        )
    if is_first and discarded is not None and discarded.can_resume:
        place = ""
        if discarded.checkpoint.exists():
            step = discarded.step
            place = ", which is damaged," if step is None else f" at step {step:,}"
        found.append(f"An unfinished training{place} will be discarded (--resume continues it)")
    return found


def _run(trainer: Trainer, plan: Planned, run: Run, training: Phase) -> Iterator[TrainingEvent]:
    """Run the trainer, and save the best pipeline and the checkpoints as its events say."""
    workspace = run.workspace
    try:
        for event in trainer.run():
            if isinstance(event, Stepped):
                training.done, training.note = event.step, f"loss {event.loss:.3f}"
            if isinstance(event, Evaluated) and event.kept_because:
                learn_to_abstain(trainer.classifier, event.evaluation, trainer.config)
                describe_training(trainer.nlp, trainer.classifier, plan, event, run.files)
                with (
                    phase("Saving the model"),
                    trainer.averaged(),
                    staged_directory(workspace.best) as staging,
                ):
                    trainer.nlp.to_disk(staging)
            if isinstance(event, Checkpointed):
                facts = {"identity": run.identity, "seed": trainer.config.seed}
                state = trainer.plain_state()
                if trainer.context.is_first:
                    workspace.save({**state, **facts}, trainer.tensors())
            yield event
    except BaseException as error:
        if isinstance(error, OutputError) and is_full(error):
            raise _explain_full_disk(workspace, error) from error
        has_kept = isinstance(error, NonFiniteError) and workspace.best.exists()
        if trainer.context.is_first and not workspace.can_resume and not has_kept:
            workspace.remove()
        if isinstance(error, NonFiniteError):
            raise _explain_non_finite(error, trainer, workspace) from error
        raise


def _explain_full_disk(workspace: Workspace, error: OutputError) -> OutputError:
    """The error for a full disk, which says what is kept and how to go on."""
    if workspace.can_resume:
        hint = "Free some space, then run the same command with --resume"
        return OutputError(f"{error.message}; the last checkpoint is kept", hint=hint)
    if workspace.best.exists():
        hint = "Free some space, then run the same command again"
        return OutputError(
            f"{error.message}; the best model is kept in {workspace.best}", hint=hint
        )
    workspace.remove()
    return error


def _explain_non_finite(
    error: NonFiniteError, trainer: Trainer, workspace: Workspace
) -> NonFiniteError:
    """Add to an error when it happened, what is kept, and how to go on."""
    state, config = trainer.state, trainer.config
    option, rate = "--learn-rate", config.trf_lr
    if rate is None:
        option, rate = "--training.optimizer.learn_rate.initial_rate", config.learn_rate
    advice = f"Lower the learning rate ({option}, now {format_rate(rate)})"
    if trainer.encoder.model.shim.precision == "fp16":
        advice += " or train in another precision (--precision fp32)"
    if workspace.best.exists():
        advice += (
            f". The model of step {state.best_step:,} is kept in {workspace.best} until the next "
            "training: copy it to train it further"
        )
    return NonFiniteError(f"After step {state.step:,}, {error.message}", hint=advice)
