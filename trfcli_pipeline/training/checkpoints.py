"""Checkpoints, from which an interrupted training run continues to the same result.

A training run keeps its best pipeline so far and its latest checkpoint in a workspace, a hidden
directory next to its target. Both are replaced in one step, so that they are complete even if the
process is killed.
"""

import json
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from thinc.api import Model, Optimizer

from trfcli_pipeline.data.files import read_object, sha256
from trfcli_pipeline.data.outputs.manifest import find_changes
from trfcli_pipeline.data.outputs.staging import staged_directory
from trfcli_pipeline.encoder.random_states import random_states, set_random_states
from trfcli_pipeline.errors import OutputError, PipelineError, TrfError, one_line

# The states that Thinc's optimizers have for each parameter.
_OPTIMIZER_STATES = ("mom1", "mom2", "averages")
# The file in `Workspace.seeds` that is written last.
SEED_RESULTS = "results.json"
_STATE = "progress.json"
_START_OVER = "Start again without --resume"
_TENSORS = "tensors.safetensors"
# SHA-256 of the two files above.
_CHECKSUMS = "checksums.json"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory of an unfinished training run."""

    root: Path

    @classmethod
    def beside(cls, target: Path) -> "Workspace":
        """The workspace of a training run that writes its result to `target`."""
        target = target.resolve()
        return cls(target.parent / f".{target.name}.training")

    @property
    def best(self) -> Path:
        """Directory of the best pipeline so far."""
        return self.root / "best"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def seeds(self) -> Path:
        """Directory of the models that are finished, if there are several seeds."""
        return self.root / "seeds"

    @property
    def can_resume(self) -> bool:
        return self.checkpoint.exists() or (self.seeds / SEED_RESULTS).exists()

    def check(self) -> None:
        """Check that what is at the directory's path is a workspace, if there is anything.

        Raises:
            OutputError: It is something else.
        """
        if self.root.is_symlink() or self.root.exists():
            foreign = (
                [self.root]
                if self.root.is_symlink() or not self.root.is_dir()
                else [entry for entry in self.root.iterdir() if not self._is_own(entry)]
            )
            if foreign:
                raise OutputError(
                    f"{foreign[0]}: is not from an interrupted training", hint="Move it away"
                )

    def _is_own(self, entry: Path) -> bool:
        names = (self.best.name, self.checkpoint.name, self.seeds.name)
        return entry.name in names or entry.name.startswith(tuple(f".{name}-" for name in names))

    def save(self, state: Mapping[str, Any], tensors: Tensors) -> None:
        """Replace the checkpoint."""
        with staged_directory(self.checkpoint) as staging:
            save_file(tensors, staging / _TENSORS)
            # Not by srsly, which rounds numbers: of two equal scores, one would become higher.
            (staging / _STATE).write_text(json.dumps(state))
            checksums = {name: sha256(staging / name) for name in (_STATE, _TENSORS)}
            (staging / _CHECKSUMS).write_text(json.dumps(checksums))

    def load(self) -> tuple[dict[str, Any], Tensors]:
        """The checkpoint's plain values and its tensors.

        Raises:
            PipelineError: A part of it is missing or damaged.
        """
        state = self.load_state()
        with self.explain():
            return state, load_file(self.checkpoint / _TENSORS)

    def load_state(self) -> dict[str, Any]:
        """The checkpoint's plain values.

        Raises:
            PipelineError: A part of it is missing, or was damaged after it was saved.
        """
        with self.explain():
            checksums = read_object(self.checkpoint / _CHECKSUMS, PipelineError, hint=_START_OVER)
            damaged = find_changes(self.checkpoint, checksums)
        if damaged:
            raise PipelineError(
                f"{self.checkpoint}: damaged ({', '.join(damaged)}), so the training can't be "
                "resumed",
                hint=_START_OVER,
            )
        return read_object(self.checkpoint / _STATE, PipelineError, hint=_START_OVER)

    @property
    def step(self) -> int | None:
        """The step of the checkpoint; None if it is damaged."""
        with suppress(PipelineError, KeyError, TypeError):
            return int(self.load_state()["progress"]["step"])
        return None

    def has_checkpoint_of(self, seed: int) -> bool:
        """Whether the checkpoint is of the training with a seed, rather than of the one before."""
        return self.checkpoint.exists() and self.load_state().get("seed", seed) == seed

    @contextmanager
    def explain(self) -> Iterator[None]:
        """Turn the exceptions for missing or damaged parts of the checkpoint into a PipelineError.

        Its values are used without checks, which may raise anything.
        """
        try:
            yield
        except TrfError:
            raise
        except Exception as error:
            raise PipelineError(
                f"{self.checkpoint}: damaged ({one_line(error)})", hint=_START_OVER
            ) from error

    def remove(self, *, keep_seeds: bool = False) -> None:
        """Remove the workspace, but nothing that isn't its own.

        Args:
            keep_seeds: Whether to keep the models that are finished.
        """
        if self.root.is_dir() and not self.root.is_symlink():
            for entry in self.root.iterdir():
                if self._is_own(entry) and not (keep_seeds and entry == self.seeds):
                    shutil.rmtree(entry, ignore_errors=True)
            with suppress(OSError):
                self.root.rmdir()


def head_state(model: Model, optimizer: Optimizer) -> Tensors:
    """The weights of a Thinc model and the optimizer's states for them.

    Keys number the model's nodes in the order of `Model.walk`, since their ids differ from process
    to process.
    """
    tensors: Tensors = {}
    for position, key, node in _parameters(model):
        tensors[f"head.{position}"] = _tensor(node.get_param(key[1]))
        if key in optimizer.nr_update:
            tensors[f"head.{position}.updates"] = torch.tensor(optimizer.nr_update[key])
        for name in _OPTIMIZER_STATES:
            states = getattr(optimizer, name) or {}
            if key in states:
                tensors[f"head.{position}.{name}"] = _tensor(states[key])
    return tensors


def restore_head(model: Model, optimizer: Optimizer, tensors: Tensors) -> None:
    """Set weights and optimizer states to what `head_state` returned."""
    for position, key, node in _parameters(model):
        ops: Any = node.ops  # its type annotations don't cover numpy's arrays
        node.set_param(key[1], ops.asarray(tensors[f"head.{position}"].numpy()))
        if f"head.{position}.updates" in tensors:
            optimizer.nr_update[key] = int(tensors[f"head.{position}.updates"])
        for name in _OPTIMIZER_STATES:
            if f"head.{position}.{name}" in tensors:
                values = tensors[f"head.{position}.{name}"].numpy()
                getattr(optimizer, name)[key] = ops.asarray(values)


def random_state(device: torch.device) -> dict[str, Any]:
    """State of all random generators: of Python, numpy, torch, and torch on the device."""
    kind, keys, *rest = np.random.get_state()
    cpu, *accelerator = [each.tolist() for each in random_states(device)]
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": cpu,
        "accelerator": accelerator[0] if accelerator else None,
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Set all random generators to what `random_state` returned, before or after JSON."""
    restore_python_random(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    states = [state[name] for name in ("torch", "accelerator") if state[name] is not None]
    set_random_states([torch.tensor(each, dtype=torch.uint8) for each in states], device)


def restore_python_random(state: Any) -> None:
    """Set Python's random generator, which shuffles the texts."""
    version, internal, gauss = state
    random.setstate((version, tuple(internal), gauss))


def _parameters(model: Model) -> Iterator[tuple[str, tuple[int, str], Model]]:
    for index, node in enumerate(model.walk()):
        for name in node.param_names:
            if node.has_param(name):
                yield f"{index}.{name}", (node.id, name), node


def _tensor(array: Any) -> torch.Tensor:
    # A copy, as the next step changes Thinc's parameters in place.
    return torch.tensor(array.get() if hasattr(array, "get") else array)
