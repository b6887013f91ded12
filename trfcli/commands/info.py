"""`trf info`: what this machine and a pipeline are made of."""

from typing import Annotated, Any

import typer

from trfcli import console, wording
from trfcli.options import JsonOption

Pairs = list[tuple[str, str]]


def info(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Directory of a pipeline, or the name of an installed one.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, devices and memory, and what a pipeline is made of.

    Example:
      trf info
      trf info ./model --json
    """
    from trfcli_pipeline.encoder.devices import describe_machine
    from trfcli_pipeline.pipeline.loading import describe_pipeline, load_pipeline

    described: dict[str, Any] = describe_machine()
    if model is not None:
        described["model"] = describe_pipeline(load_pipeline(model))
    if as_json:
        console.data_json(described)
        return
    console.data_table(("", ""), machine_pairs(described), left=2)
    if model is not None:
        console.data("")
        console.data_table(("", ""), model_pairs(described["model"]), left=2)


def machine_pairs(machine: dict[str, Any]) -> Pairs:
    """Names and values, in the order in which they are shown."""
    pairs = [("python", str(machine["python"]))]
    for package, version in machine["versions"].items():
        pairs.append((package, version or "not installed"))
    for device in machine["devices"]:
        pairs.append(("device", describe_device(device, machine["device"])))
    pairs.append(("threads", str(machine["threads"])))
    if machine["memory_gb"] is not None:
        pairs.append(("memory", f"{machine['memory_gb']:.1f} GB"))
    return pairs


def model_pairs(model: dict[str, Any]) -> Pairs:
    """Names and values, in the order in which they are shown."""
    pairs = [
        ("pipeline", f"{model['name']} {model['version']}"),
        ("language", model["lang"]),
        ("path", f"{model['path']} ({wording.megabytes(model['size_mb'])})"),
    ]
    encoder = model["encoder"]
    if encoder is not None:
        pairs.append(("encoder", describe_encoder(encoder)))
    for component in model["components"]:
        pairs.append(("component", describe_component(component)))
    if model["requirements"]:
        pairs.append(("requires", ", ".join(model["requirements"])))
    for name, score in model["performance"].items():
        # Scores per label are for `trf evaluate`.
        if isinstance(score, int | float):
            pairs.append((name, f"{score:.3f}"))
    return pairs


def describe_device(device: dict[str, Any], default: str) -> str:
    parts = [device["name"]]
    # That of the CPU is the machine's, which has a line of its own.
    if device["type"] != "cpu" and device["memory_gb"] is not None:
        parts.append(f"{device['memory_gb']:.1f} GB")
    if device["name"] in (default, f"{default}:0"):
        parts.append("used unless --device says otherwise")
    return ", ".join(parts)


def describe_encoder(encoder: dict[str, Any]) -> str:
    parts = [
        str(encoder["model_type"]),
        f"{encoder['layers']} layers",
        f"width {encoder['width']}",
        f"{wording.millions(encoder['parameters'])} parameters",
    ]
    if encoder["max_length"] is not None:
        parts.append(f"up to {encoder['max_length']} wordpieces")
    if (encoder["backend"], encoder["precision"]) != ("torch", "fp32"):
        parts.append(f"{encoder['precision']}, run by {encoder['backend']}")
    return f"{encoder['name']} ({', '.join(parts)})"


def describe_component(component: dict[str, Any]) -> str:
    name, factory, labels = component["name"], component["factory"], component["labels"]
    made_by = "" if name == factory else f" ({factory})"
    if not labels:
        return f"{name}{made_by}"
    return f"{name}{made_by}, {wording.plural(len(labels), 'label')}: {wording.enumeration(labels)}"
