"""What `trf train-textcat` prints."""

import shlex
import statistics
from typing import TYPE_CHECKING

from trfcli import console, wording

if TYPE_CHECKING:
    from trfcli_pipeline.curation.self_training import SelfTraining
    from trfcli_pipeline.evaluation.abstention import FittedAbstention
    from trfcli_pipeline.training.data import Data
    from trfcli_pipeline.training.events import (
        Evaluated,
        Finished,
        Planned,
        SeedStarted,
        TrackingFailed,
        TrackingStarted,
    )

_NOTES = {None: "", "score": "← best", "rate": "← kept", "last": "← kept", "only": "← kept"}


def describe_seed(event: "SeedStarted") -> None:
    """Print which of several models is trained next."""
    console.info(f"Seed {event.number} of {event.total} (--seed {event.seed})")


def describe_plan(plan: "Planned", *, resume: bool, again: bool) -> None:
    """Print what was read and what was decided.

    Args:
        again: Whether another model was trained on the same texts before.
    """
    config = plan.config
    if not again:
        _describe_data(plan)
    if plan.done_steps:
        console.info(f"Resuming after step {plan.done_steps:,} of {config.steps:,}")
    elif resume and not again:
        console.info("No checkpoint to resume from: starting from the beginning")
    if plan.done_steps < config.steps:
        console.progress_row(_columns(config.metric).items())


def _describe_data(plan: "Planned") -> None:
    config, data = plan.config, plan.data
    train = wording.plural(len(data.train), "text")
    if len(data.train) < data.n_available:
        train = f"{len(data.train):,} of {wording.plural(data.n_available, 'text')} (--max-texts)"
    console.good(
        f"{train} to train on, "
        f"{wording.thousands(len(data.dev))} {data.dev_origin}; "
        f"{_labels(data, exclusive=config.exclusive)}"
    )
    for warning in plan.warnings:
        console.warn(warning)
    for decision in config.decisions:
        console.info(decision)
    if plan.self_training is not None:
        console.info(_describe_self_training(plan.self_training))
    hardware = [plan.device.upper(), wording.plural(plan.threads, "thread")]
    if plan.precision != "fp32":
        hardware.append(plan.precision)
    methods = [wording.learning_rates(config.trf_lr, config.learn_rate), *plan.methods]
    console.info(
        f"{', '.join(hardware)}; {', '.join(methods)}; "
        f"batch size {config.batch_size}, {wording.plural(config.steps, 'step')}, "
        f"{wording.thousands(config.warmup_steps)} of them warm-up"
    )
    console.info(
        f"Encoder input: {plan.segments}; {plan.mean_length:.0f} wordpieces per text on average; "
        f"{plan.classifier}"
    )


def _describe_self_training(found: "SelfTraining") -> str:
    """Whether unlabeled texts help, with the metrics that decide."""
    texts = wording.plural(found.n_unlabeled, "unlabeled text")
    done = (
        f"The classifier's start uses {texts}, which lowers the cross-fitted log loss"
        if found.helps
        else f"The classifier's start doesn't use {texts}, which wouldn't lower the cross-fitted "
        "log loss"
    )
    return (
        f"{done}: {found.before:.3f} without and {found.after:.3f} with unlabeled texts (accuracy "
        f"{found.score_before:.2f} and {found.score_after:.2f})"
    )


def describe_tracking(event: "TrackingStarted | TrackingFailed") -> None:
    """Print where an experiment tracker logs to, or that it can't."""
    from trfcli_pipeline.training.events import TrackingStarted

    if isinstance(event, TrackingStarted):
        console.info(f"Logging to {event.tracker}: {event.place}")
    else:
        console.warn(f"Training goes on without {event.tracker}, which failed: {event.reason}")


def describe_evaluation(event: "Evaluated") -> None:
    """Print a row of the table that `describe_plan` began."""
    cells = {
        _column_of(event.metric): f"{event.score:.3f}",
        "step": wording.thousands(event.step),
        "epoch": f"{event.epoch:.2f}",
        "loss": f"{event.loss:.3f}",
        "accuracy": f"{event.evaluation.accuracy:.3f}",
        "macro F": f"{event.evaluation.macro_f:.3f}",
        "words/s": wording.thousands(event.words_per_second),
    }
    row = [(cells[name], width) for name, width in _columns(event.metric).items()]
    console.progress_row(row, note=_NOTES[event.kept_because])


def describe_result(finished: "Finished") -> None:
    """Print which weights were kept and why, where the pipeline is, and what to do next."""
    from trfcli_pipeline.evaluation.metric_names import metric_name

    if finished.already_finished:
        console.info(f"This training had already finished; its result is {finished.path}")
    evaluations = finished.evaluations_without_improvement
    if evaluations:
        console.info(
            f"Stopped early: no improvement for {wording.plural(evaluations, 'evaluation')} "
            "(--patience)"
        )
    metric = metric_name(finished.metric)
    score = f"{metric} {finished.score:.3f}"
    if finished.seed_scores:
        _describe_seeds(metric, finished)
    if finished.kept_because == "score":
        kept = f"Kept the model of step {finished.best_step:,}, the best on the dev set ({score})"
    elif finished.kept_because == "rate":
        kept = (
            f"Kept the final model ({score}); the earlier {finished.highest_score:.3f} is within "
            "one standard error"
        )
    elif finished.kept_because == "only":
        kept = f"Kept the final model ({score})"
    else:
        kept = f"Kept the final model ({score}); the dev set is too small to choose another"
    if finished.abstention is not None:
        _describe_abstention(finished.abstention, finished.min_accuracy)
    replaced = f", replacing {finished.replaced}" if finished.replaced else ""
    console.good(f"{kept}. Saved to {finished.path}{replaced}")
    console.hint(f"Next: trf evaluate {shlex.quote(str(finished.path))} test.jsonl")


def _describe_abstention(fitted: "FittedAbstention", min_accuracy: float | None) -> None:
    """Print how many texts are answered, as a warning if that isn't what the user asked for."""
    if fitted.coverage is None and min_accuracy is not None:
        console.warn(
            f"--min-accuracy {min_accuracy:g} can't be ensured with "
            f"{wording.plural(fitted.texts, 'dev text')}: the classifier answers every text. A "
            "lower value or more dev texts may help"
        )
    else:
        console.info(f"{fitted.summary} (--min-accuracy, --coverage)")


def _describe_seeds(metric: str, finished: "Finished") -> None:
    """Print how much the scores of several seeds differ, and which model is kept."""
    scores = [*finished.seed_scores.values()]
    mean, deviation = statistics.mean(scores), statistics.stdev(scores)
    each = [f"seed {seed} {score:.3f}" for seed, score in finished.seed_scores.items()]
    console.info(
        f"{wording.plural(len(scores), 'seed')}: mean {metric} {mean:.3f}, standard deviation "
        f"{deviation:.3f} ({', '.join(each)})"
    )
    console.info(f"Kept seed {finished.seed}, the median")


def _labels(data: "Data", *, exclusive: bool) -> str:
    """Number and kind of the labels, and the share of the training texts that has each."""
    common = sorted(data.label_counts.items(), key=lambda item: -item[1])
    shares = [(label, wording.percent(count / len(data.train))) for label, count in common]
    number = wording.plural(len(shares), "label")
    if exclusive:
        found = [f"{label} {share}" for label, share in shares]
        return f"{number}, exclusive: {wording.enumeration(found)}"
    found = [f"{label} on {share}" for label, share in shares]
    found[0] += " of texts"
    if len(found) > 1:
        number += ", several per text" if data.has_several_labels else ", at most one per text"
    return f"{number}: {wording.enumeration(found)}"


def _columns(metric: str) -> dict[str, int]:
    """Name and width of each column, the metric that decides among them."""
    columns = {"step": 6, "epoch": 6, "loss": 7, "accuracy": 8, "macro F": 7}
    columns.setdefault(_column_of(metric), max(7, len(_column_of(metric))))
    return {**columns, "words/s": 7}


def _column_of(metric: str) -> str:
    from trfcli_pipeline.evaluation.metric_names import metric_name

    return "score" if "+" in metric else metric_name(metric)
