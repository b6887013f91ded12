import importlib
import json
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def run() -> Any:
    return importlib.import_module("run")


@pytest.fixture
def runner(run: Any, tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A runner that starts no process."""
    options = Namespace(
        benchmark="encode",
        spacy_transformers="python-of-others",
        threads=1,
        work=str(tmp_path / "work"),
        results=str(tmp_path / "results.jsonl"),
        encoder=str(tiny_bert),
        model=["models/fp32", "models/int8"],
    )
    runner = run.Runner(options)
    runner.commands = []

    def start(command: list[str]) -> str:
        runner.commands.append(command)
        return 'noise\n{"words_per_s": 1.0}\n'

    monkeypatch.setattr(runner, "_start", start)
    return runner


def written(runner: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in runner.results.read_text().splitlines()]


def test_contestants_take_turns(run: Any, runner: Any) -> None:
    options = Namespace(texts="t.jsonl", limit=20, batch_size=8, words_per_batch=100, rounds=2)
    run.encode(runner, options)
    names = [line["contestant"] for line in written(runner)]
    assert names[:6] == names[6:]
    assert names[:3] == ["trf fp32", "trf int8", "trf fp32, all texts twice"]
    assert [line["round"] for line in written(runner)] == [0] * 6 + [1] * 6
    pythons = {name: command[0] for name, command in zip(names, runner.commands, strict=True)}
    others = {name for name, python in pythons.items() if python == "python-of-others"}
    assert others == {"spacy-transformers, strided", "spacy-transformers, sentences"}


def test_spacy_transformers_is_skipped_without_an_environment(run: Any, runner: Any) -> None:
    runner.rival_python = None
    run.train(runner, Namespace(data="d", limit=20, batch_size=8, rounds=1))
    names = [line["contestant"] for line in written(runner)]
    assert names == ["trf train-textcat", "trf, nlp.update"]


def test_machine_is_noted_without_absolute_paths(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks/run.py", "train", "/home/me/data/trec6"])
    runner.note_machine()
    [line] = written(runner)
    assert line["command"] == "python benchmarks/run.py train .../data/trec6"
    assert line["machine"]["cores"] > 0


def test_draws_have_few_texts_per_label(run: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"text": f"{label} {n}", "labels": [label]} for n in range(20) for label in "ABC"]
    for part in ("train", "test"):
        (data / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    draws = [run._draw(str(data), 4, seed, tmp_path) for seed in (0, 1)]
    texts = []
    for drawn in draws:
        lines = (Path(drawn) / "train.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        assert Counter(row["labels"][0] for row in found) == {"A": 4, "B": 4, "C": 4}
        assert all(row in rows for row in found)
        texts.append({row["text"] for row in found})
        assert (Path(drawn) / "test.jsonl").read_bytes() == (data / "test.jsonl").read_bytes()
    assert texts[0] != texts[1]


def test_data_may_have_a_limit(run: Any) -> None:
    assert run._with_limit("data/trec6") == ("data/trec6", None)
    assert run._with_limit("data/trec6=300") == ("data/trec6", 300)


def test_failures_show_the_error_and_the_command(
    run: Any, runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with pytest.raises(SystemExit, match=r"(?s)oh dear.*failed: .*-c 'raise SystemExit"):
        runner._start([run.sys.executable, "-c", "raise SystemExit('oh dear')"])


def test_a_process_is_busy_beside_every_second_run(
    run: Any, runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Process:
        def __init__(self, command: list[str]) -> None:
            calls.append("busy")

        def kill(self) -> None:
            calls.append("killed")

        def wait(self) -> None: ...

    monkeypatch.setattr(run.subprocess, "Popen", Process)
    start = runner._start
    monkeypatch.setattr(runner, "_start", lambda command: calls.append("run") or start(command))
    run.busy(runner, Namespace(data="d", limit=20, batch_size=8, rounds=1))
    assert calls == ["run", "busy", "run", "killed"] * 2
    names = [line["contestant"] for line in written(runner)]
    assert names[1] == "trf, beside a busy process"
    assert names[2] == "plain transformers"
