import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thinc.api import Adam, set_dropout_rate
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
    XLNetConfig,
    XLNetModel,
)

from trfcli_pipeline.activations import Activations
from trfcli_pipeline.adamw import parameter_groups
from trfcli_pipeline.errors import DeviceError, PipelineError
from trfcli_pipeline.optimizers import make_optimizer
from trfcli_pipeline.padding import WordPieces
from trfcli_pipeline.wrapper import TransformersWrapper

WIDTH, LAYERS, HEADS = 16, 2, 4
# Out of order, some alike, one as long as the encoders take, two empty.
LENGTHS = [7, 1, 12, 7, 0, 30, 3, 12, 64, 0, 2]
SIZES = [0, 7, 50, 2000]
KINDS = ["last_hidden_state", "pooler_output", "all_hidden_states", "all_attentions"]
ALL = {"all_hidden_states": True, "all_attentions": True}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small cost threads more time in waiting for each other than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["tiny_bert", "tiny_gpt2"])
def encoder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def no_room_for_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TransformersWrapper, "graph_budget", no_budget)


def no_budget(wrapper: TransformersWrapper) -> int:
    return 0


def load(path: Path, **settings: Any) -> TransformersWrapper:
    wrapper = TransformersWrapper(device="cpu", **settings)
    wrapper.load(path)
    return wrapper


def load_plain(path: Path, *, attentions: bool = False) -> PreTrainedModel:
    implementation = "eager" if attentions else None
    return AutoModel.from_pretrained(path, attn_implementation=implementation).eval()


@cache
def plain_model(path: Path, *, attentions: bool = False) -> PreTrainedModel:
    """The same for all tests: none of these may change its weights."""
    return load_plain(path, attentions=attentions)


def make_input(lengths: list[int] = LENGTHS, *, type_ids: bool = False) -> WordPieces:
    rng = np.random.default_rng(0)
    n = sum(lengths)
    return WordPieces(
        ids=rng.integers(0, 100, n),
        lengths=np.array(lengths, dtype=np.int32),
        type_ids=rng.integers(0, 2, n) if type_ids else None,
    )


def run_plain(module: PreTrainedModel, X: WordPieces, **options: Any) -> list[Any]:
    """What transformers gives for each segment alone; None for an empty one."""
    outputs, start = [], 0
    for length in X.lengths.tolist():
        piece = slice(start, start + length)
        start = piece.stop
        inputs = {"input_ids": torch.from_numpy(X.ids[None, piece])}
        if X.type_ids is not None:
            inputs["token_type_ids"] = torch.from_numpy(X.type_ids[None, piece])
        outputs.append(module(**inputs, **options) if length else None)
    return outputs


def make_gradients(Y: Activations, kinds: list[str], *, scale: float = 1.0) -> Activations:
    """Random gradients of some kinds of output, None for the others; zeros for the first kind."""
    rng = np.random.default_rng(1)

    def random(array: np.ndarray) -> np.ndarray:
        return (scale * rng.normal(size=array.shape)).astype("f")

    values: dict[str, Any] = dict.fromkeys(KINDS)
    values["last_hidden_state"] = np.zeros_like(Y.last_hidden_state)
    for kind in kinds:
        value = getattr(Y, kind)
        values[kind] = list(map(random, value)) if isinstance(value, list) else random(value)
    return Activations(**values, lengths=Y.lengths, is_grad=True)


def plain_gradients(
    module: PreTrainedModel, X: WordPieces, d_Y: Activations
) -> dict[str, torch.Tensor]:
    """What autograd gives if the segments go through the plain model one by one."""
    options = {
        "output_hidden_states": d_Y.all_hidden_states is not None,
        "output_attentions": d_Y.all_attentions is not None,
    }
    module.zero_grad()
    start = 0
    for segment, output in enumerate(run_plain(module, X, **options)):
        piece = slice(start, start + int(X.lengths[segment]))
        start = piece.stop
        if output is None:
            continue
        pairs = [(output.last_hidden_state[0], d_Y.last_hidden_state[piece])]
        if d_Y.pooler_output is not None:
            pairs.append((output.pooler_output[0], d_Y.pooler_output[segment]))
        if d_Y.all_hidden_states is not None:
            for layer, gradient in zip(output.hidden_states, d_Y.all_hidden_states, strict=True):
                pairs.append((layer[0], gradient[piece]))
        if d_Y.all_attentions is not None:
            for layer, gradient in zip(output.attentions, d_Y.all_attentions[segment], strict=True):
                pairs.append((layer[0], gradient))
        sum((Y * torch.from_numpy(dY)).sum() for Y, dY in pairs).backward()
    return gradients_of(module)


def gradients_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.zeros_like(each) if each.grad is None else each.grad.clone()
        for name, each in module.named_parameters()
    }


def assert_gradients_close(
    actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float = 1e-5
) -> None:
    # Relative to all of them together: where a gradient is 0 by its nature, as that of the keys'
    # bias, there is only noise.
    norm = torch.cat([each.flatten() for each in expected.values()]).norm().item()
    assert norm > 0
    assert actual.keys() == expected.keys()
    for name, each in expected.items():
        assert (actual[name] - each).norm().item() <= tolerance * norm, name


def update(wrapper: TransformersWrapper, X: WordPieces, *, scale: float = 1.0) -> Activations:
    Y, backprop = wrapper.begin_update(X)
    kinds = ["last_hidden_state"] + (["pooler_output"] if Y.pooler_output is not None else [])
    backprop(make_gradients(Y, kinds, scale=scale))
    return Y


def parameters_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in module.named_parameters()}


def assert_bit_equal(one: Activations, other: Activations) -> None:
    for kind in KINDS:
        left, right = getattr(one, kind), getattr(other, kind)
        assert (left is None) == (right is None)
        for a, b in zip([] if left is None else left, [] if right is None else right, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


# Prediction


@pytest.mark.parametrize("words_per_batch", SIZES)
def test_outputs_equal_those_of_the_plain_model(encoder: Path, words_per_batch: int) -> None:
    X = make_input()
    Y = load(encoder, words_per_batch=words_per_batch).predict(X)
    assert Y.last_hidden_state.dtype == np.float32
    assert Y.last_hidden_state.shape == (sum(LENGTHS), WIDTH)
    assert Y.lengths.tolist() == LENGTHS
    assert Y.all_hidden_states is Y.all_attentions is None
    assert not Y.is_grad
    expected = run_plain(plain_model(encoder), X)
    rows = np.concatenate([each.last_hidden_state[0].detach() for each in expected if each])
    np.testing.assert_allclose(Y.last_hidden_state, rows, rtol=0, atol=1e-5)
    assert (Y.pooler_output is None) == (encoder.name == "tiny-gpt2")
    if Y.pooler_output is not None:
        assert Y.pooler_output.dtype == np.float32
        zeros = torch.zeros(1, WIDTH)
        rows = torch.cat([zeros if each is None else each.pooler_output for each in expected])
        np.testing.assert_allclose(Y.pooler_output, rows.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny_bert_without_pooler", "tiny_gpt2"])
def test_without_trained_pooler_there_is_no_pooler_output(
    request: pytest.FixtureRequest, name: str
) -> None:
    wrapper = load(request.getfixturevalue(name))
    assert wrapper.predict(make_input()).pooler_output is None
    assert wrapper.begin_update(make_input())[0].pooler_output is None


@pytest.mark.parametrize("words_per_batch", SIZES)
def test_hidden_states_and_attentions_equal_those_of_the_plain_model(
    encoder: Path, words_per_batch: int
) -> None:
    X = make_input()
    Y = load(encoder, words_per_batch=words_per_batch, **ALL).predict(X)
    expected = run_plain(
        plain_model(encoder, attentions=True),
        X,
        output_hidden_states=True,
        output_attentions=True,
    )
    assert len(Y.all_hidden_states) == LAYERS + 1
    for index, layer in enumerate(Y.all_hidden_states):
        rows = np.concatenate([each.hidden_states[index][0].detach() for each in expected if each])
        assert layer.dtype == np.float32
        np.testing.assert_allclose(layer, rows, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(Y.all_hidden_states[-1], Y.last_hidden_state)
    assert len(Y.all_attentions) == len(LENGTHS)
    for length, attentions, output in zip(LENGTHS, Y.all_attentions, expected, strict=True):
        assert attentions.dtype == np.float32
        assert attentions.shape == (LAYERS, HEADS, length, length)
        if output is not None:
            layers = torch.cat(output.attentions).detach()
            np.testing.assert_allclose(attentions, layers, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["all_hidden_states", "all_attentions"])
def test_only_what_was_asked_for_is_returned(tiny_bert: Path, kind: str) -> None:
    Y = load(tiny_bert, **{kind: True}).predict(make_input())
    assert getattr(Y, kind) is not None
    (other,) = ALL.keys() - {kind}
    assert getattr(Y, other) is None


@pytest.mark.parametrize("words_per_batch", [0, 50])
def test_type_ids_reach_a_model_that_has_them(tiny_bert: Path, words_per_batch: int) -> None:
    X = make_input(type_ids=True)
    wrapper = load(tiny_bert, words_per_batch=words_per_batch)
    Y = wrapper.predict(X)
    expected = run_plain(plain_model(tiny_bert), X)
    rows = np.concatenate([each.last_hidden_state[0].detach() for each in expected if each])
    np.testing.assert_allclose(Y.last_hidden_state, rows, rtol=0, atol=1e-5)
    assert not np.allclose(Y.last_hidden_state, wrapper.predict(make_input()).last_hidden_state)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_an_input_without_wordpieces(tiny_bert: Path, lengths: list[int]) -> None:
    X = make_input(lengths)
    wrapper = load(tiny_bert, **ALL)
    Y, backprop = wrapper.begin_update(X)
    for each in (Y, wrapper.predict(X)):
        assert each.last_hidden_state.shape == (0, WIDTH)
        assert each.pooler_output.tolist() == [[0.0] * WIDTH] * len(lengths)
        assert [layer.shape for layer in each.all_hidden_states] == [(0, WIDTH)] * (LAYERS + 1)
        assert [array.shape for array in each.all_attentions] == [(LAYERS, HEADS, 0, 0)] * len(
            lengths
        )
    backprop(make_gradients(Y, KINDS))
    assert not any(each.any() for each in gradients_of(wrapper.module).values())


@pytest.mark.parametrize("words_per_batch", SIZES)
def test_sub_batches_keep_to_their_size(tiny_bert: Path, words_per_batch: int) -> None:
    batches = list(load(tiny_bert, words_per_batch=words_per_batch).sub_batches(make_input()))
    filled = [segment for segment, length in enumerate(LENGTHS) if length]
    assert sorted(int(i) for batch in batches for i in batch.segments) == filled
    assert words_per_batch or len(batches) == 1
    for batch in batches:
        rows, longest = batch.inputs["input_ids"].shape
        assert longest == max(LENGTHS[i] for i in batch.segments)
        assert rows == 1 or not words_per_batch or rows * longest <= words_per_batch


def test_a_mask_is_passed_where_there_is_padding_and_nowhere_else(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    (padded,) = wrapper.sub_batches(make_input([2, 3]))
    assert padded.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    (full,) = wrapper.sub_batches(make_input([3, 0, 3]))
    assert "attention_mask" not in full.inputs


def test_words_per_batch_can_be_changed(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert, words_per_batch=0)
    assert len(list(wrapper.sub_batches(make_input()))) == 1
    wrapper.attrs["words_per_batch"] = 1
    assert len(list(wrapper.sub_batches(make_input()))) == sum(map(bool, LENGTHS))


def test_a_prediction_has_no_backward_pass(tiny_bert: Path) -> None:
    Y, backprop = load(tiny_bert)(make_input(), is_train=False)
    with pytest.raises(RuntimeError, match="begin_update"):
        backprop(Y)


# Gradients


@pytest.mark.parametrize(
    ("words_per_batch", "room"),
    [(0, True), (7, True), (50, True), (2000, True), (0, False), (7, False)],
)
def test_gradients_equal_those_of_the_plain_model(
    encoder: Path, words_per_batch: int, room: bool, request: pytest.FixtureRequest
) -> None:
    if not room:
        request.getfixturevalue("no_room_for_graphs")
    X = make_input()
    wrapper = load(encoder, words_per_batch=words_per_batch, **ALL)
    Y, backprop = wrapper.begin_update(X)
    kinds = [kind for kind in KINDS if getattr(Y, kind) is not None]
    d_Y = make_gradients(Y, kinds)
    backprop(d_Y)
    expected = plain_gradients(plain_model(encoder, attentions=True), X, d_Y)
    assert_gradients_close(gradients_of(wrapper.module), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_one_kind_of_output(tiny_bert: Path, kind: str) -> None:
    X = make_input()
    attentions = kind == "all_attentions"
    wrapper = load(
        tiny_bert,
        words_per_batch=50,
        all_hidden_states=kind == "all_hidden_states",
        all_attentions=attentions,
    )
    Y, backprop = wrapper.begin_update(X)
    d_Y = make_gradients(Y, [kind])
    backprop(d_Y)
    expected = plain_gradients(plain_model(tiny_bert, attentions=attentions), X, d_Y)
    assert_gradients_close(gradients_of(wrapper.module), expected)


def test_gradients_gather_until_the_step(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    update(wrapper, make_input())
    once = gradients_of(wrapper.module)
    update(wrapper, make_input())
    twice = {name: 2 * each for name, each in once.items()}
    assert_gradients_close(gradients_of(wrapper.module), twice)


def test_a_prediction_between_the_two_halves_of_an_update_changes_nothing(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransformersWrapper, "graph_budget", no_budget)
    gradients = []
    for predict_between in (False, True):
        wrapper = load(tiny_bert)
        set_dropout_rate(wrapper, 0.3)
        torch.manual_seed(0)
        Y, backprop = wrapper.begin_update(make_input())
        if predict_between:
            wrapper.predict(make_input())
        backprop(make_gradients(Y, ["last_hidden_state"]))
        gradients.append(gradients_of(wrapper.module))
    assert_gradients_close(gradients[1], gradients[0], tolerance=1e-6)


# Memory


def count_calls(wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Gathers, for every sub-batch encoded from now on, whether a graph was recorded."""
    calls: list[bool] = []
    encode = wrapper.encode

    def counting(batch: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return encode(batch)

    monkeypatch.setattr(wrapper, "encode", counting)
    return calls


@pytest.mark.parametrize("n_fitting", [0, 1, 3, None])
def test_what_does_not_fit_is_encoded_again(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, n_fitting: int | None
) -> None:
    wrapper = load(tiny_bert, words_per_batch=50)
    sizes = [wrapper.graph_bytes(batch) for batch in wrapper.sub_batches(make_input())]
    assert len(sizes) > 3
    n = len(sizes)
    fitting = n if n_fitting is None else n_fitting
    budget = sum(sizes[:fitting]) + 1
    monkeypatch.setattr(wrapper, "graph_budget", lambda: budget)
    calls = count_calls(wrapper, monkeypatch)
    Y, backprop = wrapper.begin_update(make_input())
    assert calls == [True] * fitting + [False] * (n - fitting)
    backprop(make_gradients(Y, ["last_hidden_state"]))
    assert calls[n:] == [True] * (n - fitting)


@pytest.mark.parametrize(
    ("words_per_batch", "n_fitting"), [(0, 0), (7, 0), (7, 2), (50, 2), (2000, 0)]
)
def test_dropout_falls_on_the_same_units_when_encoded_again(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, words_per_batch: int, n_fitting: int
) -> None:
    X = make_input()
    gradients, outputs = [], []
    for room in (True, False):
        wrapper = load(encoder, words_per_batch=words_per_batch)
        set_dropout_rate(wrapper, 0.3)
        if not room:
            sizes = [wrapper.graph_bytes(batch) for batch in wrapper.sub_batches(X)]
            budget = sum(sizes[:n_fitting]) + 1 if n_fitting else 0
            monkeypatch.setattr(wrapper, "graph_budget", lambda budget=budget: budget)
        torch.manual_seed(7)
        Y, backprop = wrapper.begin_update(X)
        # The heads draw random numbers too.
        torch.rand(5)
        state = torch.get_rng_state()
        backprop(make_gradients(Y, ["last_hidden_state"]))
        assert torch.equal(torch.get_rng_state(), state)
        outputs.append(Y.last_hidden_state)
        gradients.append(gradients_of(wrapper.module))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0, atol=1e-6)
    assert_gradients_close(gradients[1], gradients[0], tolerance=1e-6)


def test_the_budget_is_a_part_of_the_free_memory(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trfcli_pipeline.wrapper.free_bytes", lambda device: 1000)
    assert load(tiny_bert).graph_budget() == 500


def test_graph_bytes_count_padding(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    (padded,) = wrapper.sub_batches(make_input([2, 10]))
    (full,) = wrapper.sub_batches(make_input([10, 10]))
    (single,) = wrapper.sub_batches(make_input([10]))
    assert wrapper.graph_bytes(padded) == wrapper.graph_bytes(full)
    assert wrapper.graph_bytes(full) == 2 * wrapper.graph_bytes(single)


@pytest.mark.parametrize("attentions", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_the_estimate_is_of_the_size_that_graphs_have(
    tmp_path: Path, rate: float, attentions: bool
) -> None:
    # With the proportions of real encoders: the inner width is four times the outer.
    config = BertConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
    )
    BertModel(config).save_pretrained(tmp_path)
    wrapper = load(tmp_path, all_attentions=attentions)
    wrapper.set_training(rate)
    (batch,) = wrapper.sub_batches(make_input([100, 60]))
    weights = {each.untyped_storage().data_ptr() for each in wrapper.module.parameters()}
    saved: dict[int, int] = {}

    def measure(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(measure, lambda tensor: tensor):
        wrapper.encode(batch)
    assert 0.7 < wrapper.graph_bytes(batch) / sum(saved.values()) < 2.5


def simulate_memory(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch, *, room: int, graphs: int
) -> list[tuple[int, bool]]:
    """Let memory suffice for so many wordpieces at once, and for so many with a graph.

    Returns: Gathers, for every sub-batch tried from now on, its wordpieces and whether a graph was
        recorded.
    """
    tried: list[tuple[int, bool]] = []
    encode = wrapper.encode
    graphs_made: list[tuple[Any, int]] = []

    def limited(batch: Any) -> Any:
        with_graph = torch.is_grad_enabled()
        tried.append((batch.size, with_graph))
        used = sum(size for output, size in graphs_made if output() is not None)
        if used + batch.size > (graphs if with_graph else room):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        output = encode(batch)
        if with_graph:
            graphs_made.append((weakref.ref(output), batch.size))
        return output

    monkeypatch.setattr(wrapper, "encode", limited)
    return tried


@pytest.mark.parametrize("words_per_batch", [0, 200, "auto"])
@pytest.mark.parametrize("room", [64, 100, 130, 1000])
def test_a_prediction_goes_on_with_less_where_memory_runs_out(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, words_per_batch: int | str, room: int
) -> None:
    expected = load(encoder, **ALL).predict(make_input())
    wrapper = load(encoder, words_per_batch=words_per_batch, **ALL)
    tried = simulate_memory(wrapper, monkeypatch, room=room, graphs=0)
    for _ in range(2):
        before = len(tried)
        Y = wrapper.predict(make_input())
        for kind in KINDS:
            one, other = getattr(Y, kind), getattr(expected, kind)
            for a, b in zip([] if one is None else one, [] if one is None else other, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    # By then, it knows what fits.
    assert max(size for size, _ in tried[before:]) <= room


def test_a_segment_that_does_not_fit_is_an_error(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert)
    simulate_memory(wrapper, monkeypatch, room=63, graphs=63)
    for run in (wrapper.predict, wrapper.begin_update):
        with pytest.raises(PipelineError, match="for a segment of 64 wordpieces") as caught:
            run(make_input())
        assert "max_length" in caught.value.hint
    # What fits is encoded all the same.
    assert wrapper.predict(make_input([3, 60])).last_hidden_state.any(axis=1).all()


@pytest.mark.parametrize("words_per_batch", [0, 50, 200, "auto"])
@pytest.mark.parametrize(("room", "graphs"), [(64, 64), (130, 64), (1000, 64), (1000, 130)])
def test_an_update_goes_on_with_less_where_memory_runs_out(
    encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words_per_batch: int | str,
    room: int,
    graphs: int,
) -> None:
    X = make_input()
    wrapper = load(encoder, words_per_batch=words_per_batch, **ALL)
    tried = simulate_memory(wrapper, monkeypatch, room=room, graphs=graphs)
    for _ in range(2):
        wrapper.module.zero_grad()
        Y, backprop = wrapper.begin_update(X)
        d_Y = make_gradients(Y, [kind for kind in KINDS if getattr(Y, kind) is not None])
        backprop(d_Y)
        expected = plain_gradients(plain_model(encoder, attentions=True), X, d_Y)
        assert_gradients_close(gradients_of(wrapper.module), expected)
    assert any(with_graph and size > graphs for size, with_graph in tried) == (
        words_per_batch == 0 or (words_per_batch != 50 and graphs == 64)
    )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_memory_that_runs_out_in_the_backward_pass_counts_no_gradient_twice(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    X = make_input()
    wrapper = load(tiny_bert, words_per_batch=200)
    set_dropout_rate(wrapper, dropout)
    expected = []
    grad = torch.autograd.grad
    failed: list[int] = []

    def limited(outputs: Any, *arguments: Any, **options: Any) -> Any:
        found = grad(outputs, *arguments, **options)
        if outputs[0].shape[:2].numel() > 64:
            # After all of the work.
            failed.append(outputs[0].shape[:2].numel())
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return found

    for simulated in (False, True):
        if simulated:
            monkeypatch.setattr(torch.autograd, "grad", limited)
        torch.manual_seed(3)
        Y, backprop = wrapper.begin_update(X)
        state = torch.get_rng_state()
        backprop(make_gradients(Y, ["last_hidden_state", "pooler_output"]))
        assert torch.equal(torch.get_rng_state(), state)
        expected.append(gradients_of(wrapper.module))
        wrapper.module.zero_grad()
    assert len(failed) > 1
    assert failed == sorted(failed, reverse=True)
    if dropout:
        # Other units were dropped in the parts than in the whole.
        norms = [sum(float(each.norm()) ** 2 for each in which.values()) for which in expected]
        assert norms[1] == pytest.approx(norms[0], rel=0.5)
    else:
        assert_gradients_close(expected[1], expected[0])


def test_an_update_that_fails_leaves_no_gradient(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert, words_per_batch=50)
    # Each sub-batch goes backward on its own.
    monkeypatch.setattr(wrapper, "graph_budget", lambda: 0)
    Y, backprop = wrapper.begin_update(make_input())
    grad = torch.autograd.grad
    n_calls = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return grad(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", failing)
    with pytest.raises(PipelineError, match="not enough memory"):
        backprop(make_gradients(Y, ["last_hidden_state"]))
    assert not any(each.any() for each in gradients_of(wrapper.module).values())


def simulate_device(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch, kind: str, free: int
) -> None:
    monkeypatch.setattr("trfcli_pipeline.wrapper.free_bytes", lambda device: free)
    wrapper.device = torch.device(kind)


def automatic_size(wrapper: TransformersWrapper, *, is_train: bool) -> int:
    lengths = np.full(10**5, 10, np.int32)
    return wrapper._words_per_sub_batch(lengths, is_train=is_train)


def test_automatic_sub_batches_follow_the_free_memory(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert, words_per_batch="auto")
    sizes = {}
    for free in (10**6, 2 * 10**6, 10**12):
        simulate_device(wrapper, monkeypatch, "cuda", free)
        sizes[free] = [automatic_size(wrapper, is_train=is_train) for is_train in (False, True)]
    # A layer at a time takes 2 (34 x 16 + 5 x 4 x 10) bytes a wordpiece; graphs keep both layers.
    assert sizes[10**6] == [10**6 // 4 // 1488, 10**6 // 4 // 2976]
    assert sizes[2 * 10**6] == [2 * 10**6 // 4 // 1488, 2 * 10**6 // 4 // 2976]
    # Larger ones would gain nothing.
    assert sizes[10**12] == [2**15, 2**15]


def test_automatic_sub_batches_make_room_for_what_is_kept(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings in ({"all_hidden_states": True}, {"all_attentions": True}):
        wrapper = load(tiny_bert, words_per_batch="auto", **settings)
        simulate_device(wrapper, monkeypatch, "cuda", 10**6)
        assert automatic_size(wrapper, is_train=False) == automatic_size(wrapper, is_train=True)


@pytest.mark.parametrize("n_streams", [1, 2])
def test_automatic_sub_batches_stay_in_the_caches_of_a_cpu(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, n_streams: int
) -> None:
    wrapper = load(tiny_bert, words_per_batch="auto")
    simulate_device(wrapper, monkeypatch, "cpu", 10**12)
    monkeypatch.setattr(TransformersWrapper, "n_streams", n_streams)
    assert automatic_size(wrapper, is_train=False) == 1024
    # Unless there isn't even memory for that, shared by the streams.
    simulate_device(wrapper, monkeypatch, "cpu", 10**6)
    assert automatic_size(wrapper, is_train=False) == 10**6 // 4 // n_streams // 1488


def test_automatic_sub_batches_remember_what_did_not_fit(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert, words_per_batch="auto")
    simulate_memory(wrapper, monkeypatch, room=100, graphs=70)
    wrapper.predict(make_input())
    assert 50 <= automatic_size(wrapper, is_train=False) <= 100
    # An update needs more memory, and has an experience of its own.
    assert automatic_size(wrapper, is_train=True) == 1024
    wrapper.begin_update(make_input())
    assert 32 <= automatic_size(wrapper, is_train=True) <= 70
    assert 50 <= automatic_size(wrapper, is_train=False) <= 100
    # On another device, all is new.
    wrapper.to("cpu")
    assert automatic_size(wrapper, is_train=False) == 1024


# Duplicates


@pytest.mark.parametrize("words_per_batch", SIZES)
def test_equal_segments_are_encoded_once(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, words_per_batch: int
) -> None:
    lengths = [4, 7, 0, 4, 1, 7, 0]
    X = make_input(lengths)
    ends = np.cumsum(lengths)
    for copy, source in ((3, 0), (5, 1)):
        X.ids[ends[copy] - lengths[copy] : ends[copy]] = X.ids[: ends[source]][-lengths[source] :]
    wrapper = load(encoder, words_per_batch=words_per_batch, **ALL)
    expected = wrapper.begin_update(X)[0]
    rows: list[int] = []
    encode = wrapper.encode

    def counting(batch: Any) -> Any:
        rows.extend(batch.segments.tolist())
        return encode(batch)

    monkeypatch.setattr(wrapper, "encode", counting)
    Y = wrapper.predict(X)
    assert sorted(rows) == [0, 1, 4]
    for kind in KINDS:
        one, other = getattr(Y, kind), getattr(expected, kind)
        for a, b in zip([] if one is None else one, [] if one is None else other, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    # Copies are nobody else's arrays.
    assert not np.shares_memory(Y.all_attentions[0], Y.all_attentions[3])
    # An update needs them all.
    rows.clear()
    wrapper.begin_update(X)
    assert sorted(rows) == [0, 1, 3, 4, 5]


# Dropout


def test_without_dropout_an_update_gives_what_a_prediction_gives(encoder: Path) -> None:
    wrapper = load(encoder, words_per_batch=50)
    predicted = wrapper.predict(make_input())
    for rate in (None, 0.0):
        if rate is not None:
            set_dropout_rate(wrapper, rate)
        first, second = update(wrapper, make_input()), update(wrapper, make_input())
        assert_bit_equal(first, second)
        np.testing.assert_allclose(
            first.last_hidden_state, predicted.last_hidden_state, rtol=0, atol=1e-6
        )


def test_dropout_holds_in_updates_only(encoder: Path) -> None:
    wrapper = load(encoder)
    predicted = wrapper.predict(make_input())
    set_dropout_rate(wrapper, 0.3)
    first, second = update(wrapper, make_input()), update(wrapper, make_input())
    assert not np.allclose(first.last_hidden_state, predicted.last_hidden_state, atol=1e-2)
    assert not np.allclose(first.last_hidden_state, second.last_hidden_state, atol=1e-2)
    assert_bit_equal(wrapper.predict(make_input()), predicted)


def test_the_rate_replaces_that_of_layers_that_have_one(tiny_bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "encoder"
    shutil.copytree(tiny_bert, path)
    config = json.loads((path / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.0}
    (path / "config.json").write_text(json.dumps(config))
    wrapper = load(path)
    set_dropout_rate(wrapper, 0.5)
    wrapper.begin_update(make_input())
    rates = {
        ".".join(name.split(".")[-2:]): part.p
        for name, part in wrapper.module.named_modules()
        if isinstance(part, torch.nn.Dropout)
    }
    assert rates == {"embeddings.dropout": 0.5, "self.dropout": 0.0, "output.dropout": 0.5}


# The optimizer's step


def reference_adamw(
    module: PreTrainedModel, *, lr: float, weight_decay: float
) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [
            {
                "params": [each for each in module.parameters() if each.ndim > 1],
                "weight_decay": weight_decay,
            },
            {
                "params": [each for each in module.parameters() if each.ndim <= 1],
                "weight_decay": 0.0,
            },
        ],
        lr=lr,
    )


def assert_steps_equal(
    path: Path, optimizer: Any, *, lr: float, weight_decay: float, clip: float, scale: float
) -> None:
    wrapper = load(path, words_per_batch=50)
    plain = load_plain(path)
    reference = reference_adamw(plain, lr=lr, weight_decay=weight_decay)
    start = parameters_of(plain)
    for _ in range(3):
        update(wrapper, make_input(), scale=scale)
        gradients = gradients_of(wrapper.module)
        for name, each in plain.named_parameters():
            each.grad = gradients[name]
        if clip:
            torch.nn.utils.clip_grad_norm_(plain.parameters(), clip)
        reference.step()
        wrapper.finish_update(optimizer)
    for name, each in wrapper.module.named_parameters():
        expected = plain.get_parameter(name)
        # Against the size of the steps: the weights themselves are the larger part.
        steps = (expected - start[name]).abs().max().item()
        assert steps > 0, name
        assert (each - expected).abs().max().item() <= 1e-3 * steps + 1e-7, name


@pytest.mark.parametrize("scale", [1e-4, 1e2])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_steps_equal_those_of_adamw(
    tiny_bert: Path, scale: float, weight_decay: float, clip: float
) -> None:
    optimizer = make_optimizer(trf_lr=1e-2, trf_weight_decay=weight_decay, grad_clip=clip)
    assert_steps_equal(
        tiny_bert, optimizer, lr=1e-2, weight_decay=weight_decay, clip=clip, scale=scale
    )


def test_an_optimizer_that_says_nothing_about_the_encoder(tiny_bert: Path) -> None:
    # Thinc's own, whose 1e-3 is for heads.
    assert_steps_equal(tiny_bert, Adam(1e-3), lr=5e-5, weight_decay=0.01, clip=1.0, scale=1.0)


def test_the_rate_may_change_between_steps(tiny_bert: Path) -> None:
    optimizer = make_optimizer(trf_lr=iter([1e-2, 0.0]), trf_weight_decay=0.5)
    wrapper = load(tiny_bert)
    before = parameters_of(wrapper.module)
    update(wrapper, make_input())
    wrapper.finish_update(optimizer)
    between = parameters_of(wrapper.module)
    assert not torch.equal(*(each["embeddings.LayerNorm.bias"] for each in (before, between)))
    optimizer.step_schedules()
    update(wrapper, make_input())
    wrapper.finish_update(optimizer)
    after = parameters_of(wrapper.module)
    assert all(torch.equal(after[name], each) for name, each in between.items())


def test_weight_decay_leaves_biases_and_norms_alone() -> None:
    """Whatever their shape: XLNet has a bias for each head."""
    sizes = {"vocab_size": 20, "num_attention_heads": 2, "num_hidden_layers": 1}
    llama = {**sizes, "hidden_size": 8, "intermediate_size": 8}
    xlnet = {"vocab_size": 20, "d_model": 8, "n_head": 2, "n_layer": 1, "d_inner": 8}
    modules = [XLNetModel(XLNetConfig(**xlnet)), LlamaModel(LlamaConfig(**llama))]
    modules.append(BertModel(BertConfig(**llama)))
    for module in modules:
        groups = parameter_groups(module)
        decays, others = sorted(groups, key=itemgetter("weight_decay_factor"), reverse=True)
        assert (decays["weight_decay_factor"], others["weight_decay_factor"]) == (1, 0)
        assert decays["rate_factor"] == others["rate_factor"] == 1
        exempt = {
            parameter
            for name, part in module.named_modules()
            for own, parameter in part.named_parameters(recurse=False)
            if "norm" in type(part).__name__.lower() or "bias" in own
        }
        assert exempt == set(others["params"])
        assert exempt | set(decays["params"]) == set(module.parameters())
        assert not exempt & set(decays["params"])


def test_weight_decay_leaves_vectors_alone(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    before = parameters_of(wrapper.module)
    Y, backprop = wrapper.begin_update(make_input())
    # No gradients at all, so that decay is the only thing that can move a weight.
    backprop(make_gradients(Y, []))
    wrapper.finish_update(make_optimizer(trf_lr=0.1, trf_weight_decay=0.5))
    after = parameters_of(wrapper.module)
    for name, each in before.items():
        if not name.startswith("pooler."):
            factor = 1 - 0.1 * 0.5 if each.ndim > 1 else 1.0
            torch.testing.assert_close(after[name], factor * each)


@pytest.mark.parametrize("words_per_batch", SIZES)
def test_an_update_takes_one_step(tiny_bert: Path, words_per_batch: int) -> None:
    wrapper = load(tiny_bert, words_per_batch=words_per_batch)
    before = parameters_of(wrapper.module)
    update(wrapper, make_input())
    # The first step of Adam moves a weight by the rate, up or down; two would move it further.
    optimizer = make_optimizer(trf_lr=1e-2, trf_weight_decay=0.0)
    wrapper.finish_update(optimizer)
    after = parameters_of(wrapper.module)
    largest = max((after[name] - each).abs().max().item() for name, each in before.items())
    assert largest == pytest.approx(1e-2, rel=1e-3)
    # Its gradients are used up.
    assert all(each.grad is None for each in wrapper.module.parameters())
    wrapper.finish_update(optimizer)
    again = parameters_of(wrapper.module)
    assert all(torch.equal(again[name], each) for name, each in after.items())


def test_without_an_update_a_step_changes_nothing(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    before = parameters_of(wrapper.module)
    wrapper.predict(make_input())
    wrapper.finish_update(make_optimizer(trf_lr=0.1, trf_weight_decay=0.5))
    after = parameters_of(wrapper.module)
    assert all(torch.equal(after[name], each) for name, each in before.items())


# Saving and loading


def via_bytes(wrapper: TransformersWrapper, path: Path, **settings: Any) -> TransformersWrapper:
    return TransformersWrapper(device="cpu", **settings).from_bytes(wrapper.to_bytes())


def via_disk(wrapper: TransformersWrapper, path: Path, **settings: Any) -> TransformersWrapper:
    wrapper.to_disk(path / "saved")
    return TransformersWrapper(device="cpu", **settings).from_disk(path / "saved")


@pytest.mark.parametrize("copy", [via_bytes, via_disk])
@pytest.mark.parametrize("name", ["tiny_bert", "tiny_bert_without_pooler", "tiny_gpt2"])
def test_saving_and_loading_keeps_every_bit(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    name: str,
    copy: Callable[..., TransformersWrapper],
) -> None:
    path = request.getfixturevalue(name)
    wrapper = load(path, **ALL)
    untrained = wrapper.predict(make_input())
    set_dropout_rate(wrapper, 0.3)
    update(wrapper, make_input())
    wrapper.finish_update(make_optimizer(trf_lr=1e-2))
    loaded = copy(wrapper, tmp_path, **ALL)
    assert loaded.is_loaded
    assert loaded.get_dim("nO") == WIDTH
    for (key, one), (other_key, other) in zip(
        wrapper.module.state_dict().items(), loaded.module.state_dict().items(), strict=True
    ):
        assert key == other_key
        assert torch.equal(one, other)
    trained = wrapper.predict(make_input())
    assert_bit_equal(loaded.predict(make_input()), trained)
    assert not np.allclose(trained.last_hidden_state, untrained.last_hidden_state)


def test_weights_are_saved_as_safetensors_only(tiny_bert: Path, tmp_path: Path) -> None:
    load(tiny_bert).to_disk(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_loading_other_weights_forgets_the_optimizers_state(tiny_bert: Path) -> None:
    wrapper, fresh = load(tiny_bert), load(tiny_bert)
    for _ in range(2):
        update(wrapper, make_input())
        wrapper.finish_update(make_optimizer(trf_lr=1e-2))
    wrapper.load(tiny_bert)
    for each in (wrapper, fresh):
        update(each, make_input(), scale=-0.1)
        each.finish_update(make_optimizer(trf_lr=1e-2))
    for name, each in parameters_of(fresh.module).items():
        torch.testing.assert_close(wrapper.module.get_parameter(name), each)


# What is not there


@pytest.mark.parametrize(
    "use",
    [
        lambda wrapper: wrapper.module,
        lambda wrapper: wrapper.predict(make_input()),
        lambda wrapper: wrapper.begin_update(make_input()),
        lambda wrapper: wrapper.finish_update(make_optimizer()),
        lambda wrapper: wrapper.to_bytes(),
        lambda wrapper: wrapper.to_disk("unused"),
    ],
    ids=["module", "predict", "begin_update", "finish_update", "to_bytes", "to_disk"],
)
def test_without_weights_there_is_an_error(use: Callable[[TransformersWrapper], Any]) -> None:
    wrapper = TransformersWrapper(device="cpu")
    assert not wrapper.is_loaded
    with pytest.raises(PipelineError, match="weights aren't loaded") as caught:
        use(wrapper)
    assert "nlp.initialize()" in caught.value.hint


def test_a_device_that_is_not_there_is_an_error(tiny_bert: Path) -> None:
    with pytest.raises(DeviceError, match="abacus"):
        TransformersWrapper(device="abacus")
    wrapper = load(tiny_bert)
    with pytest.raises(DeviceError, match="abacus"):
        wrapper.to("abacus")
    assert wrapper.device == torch.device("cpu")


def test_moving_keeps_the_weights(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    predicted = wrapper.predict(make_input())
    wrapper.to("cpu")
    assert_bit_equal(wrapper.predict(make_input()), predicted)
