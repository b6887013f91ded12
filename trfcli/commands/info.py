"""`trf info`: show versions, devices, memory, and the parts of a pipeline."""

from typing import Annotated, Any

import typer

from trfcli import console, wording
from trfcli.options import JsonOption, pipeline_argument

Pairs = list[tuple[str, str]]


def info(
    model: Annotated[str | None, pipeline_argument(metavar="MODEL")] = None,
    as_json: JsonOption = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check that the pipeline's files are as they were saved."),
    ] = False,
) -> None:
    """Show versions, devices and memory, and what a pipeline contains.

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
        ("path", f"{model['path']} ({wording.megabytes(model['size_mb'])})"),
    ]
    encoder = model["encoder"]
    if encoder is not None:
        pairs.append(("encoder", format_encoder(encoder)))
    for component in model["components"]:
        pairs.append(("component", format_component(component)))
    if "verified_files" in model:
        pairs.append(("verified", wording.plural(model["verified_files"], "file")))
    if model["requirements"]:
        pairs.append(("requires", ", ".join(model["requirements"])))
    # Optimizing measures what it costs, but doesn't score the dev set again.
    note = " (before it was optimized)" if encoder is not None and _is_optimized(encoder) else ""
    for name, score in model["performance"].items():
        # Scores per label would take too much space here.
        if isinstance(score, int | float):
            pairs.append((name, f"{score:.3f}{note}"))
    return pairs


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
    return f"{title}, {wording.plural(len(labels), 'label')}: {wording.enumeration(labels)}"
