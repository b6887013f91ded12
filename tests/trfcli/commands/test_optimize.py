import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from extras import needs_openvino
from typer.testing import Result

from trfcli.commands.optimize import describe_sample, table
from trfcli_pipeline.data.dataset import DataSet
from trfcli_pipeline.encoder.backends import InferenceConfig
from trfcli_pipeline.encoder.devices import describe_device, resolve_device
from trfcli_pipeline.tasks import optimize as task
from trfcli_pipeline.tasks.before_after import Compared, Metrics
from trfcli_pipeline.tasks.optimize import Decided, Sampled, Tried

Run = Callable[..., Result]
CALIBRATE = ("--calibrate", "texts.jsonl")
# Without OpenVINO, not every CPU is faster with anything else than float32.
BF16 = ("--backend", "torch", "--precision", "bf16")


@pytest.fixture
def workspace(
    make_nlp: Callable[..., Any],
    write: Callable[[Path, Any], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    make_nlp().to_disk(tmp_path / "model")
    write(tmp_path / "texts.jsonl", [{"text": "I love this film."}, {"text": "Unbelievable!"}])
    write(tmp_path / "dev.jsonl", [{"text": "I love this film.", "label": "GOOD"}])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_openvino
def test_all_that_was_tried_is_shown(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [InferenceConfig("openvino", "int8", "cpu"), InferenceConfig("torch", "bf16", "cpu")]
    monkeypatch.setattr(task, "find_candidates", lambda *args: found)
    monkeypatch.setattr(Compared, "speedup", 2.0)
    result = run("optimize", "model", "fast", "--calibrate", "texts.jsonl", "--device", "cpu")
    assert result.exit_code == 0, result.output
    calibrating, trying, few, saved, following = result.stderr.splitlines()
    assert calibrating == "ℹ Calibrating on 2 segments of texts.jsonl"
    device = describe_device(torch.device("cpu"))
    names = "int8 with openvino, bf16 with torch"
    assert trying == f"ℹ Trying {names} on {device}, with 2 texts of texts.jsonl"
    assert few == (
        "⚠ With fewer than 100 texts to compare on, a loss may go unnoticed: give more with --dev"
    )
    assert saved.startswith("✔ Saved xx_pipeline to fast (")
    assert saved.endswith("): sentencizer, trf_wordpiecer, trf_tok2vec")
    assert following == "  Next: trf package fast ./out"
    header, *rows = [line.split() for line in result.stdout.splitlines()]
    assert header == ["words/s", "size", "cosine"]
    assert [row[0] for row in rows] == ["original", "int8", "bf16"]
    assert rows[1][-1] == "chosen"
    info = run("info", "fast")
    assert "int8 with openvino)" in info.stdout


def test_json_has_the_comparison(run: Run, workspace: Path) -> None:
    options = ("--calibrate", "-", *BF16, "--json")
    device = describe_device(resolve_device())
    lines = (workspace / "texts.jsonl").read_bytes()
    result = run("optimize", "model", "fast", *options, input=lines)
    found = json.loads(result.stdout)
    assert found["device"] == device
    (tried,) = found["tried"]
    assert (tried["precision"], tried["backend"], tried["chosen"]) == ("bf16", "torch", True)
    assert tried["figure"] == "cosine"
    assert tried["loss"] == pytest.approx(100 * (1 - tried["cosine"]))
    assert tried["before"].keys() == {"speed", "size", "score"}
    assert spacy.load("fast").pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]


def test_labels_that_the_classifier_does_not_know_are_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = InferenceConfig("torch", "bf16", "cpu")
    sampled = Sampled(0, 100, 100, "CPU", [one], ["EGGS", "HAMM"])
    describe_sample(sampled, DataSet(("t.csv",)), DataSet(("t.csv",)))
    warning, trying = capsys.readouterr().err.splitlines()
    assert warning == (
        "⚠ t.csv: 2 labels not in the model (EGGS, HAMM), so token vectors are compared instead of "
        "scores"
    )
    assert trying == "ℹ Trying bf16 with torch on CPU, with 100 texts of t.csv"


def test_too_large_a_loss_writes_nothing(run: Run, workspace: Path) -> None:
    options = ("--backend", "torch", "--precision", "bf16", "--max-loss", "0")
    result = run("optimize", "model", "fast", "--calibrate", "texts.jsonl", *options)
    assert result.exit_code == 1
    assert "cosine" in result.stdout
    assert "✘ bf16 lowers cosine by 0." in result.stderr
    assert " points, more than the 0 allowed; nothing was written\n" in result.stderr
    assert "  Raise --max-loss" in result.stderr
    names = sorted(path.name for path in workspace.iterdir())
    assert names == ["dev.jsonl", "model", "texts.jsonl"]


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (
            ["nowhere", "fast", "--calibrate", "texts.jsonl"],
            "nowhere: there is no such directory",
            "",
        ),
        (
            ["model", "model", *CALIBRATE, *BF16, "-f"],
            "model: is the input",
            "another",
        ),
        (["model", "model", *CALIBRATE, *BF16], "model: is the input", "another"),
        (["model", "fast", "--calibrate", "none.jsonl"], "none.jsonl: no such file", ""),
        (
            ["model", "fast", *CALIBRATE, "--backend", "torch", "--precision", "int8"],
            "int8 needs the OpenVINO backend",
            "--backend openvino",
        ),
        (
            ["model", "fast", *CALIBRATE, *BF16, "--dev", "dev.jsonl"],
            "no text classifier",
            "trf train-textcat",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("workspace")
def test_refusals_are_one_line_and_change_nothing(
    check_failure: Callable[..., None], args: list[str], problem: str, advice: str | None
) -> None:
    check_failure(["optimize", *args], problem, advice)


def test_wrong_usage_exits_with_2(run: Run, workspace: Path) -> None:
    for args in (
        ["model", "fast"],
        ["model", "fast", "--calibrate", "texts.jsonl", "--precision", "int4"],
        ["model", "fast", "--calibrate", "texts.jsonl", "--max-loss", "-1"],
    ):
        result = run("optimize", *args)
        assert result.exit_code == 2
        assert result.stderr.startswith("✘ ")


def test_table_shows_each_metric_before_and_after() -> None:
    compared = Compared(
        Metrics(4000.0, 92_000_000, 0.962),
        Metrics(10_000.0, 23_000_000, 0.958),
        cosine=0.99616,
        metric="accuracy",
        loss=0.4,
    )
    tried = Tried(InferenceConfig("openvino", "int8", "cpu"), compared)
    failed = Tried(InferenceConfig("torch", "fp16", "cuda"), problem="not enough memory")
    assert table(Decided([failed, tried], tried)) == [
        ["", "words/s", "", "size", "accuracy", "cosine", ""],
        ["original", "4,000", "", "92 MB", "0.962", "", ""],
        ["int8 with openvino", "10,000", "2.50×", "23 MB", "0.958", "0.9962", "chosen"],
    ]
