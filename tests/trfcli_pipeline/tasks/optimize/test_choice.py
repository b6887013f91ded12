"""Which of several ways to run an encoder is chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from optimizing import TEXTS, equal, run
from spacy.language import Language

from trfcli_pipeline.encoder.backends import InferenceConfig
from trfcli_pipeline.encoder.devices import DeviceWarning
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.loading import load_pipeline
from trfcli_pipeline.tasks import optimize as optimizing
from trfcli_pipeline.tasks.before_after import Compared, Metrics
from trfcli_pipeline.tasks.optimize import optimize


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the comparisons return the given speeds and losses, one after the other."""

    def set_results(*results: tuple[float, float]) -> None:
        remaining = iter(results)

        def compare(*args: Any) -> Compared:
            speed, loss = next(remaining)
            metrics = Metrics(1000.0, 1, 0.9), Metrics(speed, 1, 0.9)
            return Compared(*metrics, cosine=1.0, metric="accuracy", loss=loss)

        monkeypatch.setattr(optimizing, "compare_pipelines", compare)

    return set_results


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> list[InferenceConfig]:
    """Ways to run an encoder that take no time to make."""
    found = [InferenceConfig("torch", each, "cpu") for each in ("fp32", "bf16", "tf32")]
    monkeypatch.setattr(optimizing, "find_candidates", lambda *args: found)
    return found


def test_the_fastest_within_the_loss_is_saved(
    workspace: Path,
    tmp_path: Path,
    measure: Callable[..., None],
    candidates: list[InferenceConfig],
) -> None:
    measure((1500.0, 0.0), (1800.0, 0.4), (4000.0, 0.6))
    events = run(workspace, precision="auto", device="cpu", output=tmp_path / "out")
    assert events[0].candidates == candidates
    assert events[-2].chosen.inference == candidates[1]
    nlp = load_pipeline(str(tmp_path / "out"), device="cpu")
    assert nlp.meta["trf"]["inference"]["precision"] == "bf16"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("candidates")
@pytest.mark.parametrize(
    ("results", "problem"),
    [
        ([(900.0, 0.0), (999.0, 0.0), (4000.0, 0.6)], "is faster than the original"),
        (
            [(2000.0, 0.7), (2000.0, float("nan")), (2000.0, 0.6)],
            "fp32 lowers accuracy by 0.70, bf16 lowers accuracy by nan, .* more than the 0.5",
        ),
    ],
)
def test_without_a_gain_nothing_is_saved(
    workspace: Path,
    tmp_path: Path,
    measure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    results: list[tuple[float, float]],
    problem: str,
) -> None:
    measure(*results)
    nlp = load_pipeline(str(workspace / "model"))
    monkeypatch.setattr(optimizing, "load_pipeline", lambda *args, **kwargs: nlp)
    monkeypatch.setattr(optimizing, "_save", lambda *args: None)
    with pytest.raises(PipelineError, match=problem):
        run(workspace, precision="auto", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cant_run_is_passed_over(
    make_nlp: Callable[..., Language],
    workspace: Path,
    tmp_path: Path,
    measure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_nlp(all_attentions=True).to_disk(tmp_path / "attentive")
    found = [InferenceConfig("openvino", "int8", "cpu"), InferenceConfig("torch", "bf16", "cpu")]
    monkeypatch.setattr(optimizing, "find_candidates", lambda *args: found)
    measure((2000.0, 0.0))
    attentive, texts = str(tmp_path / "attentive"), str(workspace / "texts.jsonl")
    _, int8, bf16, decided, _ = optimize(attentive, tmp_path / "out", texts, device="cpu")
    assert int8.problem.startswith("OpenVINO can't return attentions")
    assert decided.chosen == bf16


def test_pipeline_for_a_gpu_runs_on_a_cpu_with_a_warning(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = [InferenceConfig("torch", "fp16", "cuda")]
    monkeypatch.setattr(optimizing, "find_candidates", lambda *args: on_gpu)
    with pytest.warns(DeviceWarning, match=r"optimized for cuda \(fp16\); on cpu it may be slower"):
        run(workspace, precision="fp16", device="cpu", output=tmp_path / "out")
    with pytest.warns(DeviceWarning):
        nlp = load_pipeline(str(tmp_path / "out"), device="cpu")
    encoder = nlp.get_pipe("trf_tok2vec")
    assert encoder.model.shim.inference == on_gpu[0]
    assert encoder.transformers_model.dtype == torch.float32
    original = load_pipeline(str(workspace / "model"), device="cpu")
    assert equal(nlp.pipe(TEXTS), original.pipe(TEXTS))
