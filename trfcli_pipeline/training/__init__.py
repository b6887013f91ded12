"""Fine-tunes an encoder and a text classifier, and keeps the best state by dev score."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import srsly
import torch
from thinc.api import fix_random_seed

from trfcli_pipeline.data.atomic import replace_directory, staged_directory
from trfcli_pipeline.data.checks import data_warnings
from trfcli_pipeline.encoder.devices import resolve_device
from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.pipeline.loading import check_pipeline, load_pipeline, require_encoder
from trfcli_pipeline.training.checkpoints import Workspace
from trfcli_pipeline.training.config import TrainingArguments
from trfcli_pipeline.training.data import read_data
from trfcli_pipeline.training.distributed import DistributedContext, own_device
from trfcli_pipeline.training.events import (
    Checkpointed,
    Evaluated,
    Event,
    Finished,
    Planned,
    Stepped,
)
from trfcli_pipeline.training.examples import Examples
from trfcli_pipeline.training.provenance import (
    check_identity,
    complete_meta,
    describe_training,
    digest,
    digest_files,
    finished_before,
    identify,
)
from trfcli_pipeline.training.setup import (
    describe_classifier,
    prepare_encoder,
    set_classifier,
    set_segments,
)
from trfcli_pipeline.training.trainer import Trainer

__all__ = [
    "Checkpointed",
    "Evaluated",
    "Event",
    "Finished",
    "Planned",
    "Stepped",
    "TrainingArguments",
    "train_textcat",
]

# Bytes of memory for examples; those beyond it are made anew for each of their steps.
_ROOM = 3 * 2**30
_OWN_ENTRIES = {"config.cfg", "meta.json", "tokenizer", "vocab", "training.jsonl"}


def train_textcat(
    model: str,
    train: str,
    *,
    dev: str | None = None,
    output: Path | None = None,
    settings: TrainingArguments | None = None,
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
    settings = settings or TrainingArguments()
    shown = Path(model) if output is None else output
    target = _check_output(model, output)
    workspace = Workspace.beside(target)
    device = own_device(settings.device)
    ranks = DistributedContext.join(resolve_device(device))
    data, recipe = read_data(train, dev, settings, n_processes=ranks.size)

    nlp = load_pipeline(model, device=device)
    identity = identify(recipe, nlp.path, data)
    # In place, the pipeline is another one once training has ended.
    request = digest({**identity, "the pipeline": output and identity["the pipeline"]})
    if resume and (finished := finished_before(target, shown, request)) is not None:
        if ranks.is_first:
            workspace.remove()
        ranks.part_company()
        yield finished
        return
    resumed = resume and workspace.can_resume
    if resumed:
        check_identity(workspace, identity)

    encoder = require_encoder(nlp)
    if not settings.freeze_encoder:
        encoder.model.shim.check_trainable()
    was = describe_classifier(nlp)
    fix_random_seed(recipe.seed)
    # Adapters start alike everywhere, so before the seed differs.
    methods = prepare_encoder(encoder, recipe)
    # The same order of the data everywhere, but no two texts with the same dropout.
    torch.manual_seed(recipe.seed + ranks.rank)
    segments = set_segments(nlp, recipe)
    classifier, classifier_phrase = set_classifier(nlp, recipe, data)
    examples = Examples(
        nlp,
        data.train,
        data.labels,
        exclusive=recipe.exclusive,
        encode=settings.freeze_encoder,
        room=_ROOM // ranks.size,
    )
    counts = Counter(label for record in data.train for label in record.labels)
    found = data_warnings(data.train, data.dev) if ranks.is_first else []
    if examples.n_kept < len(examples):
        found.append(_without_room(examples))
    if ranks.is_first and workspace.can_resume and not resumed:
        found.append(_given_up(workspace, shown))
    loop = Trainer(nlp, encoder, classifier, examples, data, recipe, ranks)
    if resumed:
        loop.restore(workspace)
    plan = Planned(
        train_texts=len(data.train),
        dev_texts=len(data.dev),
        dev_origin=data.dev_origin,
        label_counts={label: counts[label] for label in data.labels},
        exclusive=recipe.exclusive,
        remarks=found,
        device=str(encoder.model.shim.device),
        threads=torch.get_num_threads(),
        trf_lr=recipe.trf_lr,
        learn_rate=recipe.learn_rate,
        batch_size=recipe.batch_size,
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        mean_length=sum(examples.n_pieces) / len(examples),
        segments=segments,
        classifier=classifier_phrase,
        precision="fp32" if settings.freeze_encoder else encoder.model.shim.precision,
        methods=methods,
        size_rule=recipe.size_rule,
        rate_rule=recipe.rate_rule,
        done_steps=loop.progress.step,
    )
    yield plan

    if ranks.is_first and not resumed:
        workspace.remove()
    yield from _run(loop, workspace, plan, identity, digest_files(train, dev))
    progress, previous = loop.progress, None
    if ranks.is_first:
        complete_meta(workspace.best, progress, request)
        previous = _put_in_place(workspace, target, was if _is_same(target, model) else None)
    ranks.part_company()
    yield Finished(
        best_step=progress.best_step,
        metric=" + ".join(loop.weights),
        score=progress.best_score,
        path=shown,
        was=previous,
        stopped_early=progress.stopped_early,
        seconds=progress.seconds,
        choice=progress.choice,
    )


def _run(
    loop: Trainer,
    workspace: Workspace,
    plan: Planned,
    identity: Mapping[str, str],
    files: Mapping[str, str],
) -> Iterator[Event]:
    """Run the loop, and save the best pipeline and the checkpoints where it says so."""
    try:
        for event in loop.run():
            if isinstance(event, Evaluated) and event.choice:
                describe_training(loop.nlp, loop.classifier, loop.recipe, plan, event, files)
                with loop.averaged(), staged_directory(workspace.best) as staging:
                    loop.nlp.to_disk(staging)
            if isinstance(event, Checkpointed):
                state = loop.state()
                if loop.ranks.is_first:
                    workspace.save({**state, "identity": identity}, loop.tensors())
            yield event
    except BaseException:
        if loop.ranks.is_first and not workspace.can_resume:
            workspace.remove()
        raise


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


def _without_room(examples: Examples) -> str:
    what = "encoded" if examples.encode else "tokenized"
    return (
        f"{len(examples) - examples.n_kept:,} of {len(examples):,} texts in train don't fit in "
        f"memory once {what}, so that is done anew in every epoch"
    )


def _given_up(workspace: Workspace, shown: Path) -> str:
    step = workspace.progress()["progress"]["step"]
    return f"an unfinished training of {shown} (step {step:,}) is given up: no --resume"


def _is_same(target: Path, model: str) -> bool:
    return target.resolve() == Path(model).expanduser().resolve()


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
