from typing import Any

import pytest
import torch

from trfcli_pipeline.encoder.precision import inference_products
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tasks import faster_encoders
from trfcli_pipeline.tasks.faster_encoders import choose_device, find_candidates

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose devices and packages can do all that there is."""
    monkeypatch.setattr(faster_encoders, "has_bf16_instructions", lambda device: True)
    monkeypatch.setattr(faster_encoders, "has_openvino_bf16", lambda: True)
    monkeypatch.setattr(faster_encoders, "installed_version", lambda name: "1.0")


def names(device: torch.device, precision: Any = "auto", backend: Any = None) -> list[str]:
    found = find_candidates(device, precision, backend)
    assert {each.device for each in found} == {device.type}
    return [str(each) for each in found]


@pytest.mark.usefixtures("everything")
def test_auto_is_all_that_the_device_is_fast_with() -> None:
    assert names(CPU) == [
        "int8 with openvino",
        "bf16 with openvino",
        "fp32 with openvino",
        "bf16 with torch",
    ]
    assert names(CPU, backend="torch") == ["bf16 with torch"]
    assert names(CUDA) == ["bf16 with torch", "fp16 with torch", "tf32 with torch"]
    assert names(torch.device("mps")) == ["bf16 with torch", "fp16 with torch"]


@pytest.mark.usefixtures("everything")
def test_auto_leaves_out_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster_encoders, "has_openvino_bf16", lambda: False)
    assert names(CPU) == ["int8 with openvino", "fp32 with openvino", "bf16 with torch"]
    monkeypatch.setattr(faster_encoders, "has_bf16_instructions", lambda device: False)
    assert names(CPU) == ["int8 with openvino", "fp32 with openvino"]
    assert names(CUDA) == ["fp16 with torch", "tf32 with torch"]
    monkeypatch.setattr(faster_encoders, "installed_version", lambda name: None)
    with pytest.raises(PipelineError, match="computes fastest in fp32, except with OpenVINO"):
        names(CPU)


def test_named_precisions_have_a_backend() -> None:
    assert names(CPU, "bf16") == ["bf16 with openvino"]
    assert names(CPU, "bf16", "torch") == ["bf16 with torch"]
    assert names(CUDA, "bf16") == ["bf16 with torch"]
    assert names(CUDA, "tf32") == ["tf32 with torch"]
    with pytest.raises(PipelineError, match="fp16 is only for GPUs"):
        names(CPU, "fp16")


def test_int8_and_openvino_need_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    assert choose_device("auto", "int8", None) == CPU
    assert choose_device("auto", "bf16", "openvino") == CPU
    assert choose_device("auto", "bf16", None).type == "cuda"
    with pytest.raises(PipelineError, match="int8 runs only on a CPU, not on cuda"):
        choose_device("cuda", "int8", None)


def test_tf32_is_for_products_of_its_own_encoder_on_cuda() -> None:
    before = torch.get_float32_matmul_precision()
    with inference_products("tf32", CUDA):
        assert torch.get_float32_matmul_precision() == "high"
    with inference_products("tf32", CPU), inference_products("fp32", CUDA):
        assert torch.get_float32_matmul_precision() == before
