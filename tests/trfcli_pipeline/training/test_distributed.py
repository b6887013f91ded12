from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from thinc.api import Linear
from torchrun import run_in_processes
from trainings import QUICK, constant_rates, rows, write

from trfcli_pipeline.errors import DeviceError, PipelineError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.distributed import DistributedContext, SharedWeights, own_device
from trfcli_pipeline.training.events import Checkpointed, Evaluated, Finished, Stepped
from trfcli_pipeline.training.train import train_textcat


@given(st.lists(st.integers(), min_size=1), st.integers(1, 8))
def test_parts_make_up_the_items(items: list[int], size: int) -> None:
    parts = [DistributedContext(rank, size).part(items) for rank in range(size)]

    class Context(DistributedContext):
        def gather(self, value: Any) -> list[Any]:
            return parts

    assert Context(0, size).collect(parts[0]) == items


def test_single_process_needs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    context = DistributedContext.join(torch.device("cpu"))
    assert context == DistributedContext(0, 1)
    tensor = torch.ones(3)
    context.sum_tensors([tensor])
    context.broadcast([tensor])
    assert tensor.tolist() == [1, 1, 1]
    assert context.sum(2.5) == 2.5
    assert context.collect(["a"]) == ["a"]
    context.close()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two processes, on a machine that seems to have two GPUs."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda")
    )
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
def test_each_process_uses_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("auto") == own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match="cuda:0: 2 processes can't train on one device"):
        own_device("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert own_device("cuda:0") == "cuda:0"
    monkeypatch.delenv("LOCAL_RANK")
    assert own_device("auto") == "auto"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("rank", ["0", "1"])
def test_more_processes_than_gpus_is_an_error_in_each(
    monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match=r"2 processes .* has only 1 cuda device") as caught:
        own_device("auto")
    assert caught.value.hint == "Use --nproc-per-node 1, or --device cpu"


def test_device_is_set_before_the_processes_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.accelerator, "set_device_index", calls.append)
    monkeypatch.setattr(dist, "init_process_group", lambda *args, **kwargs: calls.append(kwargs))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    context = DistributedContext.join(torch.device("cuda:1"))
    assert calls == [1, {"device_id": torch.device("cuda:1")}]
    assert context == DistributedContext(1, 2, "cuda:1")


def exchange() -> list[Any]:
    """Sum gradients that only one of two processes has, after starting with other weights."""
    context = DistributedContext.join(torch.device("cpu"))
    weights = [torch.nn.Parameter(torch.full((2,), float(context.rank))) for _ in range(3)]
    head = Linear(2, 3).initialize()
    head.set_param("b", head.ops.asarray1f([context.rank] * 2))
    if context.is_first:
        weights[0].grad = torch.ones(2)
        head.inc_grad("b", head.ops.asarray1f([5, 6]))
    shared = SharedWeights(context, weights, head)
    shared.broadcast()
    shared.sum_gradients()
    context.close()
    return [
        [each.tolist() for each in weights],
        head.get_param("b").tolist(),
        [None if each.grad is None else each.grad.tolist() for each in weights],
        head.has_grad("W"),
        head.get_grad("b").tolist(),
    ]


def test_gradients_of_one_process_only_are_known_to_all() -> None:
    expected = [[[0, 0]] * 3, [0, 0], [[1, 1], None, None], False, [5, 6]]
    assert run_in_processes(2, exchange) == [expected] * 2


def learn(model: Path, data: str, output: Path, arguments: TrainingArguments) -> list[float]:
    """Train. Returns: All losses, all scores, and the final score."""
    values = []
    for event in train_textcat(str(model), data, dev=data, output=output, arguments=arguments):
        match event:
            case Stepped():
                values.append(event.loss)
            case Evaluated() | Finished():
                values.append(event.score)
    return values


AVERAGED = {"training.optimizer.use_averages": True, "training.optimizer.trf_layer_decay": 0.5}
ACCUMULATED = {"training.accumulate_gradient": 2}
TWO = [{"text": "apple pie", "label": "FRUIT"}, {"text": "a terrible film", "label": "FILM"}]
# Of a sorted batch of four, one process has both empty texts.
EMPTY = [
    {"text": text, "label": label}
    for text, label in [
        *[("", "FRUIT"), ("a dog", "FILM"), ("", "FILM"), ("apple", "FRUIT")],
        *[("this film is a bore", "FILM"), ("", "FRUIT"), ("dog", "FRUIT")],
    ]
]
# Some texts have one known label, others two.
PARTIAL = [
    {"text": f"{row['text']} {number}", "cats": cats}
    for number, row in enumerate(rows("FRUIT")[:11])
    for cats in [[{"A": 1, "B": 1}, {"A": 1}, {"B": 0}][number % 3]]
]


@pytest.mark.parametrize(
    ("size", "data", "batch_size", "methods"),
    [
        # An odd number of texts, for a last batch with unequal parts.
        (2, rows("FRUIT", "FILM")[:27], 4, {}),
        (2, rows("FRUIT", "FILM")[:27], 4, {"lora": 2, "overrides": AVERAGED}),
        (3, TWO, 1, {"freeze_encoder": True}),
        (3, TWO, 1, {}),
        (2, EMPTY, 2, {}),
        (2, PARTIAL, 2, {"overrides": ACCUMULATED}),
    ],
    ids=["uneven", "lora", "frozen", "more processes than texts", "empty", "partial"],
)
def test_processes_learn_the_same_as_one(
    model: Path,
    tmp_path: Path,
    size: int,
    data: Sequence[dict[str, Any]],
    batch_size: int,
    methods: dict[str, Any],
) -> None:
    base = "textcat_multilabel.cfg" if data is PARTIAL else "textcat.cfg"
    config = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3, dropout=0.0, base=base)
    methods = {"config": config, "learn_rate": None, "batch_size": batch_size, **methods}
    # Processes can't share a GPU.
    arguments = replace(QUICK, device="cpu", **methods)
    train = write(tmp_path / "train.jsonl", data)
    in_one = replace(arguments, batch_size=batch_size * size)
    expected = learn(model, train, tmp_path / "one", in_one)
    first, *others = run_in_processes(size, learn, model, train, tmp_path / "all", arguments)
    # Only the first process reports evaluations.
    assert [each[-1] for each in others] == [first[-1]] * len(others)
    assert first == pytest.approx(expected, abs=1e-5)
    # Only one of them writes files.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.cfg", "all", "models", "one", "train.jsonl"),
    ]
    assert spacy.load(tmp_path / "all").get_pipe("trf_textcat").labels


CHECKPOINTED = replace(QUICK, device="cpu", checkpoint_every=1)


def stop_after_checkpoint(model: Path, data: str) -> None:
    events = train_textcat(str(model), data, arguments=CHECKPOINTED)
    for event in events:
        if isinstance(event, Checkpointed):
            events.close()


def test_training_isnt_resumed_with_another_number_of_processes(model: Path, data: str) -> None:
    run_in_processes(2, stop_after_checkpoint, model, data)
    with pytest.raises(PipelineError, match=r"can't be resumed: .*processes 2 -> 1"):
        list(train_textcat(str(model), data, arguments=CHECKPOINTED, resume=True))
