"""Measure this project and its alternatives in turn, each time in a new process.

Each measurement is written to --results as a line of JSON; `report.py` turns them into tables.
TEXTS is a JSONL file of {"text": ...}. DATA is a directory with train.jsonl, test.jsonl and
optionally dev.jsonl, of {"text": ..., "labels": [...]}. spacy-transformers needs an older
transformers, so pass the Python of an environment that has it.

Example:
  run.py encode TEXTS --model ./fp32 --model ./int8 --spacy-transformers ./venv/bin/python
  run.py textcat DATA/trec6 DATA/banking77=3000
  report.py benchmarks.jsonl BENCHMARKS.md
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contest import read_labeled
from runner import Contestant, Runner, trf_program

_LOAD = "import spacy; spacy.load({!r})"
_LOAD_PLAIN = "import spacy; from transformers import AutoModel; AutoModel.from_pretrained({!r})"
_TEXT = "Zürich's cafés reopened. Unbelievable!"


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
        runner.run_all([*ours, twice, *theirs, floor], options.texts, number)


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
        runner.run_all(contestants, options.data, number)


def busy(runner: Runner, options: argparse.Namespace) -> None:
    shared = {"data": options.data, "limit": options.limit, "batch_size": options.batch_size}
    plain = {**shared, "encoder": runner.encoder, "seed": 0, "epochs": 1}
    contestants = [
        Contestant("trf", "trf", "train_command", {**shared, "model": runner.models[0]}),
        Contestant("plain transformers", "transformers", "textcat", plain),
    ]
    for number in range(options.rounds):
        for each in contestants:
            runner.run_all([each], options.data, number)
            with _busy_process():
                beside = each._replace(name=f"{each.name}, beside a busy process")
                runner.run_all([beside], options.data, number)


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


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
            runner.run_all(chosen, data, seed)


def few_shot(runner: Runner, options: argparse.Namespace) -> None:
    for draw in range(options.draws):
        for data in options.data:
            drawn = _draw(data, options.shots, draw, runner.work)
            shared = {"data": drawn, "seed": draw, "limit": None}
            ours = {
                **shared,
                "model": runner.models[0],
                "output": f"{drawn}-model",
                # Let trf choose these, as it does for so few texts.
                "epochs": None,
                "batch_size": None,
            }
            [result] = runner.run_all([Contestant("trf", "trf", "textcat", ours)], data, draw)
            plain = {**shared, "encoder": runner.encoder, "batch_size": options.batch_size}
            plural = "" if options.epochs == 1 else "s"
            budgets = {f"plain transformers, {options.epochs} epoch{plural}": options.epochs}
            if options.as_long:
                budgets["plain transformers, as many epochs as trf"] = result["epochs"]
            contestants = [
                Contestant(name, "transformers", "textcat", {**plain, "epochs": epochs})
                for name, epochs in budgets.items()
            ]
            runner.run_all(contestants, data, draw)


def score(runner: Runner, options: argparse.Namespace) -> None:
    for model in runner.models:
        arguments = {"model": model, "data": options.data}
        runner.run_all(
            [Contestant(f"trf {Path(model).name}", "trf", "score", arguments)], options.data, 0
        )


def start(runner: Runner, options: argparse.Namespace) -> None:
    python = [sys.executable, "-c"]
    commands = {
        "import spacy": [*python, "import spacy"],
        "trf --help": [trf_program(), "--help"],
        "trf inspect": [trf_program(), "inspect", _TEXT, "--model", runner.models[0]],
        "import spacy, AutoModel.from_pretrained": [*python, _LOAD_PLAIN.format(runner.encoder)],
        **{
            f"spacy.load trf {Path(model).name}": [*python, _LOAD.format(model)]
            for model in runner.models
        },
    }
    for number in range(options.rounds):
        for name, command in commands.items():
            runner.time_process(name, command, number)


def _with_limit(data: str) -> tuple[str, int | None]:
    """Split DATA=LIMIT; the limit is optional."""
    path, _, limit = data.partition("=")
    return path, int(limit) if limit else None


def _draw(data: str, shots: int, seed: int, work: Path) -> str:
    """Create a data set with `shots` training texts per label, and no dev set."""
    by_label = defaultdict(list)
    for text, labels in read_labeled(data, "train"):
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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", action="append", help="a trf pipeline; may be repeated")
    shared.add_argument("--encoder", default="minilm", help="encoder of the other contestants")
    shared.add_argument(
        "--spacy-transformers", metavar="PYTHON", help="Python that has spacy-transformers"
    )
    shared.add_argument("--threads", type=int, default=os.cpu_count())
    shared.add_argument("--work", default=".benchmarks", help="directory for models")
    shared.add_argument("--results", default="benchmarks.jsonl")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)

    def add(function: Callable[[Runner, argparse.Namespace], None], help_: str) -> Any:
        name = function.__name__.replace("_", "-")
        command = benchmarks.add_parser(name, help=help_, parents=[shared])
        command.set_defaults(function=function)
        return command

    command = add(encode, "words per second and memory of whole pipelines")
    command.add_argument("texts")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--limit", type=int, default=600, help="number of texts")
    command.add_argument("--batch-size", type=int, default=128, help="number of texts")
    command.add_argument("--words-per-batch", type=int, default=2000, help="for the encoder alone")

    command = add(train, "texts per second of updates")
    command.add_argument("data")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--limit", type=int, default=1000, help="number of texts")
    command.add_argument("--batch-size", type=int, default=32)

    command = add(busy, "training time beside another busy process")
    command.add_argument("data")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--limit", type=int, default=320, help="number of texts")
    command.add_argument("--batch-size", type=int, default=32)

    command = add(textcat, "accuracy, time and memory of fine-tuning")
    command.add_argument("data", nargs="+", metavar="DATA[=LIMIT]")
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    command.add_argument("--only", metavar="CONTESTANT", help="run only this one")
    command.add_argument("--epochs", type=int, default=3)
    command.add_argument("--batch-size", type=int, default=32)

    command = add(few_shot, "accuracy with a few texts per label")
    command.add_argument("data", nargs="+")
    command.add_argument("--draws", type=int, default=5)
    command.add_argument(
        "--as-long",
        action="store_true",
        help="also run plain transformers with as many epochs as trf",
    )
    command.add_argument("--shots", type=int, default=8, help="texts per label")
    command.add_argument("--epochs", type=int, default=3, help="for plain transformers")
    command.add_argument("--batch-size", type=int, default=32, help="for plain transformers")

    command = add(score, "accuracy of the trained pipelines given by --model")
    command.add_argument("data")

    command = add(start, "time to start programs and to load pipelines")
    command.add_argument("--rounds", type=int, default=10)
    return parser.parse_args()


def main() -> None:
    options = _options()
    runner = Runner(options)
    runner.note_machine()
    options.function(runner, options)


if __name__ == "__main__":
    main()
