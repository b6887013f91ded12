"""`--half`: weights stored in 16 bits, computations in float32 on the rounded weights."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import srsly
import torch
from safetensors.torch import load_file, save_file
from spacy.language import Language

from trfcli_pipeline.encoder.half_precision import halve_weights
from trfcli_pipeline.errors import EncoderError, PipelineError
from trfcli_pipeline.pipeline.loading import load_pipeline, require_encoder
from trfcli_pipeline.tasks import half as task
from trfcli_pipeline.tasks.offline_predictions import Prediction
from trfcli_pipeline.tasks.package import package

TEXTS = ["Apple shares rose on the news.", "Call 0800 now to win a FREE prize", ""]
WEIGHTS = Path("trf_tok2vec") / "model" / "model.safetensors"


@pytest.fixture
def model(make_nlp: Callable[..., Language], tmp_path: Path) -> Path:
    nlp = make_nlp()
    nlp.meta["name"] = "tiny"
    textcat: Any = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    textcat.initialize(None, nlp=nlp, labels=["HAM", "SPAM"])
    generator = np.random.default_rng(0)
    for node in textcat.model.walk():
        for name in node.param_names:
            shape = node.get_param(name).shape
            node.set_param(name, generator.normal(size=shape).astype("float32"))
    nlp.to_disk(tmp_path / "model")
    return tmp_path / "model"


def test_package_computes_in_float32_on_rounded_weights(model: Path, tmp_path: Path) -> None:
    (model / "texts.txt").write_text("\n".join(TEXTS[:2]))
    built = package(model, tmp_path / "out", formats=(), half=True, texts=str(model / "texts.txt"))
    data_dir = built.directory / "xx_tiny" / "xx_tiny-0.0.0"
    stored = load_file(data_dir / WEIGHTS)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert (data_dir / WEIGHTS).stat().st_size < 0.6 * (model / WEIGHTS).stat().st_size

    original, rounded, packaged = (
        load_pipeline(str(each), device="cpu") for each in (model, model, data_dir)
    )
    module = require_encoder(rounded).transformers_model
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    loaded = require_encoder(packaged).transformers_model
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    changes = []
    for text in TEXTS:
        before, expected, found = (nlp(text) for nlp in (original, rounded, packaged))
        assert found.cats == expected.cats
        assert np.array_equal(found.tensor, expected.tensor)
        changes += [abs(found.cats[label] - before.cats[label]) for label in before.cats]
    assert max(changes) > 0

    halved = built.halved
    assert halved is not None
    assert halved.texts == 2
    assert halved.score_change == pytest.approx(max(changes[:4]), rel=0.01)
    assert 0.999 < halved.cosine < 1
    weights = [(each / WEIGHTS).stat().st_size for each in (model, data_dir)]
    assert halved.before - halved.after == weights[0] - weights[1]
    # texts.txt isn't part of the pipeline.
    own = sum(each.stat().st_size for each in model.rglob("*") if each.is_file())
    assert halved.before == own - (model / "texts.txt").stat().st_size
    card = (data_dir / "README.md").read_text("utf-8")
    assert "The weights are stored in 16 bits (fp16)." in card


def test_packaged_half_can_be_packaged_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trfcli_pipeline.tasks.package.compare_halved", lambda *_: None)
    first = package(model, tmp_path / "a", formats=(), half=True).directory
    data_dir = first / "xx_tiny" / "xx_tiny-0.0.0"
    second = package(data_dir, tmp_path / "b", formats=()).directory
    again = second / "xx_tiny" / "xx_tiny-0.0.0"
    assert (again / WEIGHTS).read_bytes() == (data_dir / WEIGHTS).read_bytes()
    assert "stored_in" not in srsly.read_json(again / "meta.json").get("trf", {})


def test_tensors_beyond_the_range_stay_in_float32(tmp_path: Path) -> None:
    tensors = {
        "small": torch.tensor([1.0, 1e-9, -65504.0]),
        "large": torch.tensor([1.0, 1e6]),
        "infinite": torch.tensor([-torch.inf, 1.0]),
        "ids": torch.tensor([1, 2]),
        "bf16": torch.tensor([1.5], dtype=torch.bfloat16),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    halve_weights(tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    halved = {name for name, tensor in found.items() if tensor.dtype == torch.float16}
    assert halved == {"small", "infinite"}
    for name, tensor in tensors.items():
        expected = tensor.half() if name in halved else tensor
        assert torch.equal(found[name], expected)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_weights_in_another_format(model: Path, tmp_path: Path) -> None:
    tensors = load_file(model / WEIGHTS)
    (model / WEIGHTS).unlink()
    torch.save(tensors, (model / WEIGHTS).with_name("pytorch_model.bin"))
    with pytest.raises(EncoderError, match="has no weights in the safetensors format"):
        package(model, tmp_path / "out", formats=(), half=True)


def test_damaged_weights_are_those_of_the_pipeline(model: Path, tmp_path: Path) -> None:
    (model / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(PipelineError) as caught:
        package(model, tmp_path / "out", formats=(), half=True)
    assert caught.value.message.startswith(f"{model}: can't be loaded: ")
    assert f"trf info {model} --verify" in str(caught.value.hint)


def test_pipeline_without_encoder(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="has no trf_tok2vec"):
        package(model_dir, tmp_path, formats=(), half=True)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_optimized_pipeline(model: Path, tmp_path: Path, precision: str) -> None:
    path = model / "trf_tok2vec" / "model" / "inference.json"
    backend = "openvino" if precision == "int8" else "torch"
    saved = {**srsly.read_json(path), "backend": backend, "precision": precision}
    srsly.write_json(path, saved)
    with pytest.raises(PipelineError, match=rf"already optimized \({precision}, {backend}\)"):
        package(model, tmp_path / "out", formats=(), half=True)
    assert not (tmp_path / "out").exists()


def test_half_needs_no_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = {"before": [[3.0, 4.0], [0.0, 0.0]], "after": [[4.0, 3.0], [0.0, 0.0]]}

    def predict(python: str, model: str, texts: Sequence[str]) -> tuple[Path, list[Prediction]]:
        return Path(model), [Prediction({}, np.array(vectors[model], "float32"), {})]

    monkeypatch.setattr(task, "predict_offline", predict)
    halved = task.compare_halved(Path("before"), Path("after"), (9, 5), ["a b"])
    assert halved == (9, 5, 1, None, pytest.approx(0.96))
