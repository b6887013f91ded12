"""Captured updates. Without a GPU, replaying runs the passes again, into the same memory."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thinc.api import set_dropout_rate
from wrapped import (
    assert_gradients_close,
    gradients_of,
    make_gradients,
    make_input,
    plain_gradients,
    plain_model,
    update,
)

from trfcli_pipeline.encoder import captured_updates, recurring_shapes
from trfcli_pipeline.encoder.captured_updates import Capture, cuda_recorder
from trfcli_pipeline.encoder.memory_budget import graph_bytes
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.recurring_shapes import recurring_shape
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

# Each shape comes several times, in rows and lengths that are padded to the same shape.
BATCHES = [[7, 3], [6, 4, 1], [20, 9, 3], [7, 3], [8], [5, 5, 5], [19, 2], [17, 4, 4], [7, 3], [24]]
# What `update` gives gradients of.
BOTH = ["last_hidden_state", "pooler_output"]
HAS_CUDA = torch.cuda.is_available() and torch.version.cuda is not None


def simulate(forward: Callable[[], Any], backward: Callable[[Any], None]) -> Capture:
    """Record as on a GPU, but replay by running the passes."""
    backward(forward())
    latest = output = forward()

    def replay_forward() -> None:
        nonlocal latest
        latest = forward()
        with torch.no_grad():
            for name, each in latest.items():
                output[name].copy_(each)

    return Capture(output, replay_forward, lambda: backward(latest))


class Recorder:
    """Counts what is captured and replayed, and lets it fail."""

    def __init__(self) -> None:
        self.n_captured = self.n_replayed = 0
        self.error: RuntimeError | None = None
        self.backward_error: RuntimeError | None = None

    def of_device(self, device: torch.device) -> captured_updates.Recorder:
        record = cuda_recorder(device) if HAS_CUDA else simulate

        def counted(forward: Callable[[], Any], backward: Callable[[Any], None]) -> Capture:
            if self.error:
                raise self.error
            self.n_captured += 1
            capture = record(forward, backward)

            def replay_forward() -> None:
                self.n_replayed += 1
                capture.replay_forward()

            def replay_backward() -> None:
                error, self.backward_error = self.backward_error, None
                if error:
                    raise error
                capture.replay_backward()

            return Capture(capture.output, replay_forward, replay_backward)

        return counted


def load(path: Path, **settings: Any) -> TransformersWrapper:
    wrapper = TransformersWrapper(device="cuda" if HAS_CUDA else "cpu", **settings)
    wrapper.from_disk(path)
    return wrapper


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Lets encoders capture their updates on any device."""
    recorder = Recorder()
    monkeypatch.setattr(captured_updates, "cuda_recorder", recorder.of_device)
    monkeypatch.setattr(recurring_shapes, "can_capture", lambda device: True)
    # As on a GPU, where all gradients are dense.
    monkeypatch.setattr(
        "trfcli_pipeline.encoder.shim.sparse_embeddings", lambda parts: nullcontext()
    )
    return recorder


@pytest.fixture
def plain(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> TransformersWrapper:
    """An encoder whose updates aren't captured."""
    wrapper = load(tiny_bert)
    monkeypatch.setattr(wrapper.shim.captured_updates, "find", lambda *update: None)
    return wrapper


@pytest.fixture
def capturing(tiny_bert: Path, recorder: Recorder) -> TransformersWrapper:
    return load(tiny_bert)


def train(
    wrapper: TransformersWrapper, batches: list[list[int]] = BATCHES, *, n_batches: int = 1
) -> list[Any]:
    """Take a step after every `n_batches`. Returns the last hidden states, before each step."""
    torch.manual_seed(0)
    optimizer, outputs = TransformersOptimizer(trf_lr=1e-3), []
    for index, lengths in enumerate(batches, start=1):
        outputs.append(update(wrapper, make_input(lengths)).last_hidden_state)
        if index % n_batches == 0:
            wrapper.finish_update(optimizer)
    return outputs


def assert_equal_training(
    one: TransformersWrapper, other: TransformersWrapper, **options: Any
) -> None:
    # Not the weights: the gradients of the keys' biases are noise, which AdamW amplifies.
    pairs = zip(train(one, **options), train(other, **options), strict=True)
    X = make_input()
    for mine, theirs in [*pairs, [each.predict(X).last_hidden_state for each in (one, other)]]:
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("n_batches", [1, 2, 3])
def test_captured_updates_train_like_others(
    plain: TransformersWrapper,
    capturing: TransformersWrapper,
    recorder: Recorder,
    n_batches: int,
) -> None:
    batches = 5 * BATCHES
    assert_equal_training(capturing, plain, batches=batches, n_batches=n_batches)
    # Lengths are padded to 8, 20 and 24. Of every two batches, the first have only two of them.
    assert recorder.n_captured == (2 if n_batches == 2 else 3)
    # Gradients of the batches before can't be kept.
    n_first = len(batches) // n_batches
    assert n_first // 2 < recorder.n_replayed <= n_first


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_captured_updates_drop_the_same_units(
    tiny_bert: Path, recorder: Recorder, precision: str
) -> None:
    wrapper = load(tiny_bert, precision=precision)
    set_dropout_rate(wrapper, 0.3)
    expected = train(wrapper, 5 * [[7, 3]])
    assert recorder.n_captured == 1
    copied = load(tiny_bert, precision=precision)
    set_dropout_rate(copied, 0.3)
    recorder.error = RuntimeError("operation not permitted when stream is capturing")
    for mine, theirs in zip(train(copied, 5 * [[7, 3]]), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_encoder_that_cannot_be_captured_trains_all_the_same(
    plain: TransformersWrapper, capturing: TransformersWrapper, recorder: Recorder
) -> None:
    recorder.error = RuntimeError("operation not permitted when stream is capturing")
    assert_equal_training(capturing, plain)
    assert not recorder.n_captured
    # Shapes are padded all the same: a training that is resumed doesn't know of the failure.
    assert recurring_shape(capturing.shim, 3, 3) == (8, 4)


def test_only_the_last_update_is_continued_with_its_activations(
    plain: TransformersWrapper, capturing: TransformersWrapper, recorder: Recorder
) -> None:
    for wrapper in (plain, capturing):
        train(wrapper, 3 * [[7, 3]])
    assert recorder.n_replayed == 1
    for wrapper in (plain, capturing):
        # Both of one shape, and both begin before the first one ends.
        begun = [wrapper.begin_update(make_input(lengths)) for lengths in ([7, 3], [5])]
        for Y, backprop in begun:
            backprop(make_gradients(Y, BOTH))
    assert recorder.n_replayed == 3
    assert_gradients_close(gradients_of(capturing.shim.module), gradients_of(plain.shim.module))


def test_other_updates_use_the_same_memory_for_gradients(
    plain: TransformersWrapper, capturing: TransformersWrapper, recorder: Recorder
) -> None:
    for wrapper in (plain, capturing):
        train(wrapper, 3 * [[7, 3]])
    memory = capturing.shim.captured_updates.gradients(tuple(BOTH))
    assert memory is not None
    for wrapper in (plain, capturing):
        wrapper.shim.module.zero_grad()
        # Two updates of shapes that are new, without a step in between.
        for lengths in ([20], [40, 2]):
            update(wrapper, make_input(lengths))
    weights = capturing.shim.gradients.weights
    pairs = [(each.grad, own) for each, own in zip(weights, memory, strict=True) if own is not None]
    assert all(gradient is own for gradient, own in pairs)
    assert_gradients_close(gradients_of(capturing.shim.module), gradients_of(plain.shim.module))
    assert recorder.n_captured == recorder.n_replayed == 1


def test_other_outputs_with_gradients_are_another_update(
    tiny_bert: Path, capturing: TransformersWrapper, recorder: Recorder
) -> None:
    X = make_input([7, 3])
    for kinds in [*4 * [BOTH[:1]], *4 * [BOTH], *4 * [BOTH[:1]]]:
        capturing.shim.module.zero_grad()
        Y, backprop = capturing.begin_update(X)
        d_Y = make_gradients(Y, kinds)
        backprop(d_Y)
        expected = plain_gradients(plain_model(tiny_bert), X, d_Y)
        found = {name: each.cpu() for name, each in gradients_of(capturing.shim.module).items()}
        assert_gradients_close(found, expected)
    assert recorder.n_captured == 2


def test_weights_that_move_are_found(
    plain: TransformersWrapper, capturing: TransformersWrapper, recorder: Recorder
) -> None:
    train(capturing, 4 * [[7, 3]])
    train(plain, 4 * [[7, 3]])
    for wrapper in (plain, capturing):
        for weight in wrapper.shim.module.parameters():
            weight.data = weight.data.clone()
    assert_equal_training(capturing, plain, batches=4 * [[7, 3]])
    assert recorder.n_captured == 2


@pytest.mark.parametrize("settings", [{"all_hidden_states": True}, {"all_attentions": True}])
def test_further_outputs_are_not_captured(
    tiny_bert: Path, recorder: Recorder, settings: dict[str, bool]
) -> None:
    train(load(tiny_bert, **settings))
    assert not recorder.n_captured


def test_sub_batches_of_one_update_are_not_captured(tiny_bert: Path, recorder: Recorder) -> None:
    train(load(tiny_bert, words_per_batch=8))
    assert not recorder.n_captured


def test_a_copy_captures_its_own_updates(
    capturing: TransformersWrapper, plain: TransformersWrapper, recorder: Recorder
) -> None:
    train(capturing, 4 * [[7, 3]])
    train(plain, 4 * [[7, 3]])
    # Sharing memory, they would overwrite each other's activations.
    copied = capturing.copy()
    assert copied.shim.captured_updates is not capturing.shim.captured_updates
    expected = {name: each.clone() for name, each in capturing.shim.module.named_parameters()}
    assert_equal_training(copied, plain, batches=4 * [[7, 3]])
    assert recorder.n_captured == 2
    for name, weight in capturing.shim.module.named_parameters():
        assert torch.equal(weight, expected[name])


def test_captured_updates_are_released_when_memory_runs_out(
    plain: TransformersWrapper, capturing: TransformersWrapper, recorder: Recorder
) -> None:
    for wrapper in (plain, capturing):
        train(wrapper, 3 * [[7, 3]])
    assert recorder.n_replayed == 1
    Y, backprop = capturing.begin_update(make_input([7, 3]))
    assert recorder.n_replayed == 2
    # The backward pass fails once, and is then recomputed from the inputs.
    recorder.backward_error = torch.OutOfMemoryError("CUDA out of memory.")
    backprop(make_gradients(Y, BOTH))
    assert recorder.backward_error is None
    assert capturing.shim.updating.max_size == float("inf")
    Y, backprop = plain.begin_update(make_input([7, 3]))
    backprop(make_gradients(Y, BOTH))
    assert_gradients_close(gradients_of(capturing.shim.module), gradients_of(plain.shim.module))
    # Shapes that recur are captured again.
    capturing.shim.module.zero_grad()
    train(capturing, 3 * [[7, 3]])
    assert recorder.n_captured == 2


def test_capturing_is_tried_again_after_memory_ran_out(
    plain: TransformersWrapper, capturing: TransformersWrapper, recorder: Recorder
) -> None:
    recorder.error = torch.OutOfMemoryError("CUDA out of memory.")
    for wrapper in (capturing, plain):
        train(wrapper, 3 * [[7, 3]])
    recorder.error = None
    assert_equal_training(capturing, plain, batches=3 * [[7, 3]])
    assert recorder.n_captured == 1


@pytest.mark.parametrize("changed", ["dropout", "precision"])
def test_other_settings_are_another_update(
    capturing: TransformersWrapper, recorder: Recorder, changed: str
) -> None:
    train(capturing, 3 * [[7, 3]])
    assert recorder.n_captured == 1
    if changed == "dropout":
        set_dropout_rate(capturing, 0.3)
    else:
        capturing.shim._precision = "bf16"
    train(capturing, 2 * [[7, 3]])
    assert recorder.n_replayed == 1
    train(capturing, [[7, 3]])
    assert (recorder.n_captured, recorder.n_replayed) == (2, 2)


def test_updates_compute_gradients_whatever_the_mode_of_autograd(
    capturing: TransformersWrapper, recorder: Recorder
) -> None:
    with torch.no_grad():
        train(capturing, 2 * [[7, 3]])
        capturing.begin_update(make_input([7, 3]))
    assert recorder.n_captured == 1


def test_no_more_than_some_shapes_are_captured(
    capturing: TransformersWrapper, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_updates, "_MAX_GRAPHS", 1)
    train(capturing, 4 * [[7], [20]])
    assert recorder.n_captured == 1


def test_training_that_is_prepared_anew_captures_anew(
    capturing: TransformersWrapper, recorder: Recorder
) -> None:
    train(capturing, 3 * [[7, 3]])
    capturing.shim.prepare_training(freeze_layers=1)
    train(capturing, 2 * [[7, 3]])
    assert recorder.n_replayed == 1


def test_updates_that_take_much_of_the_memory_are_not_captured(
    capturing: TransformersWrapper, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = graph_bytes(capturing.shim, (16, 8))
    monkeypatch.setattr(capturing.shim.updating, "free_bytes", lambda: 8 * needed)
    train(capturing, 4 * [16 * [8]])
    assert not recorder.n_captured
    train(capturing, 4 * [4 * [8]])
    assert recorder.n_captured == 1
