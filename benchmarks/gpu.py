"""Training steps and predictions on a GPU, beside a plain PyTorch loop.

Each measurement runs in a new process, in turns. On a GPU, the first steps take long: kernels are
loaded, and updates whose shape recurs are captured. So the second half of the steps counts, and the
steps as a whole are shown beside it.

    python benchmarks/gpu.py ./minilm data/trec6 texts.jsonl

ENCODER is a directory with an encoder; TEXTS a JSONL file of {"text": ...}.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import torch
from overhead import plain_steps, trf_steps

from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.encoder.activations import kinds_to_keep
from trfcli_pipeline.encoder.backends import InferenceConfig, cast_weights
from trfcli_pipeline.pipeline.creating import create_pipeline
from trfcli_pipeline.pipeline.loading import require_encoder

_STEPS = {"trf": trf_steps, "plain": partial(plain_steps, device="cuda")}


def train(contestant: str, encoder: str, data: str, size: int, precision: str, n: int) -> None:
    """Print texts/s in all steps and in the second half, and the peak memory in GB."""
    random.seed(0)
    steps = _STEPS[contestant](encoder, data, size, precision=precision)
    next(steps)
    seconds = list(_seconds(steps, n))
    print(
        json.dumps(
            {
                "texts/s": round(n * size / sum(seconds)),
                "second half": round(size / statistics.mean(seconds[n // 2 :])),
                "peak GB": round(torch.cuda.max_memory_allocated() / 1e9, 2),
            }
        )
    )


def _seconds(steps: Iterator[None], n: int) -> Iterator[float]:
    for _ in range(n):
        start = time.perf_counter()
        next(steps)
        torch.cuda.synchronize()
        yield time.perf_counter() - start


def predict(encoder: str, texts: str, precision: str, rounds: int) -> None:
    """Print the words/s of `nlp.pipe`."""
    nlp, _ = create_pipeline(encoder)
    component = require_encoder(nlp)
    component.kept = kinds_to_keep("tensor")
    shim = component.model.shim
    shim.to("cuda")
    shim.encoder = cast_weights(shim.encoder, InferenceConfig(precision=precision))
    found = [record.text for record in read_records(texts, labeled=False)]
    speeds = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        words = sum(len(doc) for doc in nlp.pipe(found))
        speeds.append(words / (time.perf_counter() - start))
    print(json.dumps({"words/s": round(statistics.median(speeds[1:]))}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoder")
    parser.add_argument("data")
    parser.add_argument("texts")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        what, *rest = options.only
        if what == "predict":
            predict(options.encoder, options.texts, rest[0], options.rounds)
        else:
            size, precision = int(rest[0]), rest[1]
            train(what, options.encoder, options.data, size, precision, options.steps)
        return
    for precision in options.precisions:
        for size in options.sizes:
            for contestant in _STEPS:
                _run(options, contestant, str(size), precision)
        _run(options, "predict", precision)


def _run(options: argparse.Namespace, *only: str) -> None:
    """Measure in a new process, and print the result."""
    given = [options.encoder, options.data, options.texts]
    numbers = ["--steps", str(options.steps), "--rounds", str(options.rounds)]
    command = [sys.executable, __file__, *given, *numbers, "--only", *only]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(" ".join(only), done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
