"""How a pipeline came about, from what its meta.json records."""

import math
from collections.abc import Mapping
from types import UnionType
from typing import Any

# What is read, and of which type it has to be. A meta.json may have been edited, or written by an
# earlier version.
_ENCODER: dict[str, type | UnionType] = {"name": str, "source": str, "revision": str}
_TRAINING: dict[str, type | UnionType] = {
    "data": Mapping,
    "texts": int,
    "dev_texts": int,
    "unlabeled_texts": int,
    "labels": Mapping,
    "exclusive_classes": bool,
    "architecture": str,
    "chosen": Mapping,
    "epochs": int,
    "batch_size": int,
    "trf_lr": int | float,
    "learn_rate": int | float,
    "steps": int,
    "best_step": int,
    "choice": str,
    "metric": str,
    "score": int | float,
    "seed": int,
    "device": str,
    "precision": str,
    "versions": Mapping,
}
_INFERENCE: dict[str, type | UnionType] = {
    "backend": str,
    "precision": str,
    "texts": int,
    "figure": str,
    "loss": int | float,
    "cosine": int | float,
}


def read_origin(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Read how a pipeline came about.

    Args:
        meta: The content of its meta.json, whose `trf` has been checked to be an object of objects.

    Returns:
        "encoder", where it comes from; "training", the data, settings and score; "inference", how
        it was optimized; and "stored_in", the precision of the stored weights. Each only has what
        is recorded; "training" and "inference" are None if nothing is.
    """
    own = meta.get("trf", {})
    stored_in = own.get("stored_in")
    training = _select(own.get("training", {}), _TRAINING)
    if "data" in training:
        training["data"] = _select_texts(training["data"])
    roles = read_roles(own.get("training", {}))
    if roles:
        training["data_roles"] = roles
    return {
        "encoder": _select(own.get("encoder", {}), _ENCODER),
        "training": training or None,
        "inference": _select(own.get("inference", {}), _INFERENCE) or None,
        "stored_in": stored_in if isinstance(stored_in, str) else None,
    }


def read_roles(training: Mapping[str, Any]) -> dict[str, list[str]]:
    """Read the names of the data files in each role: "train", "dev", "unlabeled", "corrections".

    Args:
        training: The section on training in a pipeline's meta.json. Earlier versions recorded no
            roles.
    """
    roles = training.get("data_roles")
    return {
        role: names
        for role, names in (roles.items() if isinstance(roles, Mapping) else ())
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    }


def _select_texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _select(values: Mapping[str, Any], types: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """Select the values that have the right type, and numbers only if they are finite."""
    found = {key: values[key] for key, kind in types.items() if isinstance(values.get(key), kind)}
    return {
        key: value
        for key, value in found.items()
        if not isinstance(value, float) or math.isfinite(value)
    }
