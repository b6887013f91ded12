"""The state of an unfinished training, from which it goes on as if it had never stopped.

A training writes into a workspace beside its target: the best pipeline so far, and the latest
checkpoint. Each is exchanged for a newer one in one step, so a kill at any moment leaves it whole.
"""

import json
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from thinc.api import Model, Optimizer

from trfcli_pipeline.data.atomic import staged_directory

# What Thinc's optimizers remember about each parameter.
_MEMORIES = ("mom1", "mom2", "averages")
_PROGRESS = "progress.json"
_TENSORS = "tensors.safetensors"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory of a training that has not ended, hidden beside its target.

    Attributes:
        root: The directory.
    """

    root: Path

    @classmethod
    def beside(cls, target: Path) -> "Workspace":
        target = target.resolve()
        return cls(target.parent / f".{target.name}.training")

    @property
    def best(self) -> Path:
        """The best pipeline so far."""
        return self.root / "best"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def can_resume(self) -> bool:
        return self.checkpoint.exists()

    def save(self, progress: Mapping[str, Any], tensors: Tensors) -> None:
        """Replace the checkpoint."""
        with staged_directory(self.checkpoint) as staging:
            save_file(tensors, staging / _TENSORS)
            # Not srsly's, which rounds numbers: of two equal scores, one would then be higher.
            (staging / _PROGRESS).write_text(json.dumps(progress))

    def load(self) -> tuple[dict[str, Any], Tensors]:
        return self.progress(), load_file(self.checkpoint / _TENSORS)

    def progress(self) -> dict[str, Any]:
        progress: dict[str, Any] = json.loads((self.checkpoint / _PROGRESS).read_text())
        return progress

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def head_state(model: Model, optimizer: Optimizer) -> Tensors:
    """The weights of a Thinc model, and what the optimizer remembers about them.

    Thinc numbers a model's nodes anew in every process; here they go by their order.
    """
    tensors: Tensors = {}
    for place, key, node in _parameters(model):
        tensors[f"head.{place}"] = _tensor(node.get_param(key[1]))
        if key in optimizer.nr_update:
            tensors[f"head.{place}.updates"] = torch.tensor(optimizer.nr_update[key])
        for name in _MEMORIES:
            memory = getattr(optimizer, name) or {}
            if key in memory:
                tensors[f"head.{place}.{name}"] = _tensor(memory[key])
    return tensors


def restore_head(model: Model, optimizer: Optimizer, tensors: Tensors) -> None:
    """The inverse of `head_state`."""
    for place, key, node in _parameters(model):
        ops: Any = node.ops  # whose types know nothing of numpy's
        node.set_param(key[1], ops.asarray(tensors[f"head.{place}"].numpy()))
        if f"head.{place}.updates" in tensors:
            optimizer.nr_update[key] = int(tensors[f"head.{place}.updates"])
        for name in _MEMORIES:
            if f"head.{place}.{name}" in tensors:
                values = tensors[f"head.{place}.{name}"].numpy()
                getattr(optimizer, name)[key] = ops.asarray(values)


def random_state() -> dict[str, Any]:
    """The state of the generators of Python, numpy and torch, on the CPU and its accelerator."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state().tolist(),
        "accelerator": _accelerator().get_rng_state().tolist() if _accelerator() else None,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """The inverse of `random_state`, also after a way through JSON."""
    restore_python_random(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    if _accelerator() and state["accelerator"]:
        _accelerator().set_rng_state(torch.tensor(state["accelerator"], dtype=torch.uint8))


def restore_python_random(state: Any) -> None:
    """Set the generator that shuffles the data."""
    version, internal, gauss = state
    random.setstate((version, tuple(internal), gauss))


def _accelerator() -> Any:
    if not torch.accelerator.is_available():
        return None
    return torch.get_device_module(torch.accelerator.current_accelerator())


def _parameters(model: Model) -> Iterator[tuple[str, tuple[int, str], Model]]:
    for index, node in enumerate(model.walk()):
        for name in node.param_names:
            if node.has_param(name):
                yield f"{index}.{name}", (node.id, name), node


def _tensor(array: Any) -> torch.Tensor:
    # A copy: Thinc's parameters are views of memory that the next step changes.
    return torch.tensor(array.get() if hasattr(array, "get") else array)
