"""Kill `trf` at random moments, and check that nothing is lost, mixed or left behind.

Each round starts a command that replaces an output, and sends SIGKILL or SIGTERM at a random
moment. Then the output must be the old or the new one, by loading and predicting. The command runs
again, after which nothing else may be left, and files that aren't `trf`'s own must be unchanged.
Then each two commands start on one output at the same time: one wins, and the other says why it
doesn't.

    python benchmarks/kills.py --rounds 120

Commands run in forks of this process, so that most signals arrive at work and not at imports.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import spacy
import torch
from tiny import QUICK, TEXTS, digest, finish, run, start, train_tiny

from trfcli_pipeline import verify

FOREIGN = ("NOTES.md", "data/raw/corpus.jsonl", "trf_tok2vec/notes.txt", "config.cfg.orig")


@dataclass(frozen=True)
class Case:
    """A command, and how to look at its output.

    Attributes:
        args: The command's arguments; its last run has to succeed.
        output: Path of the output.
        state: What identifies the output: its predictions or content.
        code: The exit code of a run that succeeds.
    """

    args: tuple[str, ...]
    output: Path
    state: Callable[[Path], object]
    code: int = 0

    @property
    def paths(self) -> list[Path]:
        """The output, and the list of the texts that were skipped, if there is one."""
        return [path for path in (self.output, list_of(self.output)) if path.exists()]

    @property
    def in_place(self) -> bool:
        """Whether the output is an input as well, so that another run has another result."""
        return self.args[1] == str(self.output)


def predictions(model: Path) -> object:
    """What a pipeline that is whole predicts."""
    verify(model)
    nlp = spacy.load(model)
    docs = list(nlp.pipe(TEXTS))
    return nlp.meta["name"], [doc.cats for doc in docs], [doc.tensor.sum().item() for doc in docs]


def package_state(path: Path) -> object:
    """What the pipeline in a package predicts, and the hashes of its archives."""
    name = path.name.partition("-")[0]
    # Not that of trfcli itself, which changes while somebody works on it.
    archives = {each.name: digest(each) for each in path.glob(f"dist/{name}*")}
    return predictions(path / name / path.name), archives


def content(file: Path) -> object:
    return None if not file.exists() else file.read_bytes()


def list_of(output: Path) -> Path:
    """Where `annotate --on-error skip` lists the texts that it skips."""
    return Path(f"{output}.skipped.jsonl")


def content_and_list(file: Path) -> object:
    return content(file), content(list_of(file))


def metrics(file: Path) -> object:
    """The metrics without the speed, which differs between runs."""
    return [line for line in file.read_text().splitlines() if '"speed"' not in line]


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def prepare(folder: Path) -> list[Case]:
    """Create models, data and outputs to replace, all with files of somebody else in them."""
    os.chdir(folder)
    log = folder / "log.txt"
    rows = train_tiny(log)
    cases = [
        Case(("init", "enc", "init", "--name", "new", "-f"), Path("init"), predictions),
        Case(("train", "train", "train.jsonl", *QUICK), Path("train"), predictions),
        Case(
            ("train", "base", "train.jsonl", "-o", "trained", "-f", *QUICK),
            Path("trained"),
            predictions,
        ),
        Case(
            (
                *("optimize", "model", "fast", "--calibrate", "train.jsonl", "-f"),
                *("--precision", "bf16", "--backend", "torch", "--max-loss", "100"),
            ),
            Path("fast"),
            predictions,
        ),
        Case(
            ("package", "model", "out", "-B", "none", "--name", "pack", "--version", "1.0", "-f"),
            Path("out/en_pack-1.0"),
            package_state,
        ),
        Case(
            ("package", "model", "built", "--name", "pack", "--version", "1.0", "-f"),
            Path("built/en_pack-1.0"),
            package_state,
        ),
        Case(
            ("annotate", "model", "train.jsonl", "rows.jsonl", "-b", "4", "-f"),
            Path("rows.jsonl"),
            content,
        ),
        Case(
            (
                *("annotate", "model", "mixed.jsonl", "kept.jsonl", "-b", "4", "-f"),
                *("--on-error", "skip", "--resume"),
            ),
            Path("kept.jsonl"),
            content_and_list,
            code=3,
        ),
        Case(
            ("evaluate", "model", "train.jsonl", "-o", "scores.json"), Path("scores.json"), metrics
        ),
    ]
    run(("init", "enc", "init", "--name", "old"), log)
    for name in ("train", "trained", "fast"):
        shutil.copytree("init", name)
    for args in (("out", "-B", "none"), ("built",)):
        run(("package", "init", *args, "--name", "pack", "--version", "1.0"), log)
    Path("two.jsonl").write_text("\n".join(rows[:2]) + "\n")
    run(("annotate", "model", "two.jsonl", "rows.jsonl"), log)
    Path("three.jsonl").write_text("\n".join([*rows[:2], "{"]) + "\n")
    run(("annotate", "model", "three.jsonl", "kept.jsonl", "--on-error", "skip"), log, code=3)
    # Some lines can't be read, as many as can.
    mixed = [line for row in rows for line in (row, row[: len(row) // 2])]
    Path("mixed.jsonl").write_text("\n".join(mixed) + "\n")
    run(("evaluate", "model", "two.jsonl", "-o", "scores.json"), log)
    for case in cases:
        if case.output.is_dir():
            for name in FOREIGN:
                (case.output / name).parent.mkdir(parents=True, exist_ok=True)
                (case.output / name).write_text(f"mine: {name}")
    return cases


def run_round(
    case: Case, number: signal.Signals, wholes: dict[Path, tuple[float, object]], log: Path
) -> str:
    """Kill a command once and let it run again. Return when it was killed and what it left."""
    backup = Path("backup")
    shutil.rmtree(backup, ignore_errors=True)
    for path in case.paths:
        copy(path, backup / path)
    before = {path.name for path in case.output.parent.iterdir()}
    old = case.state(case.output)
    if case.output not in wholes:
        begin = time.perf_counter()
        run(case.args, log, case.code)
        wholes[case.output] = time.perf_counter() - begin, case.state(case.output)
        check_foreign(case)
        restore(case, backup)
    duration, new = wholes[case.output]
    # Half of the kills are in the last fifth, where outputs are written.
    delay = random.choice((random.uniform(0, 1), random.uniform(0.8, 1))) * duration
    pid = start(case.args, log)
    time.sleep(delay)
    os.kill(pid, number)
    code = finish(pid)
    assert code in (case.code, -number, 128 + number), f"exit code {code}: {log.read_text()}"
    state = case.state(case.output)
    assert state in (old, new), f"neither old nor new: {case.args}"
    if number == signal.SIGTERM:
        check_foreign(case)
    run(case.args, log, case.code)
    if not case.in_place:
        assert case.state(case.output) == new, f"the next run has another result: {case.args}"
    check_foreign(case)
    left = {path.name for path in case.output.parent.iterdir()} - before
    assert not left, f"left behind: {left}"
    restore(case, backup)
    return f"{delay:5.2f} s: {'old' if state == old else 'new'}"


def check_foreign(case: Case) -> None:
    if case.output.is_dir():
        for name in FOREIGN:
            assert (case.output / name).read_text() == f"mine: {name}", f"{name} is lost"


def copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if path.is_dir() else shutil.copy2)(path, target)


def restore(case: Case, backup: Path) -> None:
    """Put the old output back."""
    for path in case.paths:
        if path.is_dir():
            shutil.rmtree(path)
        copy(backup / path, path)


def run_pairs(cases: list[Case], log: Path) -> None:
    """Start each two commands on one output at the same time."""
    shared = Path("shared")
    directories = [
        Case(
            (
                case.args[0],
                *("shared" if arg == str(case.output) else arg for arg in case.args[1:]),
            ),
            shared,
            predictions,
        )
        for case in cases
        if case.state is predictions
    ]
    files = [
        Case(
            ("annotate", "model", "train.jsonl", "shared.jsonl", "-f"),
            Path("shared.jsonl"),
            content,
        ),
        Case(
            ("evaluate", "model", "train.jsonl", "-o", "shared.jsonl"),
            Path("shared.jsonl"),
            content,
        ),
    ]
    packages = [case for case in cases if case.state is package_state]
    for group in (directories, files, packages):
        for one, other in itertools.product(group, repeat=2):
            if group is directories:
                shutil.rmtree(shared, ignore_errors=True)
                shutil.copytree("init", shared)
            elif group is files:
                one.output.unlink(missing_ok=True)
            mark = log.stat().st_size
            codes = [finish(pid) for pid in [start(case.args, log) for case in (one, other)]]
            with log.open("rb") as stream:
                stream.seek(mark)
                said = stream.read().decode()
            assert 0 in codes, said
            if codes != [0, 0]:
                assert "is being written by another process" in said, said
            one.state(one.output)
            if group is files:
                check_rows(one.output, rows=40)
            left = [path.name for path in Path().glob(".*")]
            assert not left, f"left behind: {left}"
            outcome = "one after the other" if codes == [0, 0] else "one refused"
            print(f"     {one.args[0]:8} and {other.args[0]:8}: {outcome}", flush=True)


def check_rows(file: Path, rows: int) -> None:
    """Check that a file has the metrics, or each annotated text once."""
    text = file.read_text()
    if text.startswith("{\n"):
        json.loads(text)
    else:
        texts = [json.loads(line)["text"] for line in text.splitlines()]
        assert len(texts) == len(set(texts)) == rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases = prepare(Path(folder))
        inputs = {name: snapshot(Path(name)) for name in ("enc", "base", "model")}
        wholes: dict[Path, tuple[float, object]] = {}
        for round_ in range(options.rounds):
            case = cases[round_ // 2 % len(cases)]
            number = (signal.SIGKILL, signal.SIGTERM)[round_ % 2]
            found = run_round(case, number, wholes, Path(folder) / "log.txt")
            print(f"{round_ + 1:4} {number.name} {case.args[0]:8} {found}", flush=True)
        run_pairs(cases, Path(folder) / "log.txt")
        assert inputs == {name: snapshot(Path(name)) for name in inputs}, "an input has changed"
    print(f"{options.rounds} kills: every output old or new, nothing lost or left behind")


if __name__ == "__main__":
    main()
