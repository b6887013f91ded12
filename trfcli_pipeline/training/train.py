"""Fine-tunes a pipeline's encoder and text classifier from start to end."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from thinc.api import fix_random_seed

from trfcli_pipeline.data.checks import data_warnings
from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.outputs.directories import OutputDirectory
from trfcli_pipeline.data.outputs.spaces import is_full
from trfcli_pipeline.data.outputs.staging import staged_directory
from trfcli_pipeline.encoder.devices import resolve_device
from trfcli_pipeline.errors import ArgumentError, NonFiniteError, OutputError
from trfcli_pipeline.pipeline.loading import check_pipeline, load_pipeline, require_encoder
from trfcli_pipeline.progress import Phase, phase
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.checkpoints import Workspace
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data, read_data
from trfcli_pipeline.training.distributed import DistributedContext, own_device
from trfcli_pipeline.training.events import (
    Checkpointed,
    Evaluated,
    Planned,
    Stepped,
    TrainingEvent,
)
from trfcli_pipeline.training.examples import Examples
from trfcli_pipeline.training.output import claim_output, replace_pipeline
from trfcli_pipeline.training.provenance import (
    check_identity,
    complete_meta,
    describe_training,
    digest,
    digest_files,
    has_finished,
    identify,
    read_result,
)
from trfcli_pipeline.training.setup import (
    describe_classifier,
    set_up_classifier,
    set_up_encoder,
    set_up_segments,
)
from trfcli_pipeline.training.size_rules import format_rate
from trfcli_pipeline.training.trainer import Trainer

# Bytes of memory for examples; the rest are tokenized again whenever they are needed.
_MEMORY = 3 * 2**30


def train_textcat(
    model: str,
    train: DataSource,
    *,
    dev: DataSource | None = None,
    output: Path | None = None,
    arguments: TrainingArguments | None = None,
    resume: bool = False,
    force: bool = False,
) -> Generator[TrainingEvent, None, None]:
    """Train a pipeline's text classifier together with its encoder.

    The pipeline at `model` is overwritten only if training succeeds.

    Args:
        model: Directory or name of a pipeline with a trf_tok2vec.
        train: File with labeled texts.
        dev: File with the labeled texts of the dev set; by default some of the training texts
            are held out.
        output: Directory for the trained pipeline; by default `model` itself.
        resume: Whether to continue an interrupted training run from its last checkpoint, to the
            same result. Without a checkpoint, training starts from the beginning.
        force: Whether to replace a pipeline at `output` that is neither `model` nor an earlier
            result of training it. Other files in its directory stay in any case.

    Yields:
        One `Planned`; a `Stepped`, `Evaluated` or `Checkpointed` after each of these; and one
        `Finished`.

    Raises:
        ArgumentError: An argument or override can't be used.
        DataError: The texts or the config file can't be used.
        PipelineError: The pipeline can't be used, or the training run can't be resumed.
        OutputError: The output directory can't be replaced.
        DeviceError: There is no such device, or it runs out of memory.
        NonFiniteError: The loss or weights become NaN. The best model so far is kept.
    """
    arguments = arguments or TrainingArguments()
    if dev is not None and arguments.dev_split is not None:
        raise ArgumentError(
            "--dev-split can't be combined with --dev: no training texts are held out then",
            hint="Leave out one or the other",
        )
    # Report errors in the settings before anything that takes time.
    check_pipeline(model)
    TrainingConfig(arguments, exclusive=arguments.is_exclusive() is not False).fit(1)
    with claim_output(model, output, arguments, data=[train, dev], force=force) as claim:
        yield from _train(model, train, dev, output, arguments, claim, resume=resume)


def _train(
    model: str,
    train: DataSource,
    dev: DataSource | None,
    output: Path | None,
    arguments: TrainingArguments,
    claim: OutputDirectory,
    *,
    resume: bool,
) -> Iterator[TrainingEvent]:
    shown = Path(model) if output is None else output
    target = claim.target
    workspace = Workspace.beside(target)
    device = own_device(arguments.device)
    context = DistributedContext.join(resolve_device(device))
    with phase("Checking the texts"):
        data, config = read_data(train, dev, arguments, n_processes=context.size)

    nlp = load_pipeline(model, device=device, overrides=config.pipeline_overrides)
    identity = identify(config, nlp.path, data)
    # When trained in place, the pipeline has changed by the time we compare this.
    request = digest({**identity, "the pipeline": output and identity["the pipeline"]})
    if resume and has_finished(target, request):
        if context.is_first:
            workspace.remove()
        context.close()
        yield replace(read_result(target, shown), already_finished=True)
        return
    if resumed := resume and workspace.can_resume:
        check_identity(workspace, identity)

    encoder = require_encoder(nlp)
    if not arguments.freeze_encoder:
        encoder.model.shim.check_trainable()
    before = describe_classifier(nlp)
    fix_random_seed(config.seed)
    # LoRA adapters have to start alike in all processes, so they come before the seeds differ.
    methods = set_up_encoder(encoder, config)
    # The order of the texts is the same in all processes, but dropout differs.
    torch.manual_seed(config.seed + context.rank)
    segments = set_up_segments(nlp, config)
    setup = set_up_classifier(nlp, config, data)
    examples = Examples(
        nlp,
        data.train,
        data.labels,
        exclusive=config.exclusive,
        encode=arguments.freeze_encoder,
        memory=_MEMORY // context.size,
    )
    trainer = Trainer(nlp, encoder, setup.classifier, examples, data, config, context)
    trainer.shared_weights.broadcast()
    if resumed:
        trainer.restore(workspace)
    shim = encoder.model.shim
    plan = Planned(
        config,
        data,
        warnings=[
            *_find_warnings(trainer, data, None if resumed else workspace),
            *setup.warnings,
        ],
        device=str(shim.device),
        threads=torch.get_num_threads(),
        mean_length=examples.mean_length,
        classifier=setup.phrase,
        segments=segments,
        precision="fp32" if arguments.freeze_encoder else shim.precision,
        methods=methods,
        done_steps=trainer.state.step,
    )
    yield plan

    if context.is_first and not resumed:
        workspace.remove()
    with phase("Training", total=config.steps, unit="steps", done=plan.done_steps) as training:
        yield from _run(trainer, workspace, plan, identity, digest_files(train, dev), training)
    replaced = None
    if target.exists():
        in_place = target.resolve() == Path(model).expanduser().resolve()
        replaced = before if in_place else "the pipeline that was there"
    if context.is_first:
        complete_meta(workspace.best, trainer.state, identity["the pipeline"], request)
        with phase(f"Saving {shown}"):
            replace_pipeline(claim, workspace.best)
        workspace.remove()
    context.close()
    yield replace(read_result(target, shown), replaced=replaced, seconds=trainer.state.seconds)


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
    if is_first and discarded is not None and discarded.can_resume:
        place = ", which is damaged," if discarded.step is None else f" at step {discarded.step:,}"
        found.append(f"An unfinished training{place} will be discarded (--resume continues it)")
    return found


def _run(
    trainer: Trainer,
    workspace: Workspace,
    plan: Planned,
    identity: Mapping[str, Any],
    files: Mapping[str, str],
    training: Phase,
) -> Iterator[TrainingEvent]:
    """Run the trainer, and save the best pipeline and the checkpoints as its events say."""
    try:
        for event in trainer.run():
            if isinstance(event, Stepped):
                training.done, training.note = event.step, f"loss {event.loss:.3f}"
            if isinstance(event, Evaluated) and event.kept_because:
                describe_training(trainer.nlp, trainer.classifier, plan, event, files)
                with (
                    phase("Saving the model"),
                    trainer.averaged(),
                    staged_directory(workspace.best) as staging,
                ):
                    trainer.nlp.to_disk(staging)
            if isinstance(event, Checkpointed):
                state = trainer.plain_state()
                if trainer.context.is_first:
                    workspace.save({**state, "identity": identity}, trainer.tensors())
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
