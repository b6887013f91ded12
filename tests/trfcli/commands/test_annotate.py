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

from trfcli_pipeline.data.dataset import DataSet
from trfcli_pipeline.tasks.annotate import (
    AnnotationEvent,
    AnnotationFinished,
    AnnotationStarted,
    BatchAnnotated,
)
from trfcli_pipeline.tasks.init_model import init_model

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Write = Callable[[Path, Iterable[Any]], Path]

TEXTS = [{"text": f"I love film {number}!", "id": number} for number in range(10)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A pipeline with an untrained classifier."""
    path = tmp_path_factory.mktemp("models") / "model"
    nlp, _ = init_model(str(tiny_bert), path, lang="xx")
    textcat: Any = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    textcat.initialize(None, nlp=nlp, labels=["BAD", "GOOD"])
    nlp.to_disk(path)
    return path


@pytest.fixture
def workspace(tmp_path: Path, model: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a pipeline, texts, and a directory that is neither."""
    (tmp_path / "model").symlink_to(model)
    write(tmp_path / "in.jsonl", TEXTS)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_summary_has_counts_labels_and_output(run: Run, workspace: Path) -> None:
    result = run("annotate", "model", "in.jsonl", "out.jsonl")
    assert result.exit_code == 0
    assert result.stdout == ""
    # An untrained classifier gives all labels the same score, so the first one is predicted.
    assert re.fullmatch(
        r"✔ Annotated 10 texts, 50 words, [\d,]+ words/s; predicted BAD 10; "
        r"written to out\.jsonl\n",
        result.stderr,
    )
    rows = [json.loads(line) for line in (workspace / "out.jsonl").read_text().splitlines()]
    assert rows == [{**row, "cats": {"BAD": 0.5, "GOOD": 0.5}, "labels": ["BAD"]} for row in TEXTS]


def test_quiet_prints_nothing(run: Run, workspace: Path) -> None:
    result = run("annotate", "model", "in.jsonl", "out.jsonl", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_folder_has_a_summary_of_each_file(run: Run, workspace: Path, write: Write) -> None:
    write(workspace / "folder" / "a.jsonl", TEXTS)
    # The second text can't be read.
    write(workspace / "folder" / "b.jsonl", [TEXTS[0], {"id": 1}])
    write(workspace / "folder" / "c.jsonl", TEXTS[:2])
    result = run("annotate", "model", "folder", "out", "--on-error", "skip")
    assert result.exit_code == 3
    lines = [line for line in result.stderr.splitlines() if line.startswith(("ℹ", "✔"))]
    assert lines[::2] == [f"ℹ folder/{name}.jsonl ({n} of 3)" for n, name in enumerate("abc", 1)]
    ends = [line.rpartition(" ")[2] for line in lines[1::2]]
    assert ends == ["out/a.jsonl", "out/b.jsonl", "out/c.jsonl"]


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
        (["--engine", "ray"], "engine", "ray"),
        (["--batch-size", "7"], "batch_size", 7),
        (["-b", "7"], "batch_size", 7),
        (["--device", "cuda:1"], "device", "cuda:1"),
        (["--scores"], "scores", True),
        (["--on-error", "skip"], "on_error", "skip"),
        (["--resume"], "resume", True),
        (["--force"], "force", True),
        (["-f"], "force", True),
    ],
)
def test_each_option_changes_one_argument(
    run: Run, replayed: Callable[..., dict[str, Any]], options: list[str], name: str, value: object
) -> None:
    asked = replayed(AnnotationStarted(1, 0), FINISHED)
    assert run("annotate", "m", "in.csv", "out.csv", *options).exit_code == 0
    defaults: dict[str, Any] = {
        "n_process": None,
        "engine": "local",
        "batch_size": None,
        "device": "auto",
        "scores": False,
        "on_error": "stop",
        "resume": False,
        "force": False,
    }
    changed = {} if name is None else {name: value}
    assert asked == {"args": ("m", DataSet.named("in.csv"), "out.csv"), **defaults, **changed}


FINISHED = AnnotationFinished(
    texts=12345, words=67890, labels={"A": 1, "B": 12000}, left_out=[], words_per_second=4321.5
)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Replaces the task with given events; returns the arguments that it is called with."""
    asked: dict[str, Any] = {}

    def replay(*events: AnnotationEvent) -> dict[str, Any]:
        def annotate(*args: str, **options: Any) -> Iterator[AnnotationEvent]:
            asked.update(options, args=args)
            yield from events

        monkeypatch.setattr("trfcli_pipeline.tasks.annotate.annotate", annotate)
        return asked

    return replay


def test_messages_format_counts_and_labels(
    run: Run, replayed: Callable[..., dict[str, Any]]
) -> None:
    left_out = AnnotationFinished(
        *(12345, 67890, FINISHED.labels, ["mood", "tone"], 4321.5),
        renamed={"label": "label_predicted"},
        replaced=["ents", "spans"],
    )
    replayed(AnnotationStarted(12345, 2000), BatchAnnotated(10345, 60000), left_out)
    result = run("annotate", "m", "in.jsonl", "out.csv", "--resume")
    assert result.stderr.splitlines() == [
        "ℹ Resuming after 2,000 texts",
        "✔ Annotated 12,345 texts, 67,890 words, 4,322 words/s; predicted B 12,000, A 1; "
        "written to out.csv",
        "ℹ Predictions are in label_predicted, because the input has labels of its own",
        "ℹ Replaced ents, spans of an earlier run (to keep them, rename them in the input)",
        "⚠ The table has no column for mood, tone, which came after its header was written. "
        "A .jsonl file keeps all keys.",
    ]


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["nowhere", "in.jsonl", "out.jsonl"], "nowhere: ", "trf init"),
        (["folder", "in.jsonl", "out.jsonl"], "spaCy pipeline", "trf init"),
        (["model", "im.jsonl", "out.jsonl"], "im.jsonl: no such file", "Did you mean in.jsonl?"),
        (["model", "in.jsonl", "in.jsonl"], "in.jsonl: is the input", "another"),
        (["model", "in.jsonl", "out.spacy", "--resume"], "can't be resumed", ".jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_a_one_line_error_and_changes_nothing(
    check_failure: CheckFailure,
    workspace: Path,
    args: list[str],
    problem: str,
    advice: str | None,
) -> None:
    check_failure(["annotate", *args], problem, advice)


def test_error_names_the_bad_record(
    check_failure: CheckFailure, workspace: Path, write: Write
) -> None:
    write(workspace / "in.jsonl", [*TEXTS, {"txt": "a"}, *TEXTS, 3])
    problem = 'in.jsonl, line 11: the record has no "text"'
    args = ["annotate", "model", "in.jsonl", "out.jsonl"]
    check_failure(args, problem, "2 of 22 records are invalid: lines 11, 22")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("out.txt", 'out.txt: unknown suffix ".txt"'),
        ("folder", "folder: no suffix, so the format is unknown"),
    ],
)
def test_unknown_suffix_is_wrong_usage(run: Run, workspace: Path, name: str, problem: str) -> None:
    result = run("annotate", "model", "in.jsonl", name)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"✘ {problem}\n  Use .jsonl, ")


@pytest.mark.parametrize("options", [["--n-process", "0"], ["-b", "0"], ["surplus"]], ids=" ".join)
def test_wrong_usage_exits_with_2(run: Run, workspace: Path, options: list[str]) -> None:
    result = run("annotate", "model", "in.jsonl", "out.jsonl", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("✘ ")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")
def test_interrupted_run_leaves_no_process_and_can_be_resumed(
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
    # Keeps the test from waiting forever if the process hangs.
    guard = Timer(120, process.kill)
    guard.start()
    partial = workspace / "out.jsonl.partial"
    while not (partial.exists() and partial.stat().st_size) and process.poll() is None:
        guard.join(0.05)
    # A terminal sends Ctrl-C to all processes of the session.
    os.killpg(process.pid, signal.SIGINT)
    # Returns once no process is left that has stderr open.
    _, stderr = process.communicate(timeout=60)
    guard.cancel()
    assert process.returncode == 130
    # Workers that aren't forks may take so long to start that a message says what is going on.
    expected = "✘ Interrupted; the texts done so far are kept, continue with --resume."
    assert [line for line in stderr.splitlines() if "Still annotating" not in line] == [expected]
    assert not (workspace / "out.jsonl").exists()
    assert run("annotate", "model", "in.jsonl", "out.jsonl", "--resume").exit_code == 0
    lines = (workspace / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in TEXTS] * 300


def test_skipped_texts_are_reported_last_with_an_exit_code(
    run: Run, workspace: Path, model: Path
) -> None:
    lines = [json.dumps(TEXTS[0]), "{", json.dumps(TEXTS[1]), '{"text": 7}']
    (workspace / "bad.jsonl").write_text("".join(f"{line}\n" for line in lines))
    result = run("annotate", "model", "bad.jsonl", "out.jsonl", "--on-error", "skip")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1] == (
        "⚠ Skipped 2 of 4 texts; listed in out.jsonl.skipped.jsonl"
    )
    assert len((workspace / "out.jsonl").read_text().splitlines()) == 2


def test_invisible_characters_are_escaped_on_stdout_only(run: Run, workspace: Path) -> None:
    text = "a \x9b31m b \u202e c \u200d \U000e0041"
    given = json.dumps({"text": text}) + "\n"
    on_stdout = run("annotate", "model", "-", "-", input=given).stdout
    assert on_stdout.rstrip("\n").isprintable()
    assert json.loads(on_stdout)["text"] == text
    run("annotate", "model", "-", "out.jsonl", input=given)
    assert text in (workspace / "out.jsonl").read_text(encoding="utf8")
