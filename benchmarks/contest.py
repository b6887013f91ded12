"""Shared by all contestants. Each runs one function in its own process, and prints a line of JSON.

usage: with_NAME.py FUNCTION '{"argument": value, ...}'

This module must not import trfcli: spacy-transformers runs in an environment without it.
"""

import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacy.language import Language

# Set before anything imports the hub's client, so that no contestant waits for a server.
os.environ["HF_HUB_OFFLINE"] = "1"

Labeled = list[tuple[str, list[str]]]

_PACKAGES = ("trfcli", "spacy", "spacy-transformers", "transformers", "torch", "openvino")


def main(*functions: Callable[..., dict[str, Any]]) -> None:
    """Run the function named on the command line, and print its result as JSON."""
    import torch

    name, arguments = sys.argv[1:]
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))
    result = next(each for each in functions if each.__name__ == name)(**json.loads(arguments))
    print(json.dumps({**result, "threads": torch.get_num_threads(), "versions": versions()}))


def read_texts(path: str, limit: int | None) -> list[str]:
    """Read the texts of a JSONL file, in random order with a fixed seed."""
    texts = [row["text"] for row in _rows(Path(path))]
    random.Random(0).shuffle(texts)
    return texts[:limit]


def read_labeled(data: str, part: str) -> Labeled:
    """Read texts and their labels from DATA/PART.jsonl."""
    return [(row["text"], row["labels"]) for row in _rows(Path(data) / f"{part}.jsonl")]


def n_words(texts: list[str]) -> int:
    """Count the words between whitespace, which doesn't depend on a contestant's tokenizer."""
    return sum(len(text.split()) for text in texts)


def peak_mb(pid: int | str = "self") -> float:
    """Peak memory of a process so far, in MB (10⁶ bytes); 0.0 if it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(map(int, re.findall(r"VmHWM:\s*(\d+) kB", status))) * 1024 / 1e6


def encoding_result(texts: list[str], seconds: float) -> dict[str, float]:
    """Metrics of running an encoder on texts."""
    return {
        "words_per_s": n_words(texts) / seconds,
        "seconds": seconds,
        "peak_mb": peak_mb(),
    }


def update_speed(
    nlp: "Language", data: str, limit: int | None, batch_size: int, learn_rate: float | None = None
) -> dict[str, float]:
    """Measure texts per second of `nlp.update` on the training set of a data set.

    Args:
        nlp: A pipeline with an exclusive classifier that isn't initialized yet.
        learn_rate: Learning rate of all components, by default that of the pipeline's optimizer.
    """
    from spacy.training import Example
    from spacy.util import minibatch

    texts = read_labeled(data, "train")
    random.Random(0).shuffle(texts)
    texts = texts[:limit]
    labels = sorted({label for _, own in texts for label in own})
    examples = [
        Example.from_dict(
            nlp.make_doc(text), {"cats": {label: float(label in own) for label in labels}}
        )
        for text, own in texts
    ]
    optimizer = nlp.initialize(lambda: examples[:200])
    if learn_rate is not None:
        optimizer.learn_rate = learn_rate
    nlp.update(examples[:batch_size], sgd=optimizer)
    start = time.perf_counter()
    for batch in minibatch(examples, batch_size):
        nlp.update(batch, sgd=optimizer, drop=0.1)
    seconds = time.perf_counter() - start
    return {"texts_per_s": len(texts) / seconds, "seconds": seconds, "peak_mb": peak_mb()}


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf8", newline="\n") as file:
        for line in file:
            yield json.loads(line)
