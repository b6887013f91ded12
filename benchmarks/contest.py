"""What the contestants share: each runs one function in a process of its own, and says one line.

usage: with_NAME.py FUNCTION '{"argument": value, ...}'
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

# Before anything imports these: no contestant may ask a server.
os.environ["HF_HUB_OFFLINE"] = "1"

Labelled = list[tuple[str, list[str]]]

_PACKAGES = ("trfcli", "spacy", "spacy-transformers", "transformers", "torch", "openvino")


def main(*functions: Callable[..., dict[str, Any]]) -> None:
    """Run the function that the command line names, and print what it returns, as JSON."""
    import torch

    name, arguments = sys.argv[1:]
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))
    found = next(each for each in functions if each.__name__ == name)(**json.loads(arguments))
    print(json.dumps({**found, "threads": torch.get_num_threads(), "versions": versions()}))


def read_texts(path: str, limit: int | None) -> list[str]:
    """Texts of a JSONL file, in an order that is random but always the same."""
    texts = [row["text"] for row in _rows(Path(path))]
    random.Random(0).shuffle(texts)
    return texts[:limit]


def read_labelled(data: str, part: str) -> Labelled:
    """Texts with their labels, from DATA/PART.jsonl."""
    return [(row["text"], row["labels"]) for row in _rows(Path(data) / f"{part}.jsonl")]


def n_words(texts: list[str]) -> int:
    """Words between whitespace: a count that no contestant's tokenizer has a say in."""
    return sum(len(text.split()) for text in texts)


def peak_mb() -> float:
    """The most memory that this process has had so far, in MB (10⁶ bytes)."""
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024 / 1e6


def update_speed(
    nlp: "Language", data: str, limit: int | None, batch_size: int, learn_rate: float | None = None
) -> dict[str, float]:
    """Texts per second of `nlp.update`, on the training texts of a data set.

    Args:
        nlp: A pipeline with a classifier of exclusive labels, to be initialised.
        learn_rate: Of all components; by default what the pipeline's optimizer says.
    """
    from spacy.training import Example
    from spacy.util import minibatch

    texts = read_labelled(data, "train")
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
    watch = Stopwatch()
    for batch in minibatch(examples, batch_size):
        nlp.update(batch, sgd=optimizer, drop=0.1)
    watch.stop()
    return {
        "texts_per_s": len(texts) / watch.seconds,
        "seconds": watch.seconds,
        "peak_mb": peak_mb(),
    }


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Stopwatch:
    """Adds up the time between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.start()

    def start(self) -> None:
        self._since = time.perf_counter()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._since


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf8", newline="\n") as file:
        for line in file:
            yield json.loads(line)
