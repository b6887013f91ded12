import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from typer.testing import Result

from trfcli_pipeline.tasks.annotate import Advanced, Event, Finished, Started
from trfcli_pipeline.tasks.init_model import init_model

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Write = Callable[[Path, Iterable[Any]], Path]

TEXTS = [{"text": f"I love film {number}!", "id": number} for number in range(10)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A pipeline with an untrained classifier."""
    path = tmp_path_factory.mktemp("models") / "model"
    nlp, _ = init_model(str(tiny_bert), path)
    textcat: Any = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    textcat.initialize(None, nlp=nlp, labels=["BAD", "GOOD"])
    nlp.to_disk(path)
    return path


@pytest.fixture
def workspace(tmp_path: Path, model: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a pipeline, texts, and what is neither."""
    (tmp_path / "model").symlink_to(model)
    write(tmp_path / "in.jsonl", TEXTS)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_says_what_was_done_and_where_it_is(run: Run, workspace: Path) -> None:
    result = run("annotate", "model", "in.jsonl", "out.jsonl")
    assert result.exit_code == 0
    assert result.stdout == ""
    # An untrained classifier finds all labels equally likely: the first is the best.
    assert re.fullmatch(
        r"✔ Annotated 10 texts, 50 words, [\d,]+ words/s; BAD 10; written to out\.jsonl\n",
        result.stderr,
    )
    rows = [json.loads(line) for line in (workspace / "out.jsonl").read_text().splitlines()]
    assert rows == [{**row, "cats": {"BAD": 0.5, "GOOD": 0.5}, "labels": ["BAD"]} for row in TEXTS]


def test_quiet_says_nothing(run: Run, workspace: Path) -> None:
    result = run("annotate", "model", "in.jsonl", "out.jsonl", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_stdin_to_stdout(run: Run, workspace: Path) -> None:
    result = run("annotate", "model", "-", "-", input=json.dumps(TEXTS[0]) + "\n")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["id"] == 0
    assert result.stderr.endswith("written to stdout\n")


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ([], None, None),
        (["--n-process", "3"], "n_process", 3),
        (["--batch-size", "7"], "batch_size", 7),
        (["-b", "7"], "batch_size", 7),
        (["--device", "cuda:1"], "device", "cuda:1"),
        (["--resume"], "resume", True),
        (["--force"], "force", True),
        (["-f"], "force", True),
    ],
)
def test_each_option_changes_one_argument(
    run: Run, replayed: Callable[..., dict[str, Any]], options: list[str], name: str, value: object
) -> None:
    asked = replayed(Started(1, 0), FINISHED)
    assert run("annotate", "m", "in.csv", "out.csv", *options).exit_code == 0
    defaults: dict[str, Any] = {
        "n_process": 1,
        "batch_size": None,
        "device": "auto",
        "resume": False,
        "force": False,
    }
    changed = {} if name is None else {name: value}
    assert asked == {"args": ("m", "in.csv", "out.csv"), **defaults, **changed}


FINISHED = Finished(
    texts=12345, words=67890, labels={"A": 1, "B": 12000}, left_out=[], words_per_second=4321.5
)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Put events in the place of the work; returns what is then asked for."""
    asked: dict[str, Any] = {}

    def replay(*events: Event) -> dict[str, Any]:
        def annotate(*args: str, **options: Any) -> Iterator[Event]:
            asked.update(options, args=args)
            yield from events

        monkeypatch.setattr("trfcli_pipeline.tasks.annotate.annotate", annotate)
        return asked

    return replay


def test_figures_are_for_people(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    left_out = Finished(12345, 67890, FINISHED.labels, ["mood", "tone"], 4321.5)
    replayed(Started(12345, 2000), Advanced(10345, 60000), left_out)
    result = run("annotate", "m", "in.jsonl", "out.csv", "--resume")
    assert result.stderr.splitlines() == [
        "ℹ Continuing after 2,000 texts",
        "✔ Annotated 12,345 texts, 67,890 words, 4,322 words/s; B 12,000, A 1; written to out.csv",
        "⚠ The table has no column for mood, tone, which the first text doesn't have; "
        "a .jsonl file would keep it",
    ]


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["nowhere", "in.jsonl", "out.jsonl"], "nowhere: there is no such directory", "trf init"),
        (["folder", "in.jsonl", "out.jsonl"], "is no spaCy pipeline", "trf init"),
        (["model", "im.jsonl", "out.jsonl"], "im.jsonl: no such file", "Did you mean in.jsonl?"),
        (["model", "in.jsonl", "out.xlsx"], 'out.xlsx: unknown suffix ".xlsx"', ".jsonl"),
        (["model", "in.jsonl", "in.jsonl"], "in.jsonl: exists", "--force"),
        (["model", "in.jsonl", "folder"], "folder: no suffix", ".jsonl"),
        (["model", "in.jsonl", "out.jsonl", "--device", "warp"], "warp: not a device", "cpu"),
        (["model", "in.jsonl", "out.spacy", "--resume"], "only written at the end", ".jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_changes_nothing(
    check_failure: CheckFailure,
    workspace: Path,
    args: list[str],
    problem: str,
    advice: str | None,
) -> None:
    check_failure(["annotate", *args], problem, advice)


def test_bad_record_is_named_and_changes_nothing(
    check_failure: CheckFailure, workspace: Path, write: Write
) -> None:
    write(workspace / "in.jsonl", [*TEXTS, {"txt": "a"}, *TEXTS, 3])
    problem = 'in.jsonl, line 11: no "text" in the record'
    args = ["annotate", "model", "in.jsonl", "out.jsonl"]
    check_failure(args, problem, "2 of 22 records can't be read; first: lines 11, 22")


@pytest.mark.parametrize("options", [["--n-process", "0"], ["-b", "0"], ["surplus"]], ids=" ".join)
def test_wrong_usage_exits_with_2(run: Run, workspace: Path, options: list[str]) -> None:
    result = run("annotate", "model", "in.jsonl", "out.jsonl", *options)
    assert result.exit_code == 2
    assert "Usage: trf annotate" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")
def test_interrupt_leaves_no_process_and_can_be_continued(
    run: Run, workspace: Path, write: Write
) -> None:
    write(workspace / "in.jsonl", TEXTS * 300)
    process = subprocess.Popen(
        [
            *(Path(sys.executable).with_name("trf"), "annotate", "model", "in.jsonl", "out.jsonl"),
            *("--n-process", "2", "--batch-size", "10"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf8",
        env={**os.environ, "PYTHONIOENCODING": "utf8"},
        start_new_session=True,
    )
    # Reading would wait for ever if the process did.
    guard = Timer(120, process.kill)
    guard.start()
    state = workspace / "out.jsonl.partial.json"
    while not state.exists() and process.poll() is None:
        guard.join(0.05)
    # A terminal sends Ctrl-C to all processes of the session.
    os.killpg(process.pid, signal.SIGINT)
    # Ends when the last of those that could write has gone.
    _, stderr = process.communicate(timeout=60)
    guard.cancel()
    assert process.returncode == 130
    assert stderr == "✘ Interrupted; what was done is kept, to be continued with --resume.\n"
    assert not (workspace / "out.jsonl").exists()
    assert run("annotate", "model", "in.jsonl", "out.jsonl", "--resume").exit_code == 0
    lines = (workspace / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in TEXTS] * 300
