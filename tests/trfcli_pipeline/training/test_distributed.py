import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.errors import DeviceError
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.distributed import DistributedContext, own_device
from trfcli_pipeline.training.events import Finished, Stepped
from trfcli_pipeline.training.train import train_textcat


@given(st.lists(st.integers(), min_size=1), st.integers(1, 8))
def test_parts_make_up_the_batch(batch: list[int], size: int) -> None:
    contexts = [DistributedContext(rank, size) for rank in range(size)]
    parts = [each.part(batch) for each in contexts]
    shares = [each.share([batch]) for each in contexts]
    assert sum(shares) == pytest.approx(1)
    weighted = [part for part, share in zip(parts, shares, strict=True) if share]
    assert sorted(item for part in weighted for item in part) == sorted(batch)
    # Every process needs a part, or the others would wait for it.
    assert all(parts)


def test_single_process_needs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    context = DistributedContext.join(torch.device("cpu"))
    assert context == DistributedContext(0, 1)
    gradient = torch.ones(3)
    context.sum_gradients([gradient], 1.0)
    assert gradient.tolist() == [1, 1, 1]
    assert context.sum(2.5, torch.device("cpu")) == 2.5
    assert context.gather("a") == ["a"]
    context.close()


def test_each_process_uses_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert own_device("auto") == "cuda:1"
    assert own_device("cpu") == "cpu"
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="more processes than this machine has cuda devices"):
        own_device("auto")
    monkeypatch.delenv("LOCAL_RANK")
    assert own_device("auto") == "auto"


def test_gradients_of_one_process_only_are_known_to_all(tmp_path: Path) -> None:
    # All messages are sent, over a group of one.
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        context = DistributedContext(0, 2)
        assert context.any([True, False]) == [True, False]
        assert context.any([]) == []
        gradients = [torch.ones(3), torch.ones(2, 2)]
        context.sum_gradients(gradients, 0.5)
        assert [each.tolist() for each in gradients] == [[0.5] * 3, [[0.5] * 2] * 2]
    finally:
        dist.destroy_process_group()


TRAIN = """
import json, sys
import torch
torch.set_num_threads(1)
torch.cpu.get_capabilities = dict  # float32, as in the tests themselves
from pathlib import Path
from trfcli_pipeline.training.events import Finished, Stepped
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.train import train_textcat

model, data, config, output, size, methods = sys.argv[1:]
arguments = TrainingArguments(
    config=Path(config),
    epochs=2,
    batch_size=int(size),
    seed=1,
    dev_split=0.2,
    eval_every=4,
    **json.loads(methods),
)
rows = []
for event in train_textcat(model, data, output=Path(output), arguments=arguments):
    if isinstance(event, Stepped):
        rows.append(event.loss)
    if isinstance(event, Finished):
        rows.append(event.score)
print(json.dumps(rows))
"""


def losses_and_score(
    model: str, data: str, config: str, output: str, size: int, methods: dict[str, Any]
) -> list[float]:
    """Train in this process, and return what TRAIN prints."""
    arguments = TrainingArguments(
        config=Path(config),
        epochs=2,
        batch_size=size,
        seed=1,
        dev_split=0.2,
        eval_every=4,
        **methods,
    )
    events = list(train_textcat(model, data, output=Path(output), arguments=arguments))
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    assert isinstance(events[-1], Finished)
    return [*losses, events[-1].score]


def run(arguments: list[str], *, size: int) -> list[list[float]]:
    """Train in several processes.

    Returns: The losses and the best score of each process.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            # As set by torchrun.
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(size)
    ]
    return [json.loads(process.communicate(timeout=200)[0]) for process in processes]


OVERRIDES = {"training.optimizer.use_averages": True, "training.optimizer.trf_layer_decay": 0.5}


@pytest.mark.parametrize("methods", [{}, {"lora": 2, "overrides": OVERRIDES}])
def test_two_processes_learn_the_same_as_one(
    tiny_bert: Path, tmp_path: Path, methods: dict[str, Any]
) -> None:
    init_model(str(tiny_bert), tmp_path / "model", lang="xx")
    words = {"A": ["apple pie", "delicious apple"], "B": ["this film", "a terrible film"]}
    rows = [
        {"text": f"{text} {number}", "label": label}
        for label, texts in words.items()
        for text in texts
        # An odd number, for a last batch with unequal parts.
        for number in range(9)
    ]
    srsly.write_jsonl(tmp_path / "train.jsonl", rows)
    config: Any = spacy.util.load_config(config_path("textcat.cfg"), interpolate=False)
    config["training"]["dropout"] = 0.0
    config["training"]["optimizer"].update(learn_rate=0.01, trf_lr=1e-3)
    config.to_disk(tmp_path / "a.cfg")
    common = [str(tmp_path / name) for name in ("model", "train.jsonl", "a.cfg")]
    one = losses_and_score(*common, str(tmp_path / "one"), 8, methods)
    two, also = run([*common, str(tmp_path / "two"), "4", json.dumps(methods)], size=2)
    assert two == also
    assert len(one) == 2 * 4 + 1
    assert two == pytest.approx(one, abs=1e-5)
    # Only one of them writes files.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.cfg", "model", "one", "train.jsonl", "two"),
    ]
    assert spacy.load(tmp_path / "two").get_pipe("trf_textcat").labels == ("A", "B")
