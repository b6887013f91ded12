"""Inputs that can't be used: how to build one, the command that reads it, and what `trf` says."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

Build = Callable[[], object]
CheckCase = Callable[["Case"], None]
# A value of `edit_json` that removes the key.
REMOVED = object()


class Case(NamedTuple):
    """An input that can't be used.

    Attributes:
        name: What is wrong with it.
        build: Builds it in the current directory, which has an encoder, a pipeline `model` with a
            text classifier, and the data files train.jsonl and dev.jsonl.
        command: The command that reads it, without `trf`.
        message: The error, in which {cwd} is the current directory. After an ellipsis, it goes on
            with the words of another library.
    """

    name: str
    build: Build
    command: str
    message: str


def put(path: str, content: bytes | str) -> None:
    """Write a file, and the directories that it is in."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)


def edit_json(path: str, **changes: Any) -> None:
    """Change keys of a JSON object in a file."""
    values = {**json.loads(Path(path).read_text(encoding="utf8")), **changes}
    kept = {key: value for key, value in values.items() if value is not REMOVED}
    Path(path).write_text(json.dumps(kept), encoding="utf8")


def edit_text(path: str, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a file, which must have it."""
    text = Path(path).read_text(encoding="utf8")
    assert old in text
    Path(path).write_text(text.replace(old, new, 1), encoding="utf8")


def edit_weight(path: str, name: str, value: float) -> None:
    """Set one number in a tensor of a safetensors file."""
    tensors = load_file(path)
    tensors[name].view(-1)[1] = value
    save_file(tensors, path, metadata={"format": "pt"})


def drop_weight(path: str, name: str) -> None:
    """Remove a tensor from a safetensors file."""
    tensors = {key: value for key, value in load_file(path).items() if key != name}
    save_file(tensors, path, metadata={"format": "pt"})


def reshape_weight(path: str, name: str) -> None:
    """Cut off a row of a tensor in a safetensors file."""
    tensors: dict[str, torch.Tensor] = load_file(path)
    tensors[name] = tensors[name][1:].clone()
    save_file(tensors, path, metadata={"format": "pt"})


def cut(path: str, size: int) -> None:
    """Keep only the first bytes of a file."""
    Path(path).write_bytes(Path(path).read_bytes()[:size])


def remove(path: str) -> None:
    """Remove a file or a directory."""
    if Path(path).is_dir():
        shutil.rmtree(path)
    else:
        Path(path).unlink()


def link(path: str, target: str) -> None:
    """Replace a file or directory by a symbolic link."""
    if Path(path).exists():
        remove(path)
    Path(path).symlink_to(target)


def fifo(path: str) -> None:
    """Replace a file by a named pipe that nothing writes to."""
    Path(path).unlink(missing_ok=True)
    os.mkfifo(path)


def nothing() -> None:
    """Build nothing: the command alone is the case."""


def steps(*builds: Build) -> Build:
    """Combine several builds."""

    def build() -> None:
        for each in builds:
            each()

    return build


def append(path: str, text: str) -> None:
    """Add a text at the end of a file."""
    with Path(path).open("a", encoding="utf8") as file:
        file.write(text)


def sharded(*names: str) -> None:
    """Turn the encoder's weights into shards with the given names, as an index lists them."""
    weights = load_file("encoder/model.safetensors")
    remove("encoder/model.safetensors")
    shards = {key: names[number % len(names)] for number, key in enumerate(sorted(weights))}
    for name in names:
        own = {key: weights[key] for key, shard in shards.items() if shard == name}
        path = Path("encoder", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(own, path, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": shards}
    put("encoder/model.safetensors.index.json", json.dumps(index))
