"""`trf info`: show versions, devices, memory, and the parts of a pipeline."""

import json
import shlex
from typing import Annotated, Any

import typer

from trfcli import console, wording
from trfcli.options import JsonOption, pipeline_argument

Pairs = list[tuple[str, str]]

_SHOWN_LABELS = 40
# Arguments of training that only a config file has.
_WITHOUT_OPTION = ("linear_probe", "data_seed", "fixed")
# The scores of a text classifier that are shown, in this order.
_SCORES = ("accuracy", "cats_macro_f", "cats_micro_f", "cats_macro_auc")


def info(
    model: Annotated[str | None, pipeline_argument(metavar="MODEL")] = None,
    as_json: JsonOption = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check that the pipeline's files are as they were saved."),
    ] = False,
) -> None:
    """Show versions, devices and memory, what a pipeline contains, and how it came about.

    Example:
      trf info
      trf info ./model --verify
    """
    from trfcli_pipeline.tasks import info as task

    if verify and model is None:
        raise typer.BadParameter("--verify needs a MODEL")
    found = task.info(model, verify=verify)
    if as_json:
        console.data_json(found)
        return
    console.data_table(("", ""), machine_pairs(found), left=2)
    if model is not None:
        console.data("")
        console.data_table(("", ""), model_pairs(found["model"]), left=2)


def machine_pairs(machine: dict[str, Any]) -> Pairs:
    """List names and values in the order in which they are shown."""
    pairs = [("python", str(machine["python"]))]
    for package, version in machine["versions"].items():
        pairs.append((package, version or "not installed"))
    for device in machine["devices"]:
        pairs.append(("device", format_device(device, machine["device"])))
    pairs.append(("threads", str(machine["threads"])))
    if machine["memory_gb"] is not None:
        pairs.append(("memory", f"{machine['memory_gb']:.1f} GB"))
    return pairs


def model_pairs(model: dict[str, Any]) -> Pairs:
    """List names and values in the order in which they are shown."""
    pairs = [
        ("pipeline", f"{model['name']} {model['version']}"),
        ("language", model["lang"]),
        (
            "path",
            f"{model['path']} ({wording.megabytes(model['size_mb'])}, "
            f"last changed {model['changed']})",
        ),
    ]
    encoder = model["encoder"]
    if encoder is not None:
        pairs.append(("encoder", format_encoder(encoder)))
        if "source" in encoder:
            revision = f", revision {encoder['revision']}" if "revision" in encoder else ""
            pairs.append(("source", f"{encoder['source']}{revision}"))
    for component in model["components"]:
        pairs.append(("component", format_component(component)))
        if "promise" in component:
            pairs.append(("answers", component["promise"]))
    pairs += history_pairs(model)
    if "verified_files" in model:
        pairs.append(("verified", wording.plural(model["verified_files"], "file")))
    if model["requirements"]:
        pairs.append(("requires", ", ".join(model["requirements"])))
    return pairs


def history_pairs(model: dict[str, Any]) -> Pairs:
    """List how a pipeline came about: what it was trained on, how, and what was done later."""
    pairs = []
    training, inference = model["training"], model["inference"]
    if training is not None:
        pairs.append(("trained on", format_data(training)))
        pairs.append(("training", format_training(training)))
        options = [
            format_option(*each)
            for each in training.get("chosen", {}).items()
            if each[0] not in _WITHOUT_OPTION
        ]
        if options:
            pairs.append(("options", " ".join(options)))
        versions = training.get("versions", {})
        if versions:
            found = [f"{name} {version}" for name, version in versions.items()]
            pairs.append(("trained with", ", ".join(found)))
    scores = format_scores(model["performance"])
    if scores:
        # Optimizing measures what it costs, but doesn't score the dev set again.
        note = " (before it was optimized)" if inference is not None else ""
        pairs.append(("dev scores", f"{scores}{note}"))
    if inference is not None:
        pairs.append(("optimized", format_optimization(inference)))
    if model["stored_in"] is not None:
        pairs.append(("stored", f"weights in 16 bits ({model['stored_in']})"))
    return pairs


def format_data(training: dict[str, Any]) -> str:
    """Name the data files, with the number of texts."""
    roles = {
        role: wording.enumeration(names) for role, names in training.get("data_roles", {}).items()
    }
    parts = []
    if "texts" in training:
        origin = f" from {roles['train']}" if "train" in roles else ""
        parts.append(f"{wording.plural(training['texts'], 'text')}{origin}")
    if "dev_texts" in training:
        origin = f" from {roles['dev']}" if "dev" in roles else ""
        if roles and not origin:
            origin = " held out"
        parts.append(f"{wording.plural(training['dev_texts'], 'dev text')}{origin}")
    if "unlabeled" in roles:
        number = training.get("unlabeled_texts")
        texts = wording.plural(number, "unlabeled text") if number else "unlabeled texts"
        parts.append(f"{texts} from {roles['unlabeled']}{'' if number else ' not used'}")
    if "corrections" in roles:
        parts.append(f"corrections from {roles['corrections']}")
    if not roles and training.get("data"):
        # An earlier version recorded the files without their roles.
        parts.append(f"files {wording.enumeration(list(training['data']))}")
    return "; ".join(parts)


def format_training(training: dict[str, Any]) -> str:
    """Name the settings that matter most, and the step whose weights were kept."""
    from trfcli_pipeline.evaluation.metric_names import metric_name

    parts = []
    if "epochs" in training:
        parts.append(wording.plural(training["epochs"], "epoch"))
    if "batch_size" in training:
        parts.append(f"batch size {training['batch_size']:,}")
    if "learn_rate" in training:
        parts.append(wording.learning_rates(training.get("trf_lr"), training["learn_rate"]))
    if "seed" in training:
        parts.append(f"seed {training['seed']}")
    if "device" in training:
        parts.append(f"{training['device'].upper()}, {training.get('precision', 'fp32')}")
    if "best_step" in training and "steps" in training:
        parts.append(f"kept step {training['best_step']:,} of {training['steps']:,}")
    if training.get("choice") in ("score", "rate") and training.keys() >= {"metric", "score"}:
        parts.append(f"chosen by {metric_name(training['metric'])} {training['score']:.3f}")
    return ", ".join(parts)


def format_option(name: str, value: object) -> str:
    """An option of `trf train` that differs from its default, as it was given."""
    if name == "exclusive":
        return "--exclusive" if value else "--multilabel"
    option = name if "." in name else name.replace("_", "-")
    if value is True:
        return f"--{option}"
    return f"--{option} {shlex.quote(value if isinstance(value, str) else json.dumps(value))}"


def format_scores(performance: dict[str, Any]) -> str:
    """The scores over all labels. Those of single labels would take too much space."""
    from trfcli_pipeline.evaluation.metric_names import metric_name

    numbers = {
        key: score
        for key, score in performance.items()
        if isinstance(score, int | float) and (key in _SCORES or not key.startswith("cats_"))
    }
    keys = [*(key for key in _SCORES if key in numbers), *(numbers.keys() - {*_SCORES})]
    return ", ".join(f"{metric_name(key)} {numbers[key]:.3f}" for key in keys)


def format_optimization(inference: dict[str, Any]) -> str:
    """Name the precision and the backend, and what they cost."""
    parts = [f"{inference.get('precision', '?')} with {inference.get('backend', '?')}"]
    if inference.keys() >= {"figure", "loss", "texts"}:
        change = wording.decimal(-inference["loss"], 2, sign="+")
        texts = wording.plural(inference["texts"], "text")
        parts.append(f"{inference['figure']} {change} points on {texts}")
    return "; ".join(parts)


def format_device(device: dict[str, Any], default: str) -> str:
    parts = [device["name"]]
    # The memory of the CPU has a line of its own.
    if device["type"] != "cpu" and device["memory_gb"] is not None:
        parts.append(f"{device['memory_gb']:.1f} GB")
    is_default = device["name"] in (default, f"{default}:0")
    return ", ".join(parts) + (" (default)" if is_default else "")


def format_encoder(encoder: dict[str, Any]) -> str:
    parts = [
        str(encoder["model_type"]),
        f"{encoder['layers']} layers",
        f"width {encoder['width']}",
        f"{wording.millions(encoder['parameters'])} parameters",
    ]
    if encoder["max_length"] is not None:
        parts.append(f"up to {encoder['max_length']} wordpieces")
    if _is_optimized(encoder):
        parts.append(f"{encoder['precision']} with {encoder['backend']}")
    return f"{encoder['name']} ({', '.join(parts)})"


def _is_optimized(encoder: dict[str, Any]) -> bool:
    return (encoder["backend"], encoder["precision"]) != ("torch", "fp32")


def format_component(component: dict[str, Any]) -> str:
    name, factory, labels = component["name"], component["factory"], component["labels"]
    title = name if name == factory else f"{name} ({factory})"
    if not labels:
        return title
    shown = wording.enumeration(labels, shown=_SHOWN_LABELS)
    rest = " (--json lists all)" if len(labels) > _SHOWN_LABELS else ""
    return f"{title}, {wording.plural(len(labels), 'label')}: {shown}{rest}"
