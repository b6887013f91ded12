"""Fine-tunes a pipeline's encoder and text classifier from start to end."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from spacy.language import Language

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.outputs.directories import OutputDirectory
from trfcli_pipeline.encoder.devices import resolve_device
from trfcli_pipeline.errors import ArgumentError
from trfcli_pipeline.pipeline.loading import check_pipeline, load_pipeline
from trfcli_pipeline.progress import phase
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.checkpoints import Workspace
from trfcli_pipeline.training.data import read_data
from trfcli_pipeline.training.distributed import DistributedContext, own_device
from trfcli_pipeline.training.events import SeedFinished, SeedStarted, TrainingEvent
from trfcli_pipeline.training.output import claim_output, replace_pipeline
from trfcli_pipeline.training.provenance import (
    check_identity,
    describe_files,
    digest,
    has_finished,
    identify,
    read_result,
    record_seeds,
)
from trfcli_pipeline.training.seeds import SeedResults, config_with_seed
from trfcli_pipeline.training.setup import describe_classifier
from trfcli_pipeline.training.stored_arguments import check_settings, complete_arguments
from trfcli_pipeline.training.trackers import check_tracker
from trfcli_pipeline.training.tracking import track as track_events
from trfcli_pipeline.training.train_model import Run, train_model


def train_textcat(
    model: str,
    train: DataSource,
    *,
    dev: DataSource | None = None,
    unlabeled: DataSource | None = None,
    output: Path | None = None,
    arguments: TrainingArguments | None = None,
    resume: bool = False,
    force: bool = False,
    track: str | None = None,
) -> Generator[TrainingEvent, None, None]:
    """Train a pipeline's text classifier together with its encoder.

    The pipeline at `model` is overwritten only if training succeeds.

    Args:
        model: Directory or name of a pipeline with a trf_tok2vec.
        train: File with labeled texts.
        dev: File with the labeled texts of the dev set; by default some of the training texts
            are held out.
        unlabeled: File with further texts, from which the start of a new classifier is learned if
            cross-fitting says that this helps. See `curation/self_training.py`.
        output: Directory for the trained pipeline; by default `model` itself.
        resume: Whether to continue an interrupted training run from its last checkpoint, to the
            same result. Without a checkpoint, training starts from the beginning.
        force: Whether to replace a pipeline at `output` that is neither `model` nor an earlier
            result of training it. Other files in its directory stay in any case.
        track: Name of an experiment tracker to log to; see `training/trackers.py`.

    Yields:
        One `Planned`; a `Stepped`, `Evaluated` or `Checkpointed` after each of these; and one
        `Finished`. With several seeds, all but the last for each seed, between `SeedStarted` and
        `SeedFinished`.

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
    if track is not None:
        check_tracker(track)
    check_pipeline(model)
    arguments = complete_arguments(arguments)
    check_settings(arguments)
    data = [train, dev, unlabeled, arguments.corrections]
    with claim_output(model, output, arguments, data=data, force=force) as claim:
        yield from _train(
            model,
            Sources(train, dev, unlabeled),
            output,
            arguments,
            claim,
            resume=resume,
            tracker=track,
        )


class Sources(NamedTuple):
    """The data sets of a training run; see `train_textcat`."""

    train: DataSource
    dev: DataSource | None
    unlabeled: DataSource | None


def _train(
    model: str,
    sources: Sources,
    output: Path | None,
    arguments: TrainingArguments,
    claim: OutputDirectory,
    *,
    resume: bool,
    tracker: str | None,
) -> Iterator[TrainingEvent]:
    shown = Path(model) if output is None else output
    target = claim.target
    workspace = Workspace.beside(target)
    device = own_device(arguments.device)
    context = DistributedContext.join(resolve_device(device))
    with phase("Checking the texts"):
        data, config = read_data(
            sources.train,
            sources.dev,
            arguments,
            unlabeled=sources.unlabeled,
            n_processes=context.size,
        )

    nlp: Language | None
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
    results = SeedResults(workspace.seeds, arguments.seeds, identity)
    if resume and workspace.can_resume:
        check_identity(workspace, identity)
        results.load()
    run = Run(
        workspace=workspace,
        context=context,
        data=data,
        identity=identity,
        request=request,
        files=describe_files({**sources._asdict(), "corrections": arguments.corrections}),
    )
    before, seconds = describe_classifier(nlp), 0.0
    for number, seed in enumerate(range(config.seed, config.seed + arguments.seeds)):
        if seed in results.scores:
            continue
        if arguments.seeds > 1:
            yield SeedStarted(seed, number + 1, arguments.seeds)
        own = config if number == 0 else config_with_seed(config, seed, len(data.train))
        nlp = nlp or load_pipeline(model, device=device, overrides=config.pipeline_overrides)
        trained = train_model(
            nlp,
            own,
            run,
            title=_title(number, arguments.seeds),
            resume=resume,
            discards=not results.scores,
        )
        if tracker is not None and context.is_first:
            name = target.name if arguments.seeds == 1 else f"{target.name}-seed-{seed}"
            trained = track_events(trained, tracker, name, identity, run.summarize)
        state = yield from trained
        # Without it there is room for the next one.
        nlp = None
        seconds += state.seconds
        if arguments.seeds > 1:
            results.add(seed, state.best_score, workspace.best, write=context.is_first)
            yield SeedFinished(seed, state.best_score)
            if context.is_first:
                workspace.remove(keep_seeds=True)
    best = workspace.best if arguments.seeds == 1 else results.path(results.median())
    replaced = _describe_replaced(target, model, before)
    if context.is_first:
        if arguments.seeds > 1:
            record_seeds(best, results.scores)
        with phase(f"Saving {shown}"):
            replace_pipeline(claim, best)
        workspace.remove()
    context.close()
    yield replace(read_result(target, shown), replaced=replaced, seconds=seconds)


def _title(number: int, total: int) -> str:
    return "Training" if total == 1 else f"Training, seed {number + 1} of {total}"


def _describe_replaced(target: Path, model: str, untrained: str) -> str | None:
    """What the trained pipeline replaces, as a phrase; None for nothing.

    Args:
        untrained: A phrase for the untrained pipeline.
    """
    if not target.exists():
        return None
    in_place = target.resolve() == Path(model).expanduser().resolve()
    return untrained if in_place else "the pipeline that was there"
