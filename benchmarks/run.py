"""Measures this project and what one could use in its place, in turn, each time in a new process.

Each measurement becomes a line of JSON in --results, which `report.py` makes tables of. TEXTS is a
JSONL file of {"text": ...}; DATA is a directory with train.jsonl, test.jsonl and, if there is one,
dev.jsonl, of {"text": ..., "labels": [...]}. For spacy-transformers, name the Python of an
environment that has it, since it needs an older transformers.

Example:
  run.py encode TEXTS --model ./fp32 --model ./int8 --spacy-transformers ./venv/bin/python
  run.py textcat DATA/trec6 DATA/banking77=3000
  report.py benchmarks.jsonl BENCHMARKS.md
"""

import argparse
import json
import os
import platform
import random
import re
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from contest import read_labelled

_HERE = Path(__file__).parent
_LOAD = "import spacy; spacy.load({!r})"
_LOAD_PLAIN = "import spacy; from transformers import AutoModel; AutoModel.from_pretrained({!r})"
_TEXT = "Zürich's cafés reopened. Unbelievable!"


class Contestant(NamedTuple):
    """Who is measured: a name for the tables, and the function that one process is to run.

    Attributes:
        script: "trf", "transformers" or "spacy_transformers".
    """

    name: str
    script: str
    function: str
    arguments: dict[str, Any]


class Runner:
    """Runs contestants, and writes down what they say.

    Args:
        options: Those of the command line that all benchmarks have.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.benchmark: str = options.benchmark
        self.rival_python: str | None = options.spacy_transformers
        self.threads: int = options.threads
        self.work = Path(options.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.results = Path(options.results)
        self.encoder = _locate(options.encoder)
        self.models: list[str] = getattr(options, "model", None) or [self._make_pipeline()]

    def measure(self, contestants: Iterable[Contestant], data: str, number: int) -> list[Any]:
        """Run each contestant once, in turn."""
        return [self._run(each, data, number) for each in contestants]

    def time(self, name: str, command: list[str], number: int) -> None:
        """Take the time of a whole process."""
        start = time.perf_counter()
        self._start(command)
        self._write({"contestant": name, "round": number, "seconds": time.perf_counter() - start})

    def _run(self, contestant: Contestant, data: str, number: int) -> dict[str, Any] | None:
        name, script, function, arguments = contestant
        python = sys.executable
        if script == "spacy_transformers":
            if self.rival_python is None:
                return None
            python = self.rival_python
        program = str(_HERE / f"with_{script}.py")
        said = self._start([python, program, function, json.dumps(arguments)])
        found = json.loads(said.splitlines()[-1])
        self._write({"contestant": name, "data": Path(data).stem, "round": number, **found})
        return found

    def _start(self, command: list[str]) -> str:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{done.stderr}\nfailed: {shlex.join(command)}")
        return done.stdout

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps({"benchmark": self.benchmark, **line}, ensure_ascii=False)
        print(text, flush=True)
        with self.results.open("a", encoding="utf8") as file:
            file.write(f"{text}\n")

    def note_machine(self) -> None:
        """Write down where this runs, and by which command."""
        cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        self._write(
            {
                "command": shlex.join(["python", *map(_short, sys.argv)]),
                "machine": {
                    "processor": cpu[1] if cpu else platform.processor(),
                    "cores": os.cpu_count(),
                    "memory_gb": round(pages * size / 1e9, 1),
                    "system": platform.system(),
                },
                "threads": self.threads,
            }
        )

    def _make_pipeline(self) -> str:
        """A pipeline around the encoder, in single precision."""
        path = self.work / "fp32"
        if not path.exists():
            self._start([_trf(), "init", self.encoder, str(path)])
        return str(path)


def encode(runner: Runner, options: argparse.Namespace) -> None:
    shared = {"texts": options.texts, "limit": options.limit}
    batched = {**shared, "batch_size": options.batch_size}
    encoder = {"encoder": runner.encoder}
    ours = [
        Contestant(f"trf {Path(model).name}", "trf", "encode", {**batched, "model": model})
        for model in runner.models
    ]
    twice = ours[0]._replace(
        name=f"{ours[0].name}, all texts twice", arguments={**ours[0].arguments, "copies": 2}
    )
    theirs = [
        Contestant(
            f"spacy-transformers, {spans}",
            "spacy_transformers",
            "encode",
            {**batched, **encoder, "spans": spans},
        )
        for spans in ("strided", "sentences")
    ]
    floor = Contestant(
        "encoder alone",
        "transformers",
        "floor",
        {**shared, **encoder, "words_per_batch": options.words_per_batch},
    )
    for number in range(options.rounds):
        runner.measure([*ours, twice, *theirs, floor], options.texts, number)


def train(runner: Runner, options: argparse.Namespace) -> None:
    arguments = {
        "encoder": runner.encoder,
        "data": options.data,
        "limit": options.limit,
        "batch_size": options.batch_size,
    }
    command = {key: value for key, value in arguments.items() if key != "encoder"}
    command["model"] = runner.models[0]
    contestants = [
        Contestant("trf train-textcat", "trf", "train_command", command),
        Contestant("trf, nlp.update", "trf", "train", arguments),
        Contestant("spacy-transformers", "spacy_transformers", "train", arguments),
    ]
    for number in range(options.rounds):
        runner.measure(contestants, options.data, number)


def textcat(runner: Runner, options: argparse.Namespace) -> None:
    budget = {"epochs": options.epochs, "batch_size": options.batch_size}
    for seed in options.seeds:
        for data, limit in map(_with_limit, options.data):
            shared = {"data": data, "seed": seed, "limit": limit, **budget}
            output = str(runner.work / f"{Path(data).name}-{seed}")
            ours = {**shared, "model": runner.models[0], "output": output}
            plain = {**shared, "encoder": runner.encoder}
            contestants = [
                Contestant("trf", "trf", "textcat", ours),
                Contestant("plain transformers", "transformers", "textcat", plain),
            ]
            chosen = [each for each in contestants if options.only in (None, each.name)]
            runner.measure(chosen, data, seed)


def few_shot(runner: Runner, options: argparse.Namespace) -> None:
    for draw in range(options.draws):
        for data in options.data:
            drawn = _draw(data, options.shots, draw, runner.work)
            shared = {"data": drawn, "seed": draw, "limit": None}
            ours = {
                **shared,
                "model": runner.models[0],
                "output": f"{drawn}-model",
                # What it does by itself with so few texts.
                "epochs": None,
                "batch_size": None,
            }
            [found] = runner.measure([Contestant("trf", "trf", "textcat", ours)], data, draw)
            plain = {**shared, "encoder": runner.encoder, "batch_size": options.batch_size}
            budgets = {f"plain transformers, {options.epochs} epochs": options.epochs}
            if options.as_long:
                budgets["plain transformers, as many epochs as trf"] = found["epochs"]
            contestants = [
                Contestant(name, "transformers", "textcat", {**plain, "epochs": epochs})
                for name, epochs in budgets.items()
            ]
            runner.measure(contestants, data, draw)


def score(runner: Runner, options: argparse.Namespace) -> None:
    for model in runner.models:
        arguments = {"model": model, "data": options.data}
        runner.measure(
            [Contestant(f"trf {Path(model).name}", "trf", "score", arguments)], options.data, 0
        )


def start(runner: Runner, options: argparse.Namespace) -> None:
    python = [sys.executable, "-c"]
    commands = {
        "import spacy": [*python, "import spacy"],
        "trf --help": [_trf(), "--help"],
        "trf inspect": [_trf(), "inspect", _TEXT, "--model", runner.models[0]],
        "import spacy, AutoModel.from_pretrained": [*python, _LOAD_PLAIN.format(runner.encoder)],
        **{
            f"spacy.load trf {Path(model).name}": [*python, _LOAD.format(model)]
            for model in runner.models
        },
    }
    for number in range(options.rounds):
        for name, command in commands.items():
            runner.time(name, command, number)


def _short(argument: str) -> str:
    """An argument of the command; of a path from the root, which is this machine's, the end."""
    return "/".join(["...", *Path(argument).parts[-2:]]) if argument.startswith("/") else argument


def _with_limit(data: str) -> tuple[str, int | None]:
    """DATA, or DATA=LIMIT"""
    path, _, limit = data.partition("=")
    return path, int(limit) if limit else None


def _draw(data: str, shots: int, seed: int, work: Path) -> str:
    """A data set that has only so many training texts of each label, and no dev texts."""
    by_label = defaultdict(list)
    for text, labels in read_labelled(data, "train"):
        by_label[labels[0]].append({"text": text, "labels": labels})
    generator = random.Random(seed)
    drawn = [row for label in sorted(by_label) for row in generator.sample(by_label[label], shots)]
    generator.shuffle(drawn)
    path = work / f"{Path(data).name}-{shots}-{seed}"
    path.mkdir(exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) for row in drawn)
    (path / "train.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf8")
    (path / "test.jsonl").write_bytes((Path(data) / "test.jsonl").read_bytes())
    return str(path)


def _locate(encoder: str) -> str:
    """The directory of an encoder, which those that don't know our names for one need."""
    from trfcli_pipeline.huggingface.sources import locate

    return str(locate(encoder).path)


def _trf() -> str:
    return str(Path(sys.executable).with_name("trf"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", action="append", help="a pipeline of ours; may come again")
    shared.add_argument("--encoder", default="minilm", help="what the others use")
    shared.add_argument("--spacy-transformers", metavar="PYTHON")
    shared.add_argument("--threads", type=int, default=os.cpu_count())
    shared.add_argument("--work", default=".benchmarks", help="directory for models")
    shared.add_argument("--results", default="benchmarks.jsonl")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)

    def add(function: Callable[[Runner, argparse.Namespace], None], help_: str) -> Any:
        name = function.__name__.replace("_", "-")
        command = benchmarks.add_parser(name, help=help_, parents=[shared])
        command.set_defaults(function=function)
        return command

    command = add(encode, "words per second of whole pipelines, and memory")
    command.add_argument("texts")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--limit", type=int, default=600, help="texts")
    command.add_argument("--batch-size", type=int, default=128, help="texts")
    command.add_argument("--words-per-batch", type=int, default=2000, help="of the encoder alone")

    command = add(train, "texts per second of updates")
    command.add_argument("data")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--limit", type=int, default=1000, help="texts")
    command.add_argument("--batch-size", type=int, default=32)

    command = add(textcat, "accuracy, time and memory of fine-tuning")
    command.add_argument("data", nargs="+", metavar="DATA[=LIMIT]")
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    command.add_argument("--only", metavar="CONTESTANT", help="run one of them alone")
    command.add_argument("--epochs", type=int, default=3)
    command.add_argument("--batch-size", type=int, default=32)

    command = add(few_shot, "accuracy with a few texts of each label")
    command.add_argument("data", nargs="+")
    command.add_argument("--draws", type=int, default=5)
    command.add_argument(
        "--as-long", action="store_true", help="plain transformers also with as many epochs as trf"
    )
    command.add_argument("--shots", type=int, default=8, help="texts of each label")
    command.add_argument("--epochs", type=int, default=3, help="of plain transformers")
    command.add_argument("--batch-size", type=int, default=32, help="of plain transformers")

    command = add(score, "accuracy of trained pipelines, those that --model names")
    command.add_argument("data")

    command = add(start, "how long programs take to start and to load")
    command.add_argument("--rounds", type=int, default=10)
    return parser.parse_args()


def main() -> None:
    options = _options()
    runner = Runner(options)
    runner.note_machine()
    options.function(runner, options)


if __name__ == "__main__":
    main()
