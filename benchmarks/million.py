"""Annotate a million short texts: memory must stay flat, and kills must not change the output.

A few and many texts are annotated by a tiny pipeline, each in a new process. Then the many texts
are annotated again: SIGKILL ends the run twice at random moments, and `--resume` continues it. The
output must be the same, byte for byte, and nothing else may be left.

    python benchmarks/million.py --n-process 1 2

Each text has a word that no other text has, because a growing vocabulary takes memory.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from contest import peak_mb
from tiny import TEXTS, digest, train_tiny

# Seconds between two looks at the memory of a run.
_PAUSE = 0.05


class Run(NamedTuple):
    """What a run of `trf annotate` took.

    Attributes:
        seconds: From its start to its end or kill.
        peaks: Peak memory in MB of the main process and, if there are any, of the largest worker.
    """

    seconds: float
    peaks: tuple[float, ...]


def write_texts(path: Path, number: int) -> None:
    """Write texts of 4 to 13 words, each with a word of its own."""
    words = [word for text in TEXTS for word in text.split()]
    generator = random.Random(0)
    with path.open("w") as file:
        for i in range(number):
            text = " ".join([*generator.choices(words, k=generator.randint(3, 12)), f"word{i}"])
            file.write(f"{json.dumps({'text': text})}\n")


def annotate(*args: str, kill_after: float | None = None) -> Run:
    """Run `trf annotate` in a new process.

    Args:
        *args: Its arguments.
        kill_after: Seconds after which to send SIGKILL.

    Raises:
        SystemExit: The command failed, or it ended before it could be killed.
    """
    command = [sys.executable, "-m", "trfcli", "annotate", *args]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for pid in tree(process.pid):
            # The peak only grows; a process that has ended has none.
            with suppress(OSError):
                peaks[pid] = max(peaks.get(pid, 0), peak_mb(pid))
        if kill_after is not None and time.perf_counter() - start > kill_after:
            process.kill()
            break
        time.sleep(_PAUSE)
    said, _ = process.communicate()
    seconds = time.perf_counter() - start
    if process.returncode != (0 if kill_after is None else -9):
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said.decode()}")
    return Run(seconds, (peaks.pop(process.pid), *sorted(peaks.values())[-1:]))


def tree(pid: int) -> Iterator[int]:
    """Yield the ids of a process and its children."""
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from tree(int(child))


def measure(texts: str, few: str, options: tuple[str, ...]) -> None:
    """Annotate few texts, all texts, and all texts with two kills; print what that took.

    Raises:
        SystemExit: The output differs after the kills, or something is left behind.
    """

    def report(name: str, found: Run) -> None:
        memory = " | ".join(f"{peak:,.0f}" for peak in found.peaks)
        print(f"| {name} | {found.seconds:,.0f} | {memory} |", flush=True)

    before = set(os.listdir())
    small = annotate("model", few, "few.out.jsonl", *options)
    report("few texts", small)
    whole = annotate("model", texts, "all.out.jsonl", *options)
    report("all texts", whole)
    killed = ("model", texts, "killed.out.jsonl", *options)
    # Together less than a whole run, as a run that is over can't be killed.
    first, second = (random.uniform(0.1, 0.45) * whole.seconds for _ in range(2))
    report("killed", annotate(*killed, kill_after=first))
    report("resumed, and killed again", annotate(*killed, "--resume", kill_after=second))
    report("resumed", annotate(*killed, "--resume"))
    outputs = ["few.out.jsonl", "all.out.jsonl", "killed.out.jsonl"]
    growth = sum(whole.peaks) / sum(small.peaks)
    print(f"peak memory of all texts ÷ few texts: {growth:.3f}")
    expected, found = (digest(Path(each)) for each in outputs[1:])
    print(f"SHA-256: {expected}, with kills {found}")
    if expected != found:
        sys.exit("the output differs after the kills")
    if left := set(os.listdir()) - before - set(outputs):
        sys.exit(f"left behind: {sorted(left)}")
    if growth > 1.1:
        sys.exit("memory grows with the number of texts")
    for output in outputs:
        os.remove(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--n-process", type=int, nargs="+", default=[1])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        train_tiny(Path("log.txt"))
        write_texts(Path("few.jsonl"), options.few)
        write_texts(Path("all.jsonl"), options.texts)
        for number in options.n_process:
            print(f"{number} processes, seconds and peak memory in MB:", flush=True)
            measure("all.jsonl", "few.jsonl", ("--n-process", str(number)))


if __name__ == "__main__":
    main()
