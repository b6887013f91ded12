from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thinc.api import set_dropout_rate
from wrapped import (
    ALL,
    HEADS,
    KINDS,
    LAYERS,
    LENGTHS,
    SIZES,
    WIDTH,
    assert_bit_equal,
    gradients_of,
    load,
    make_gradients,
    make_input,
    parameters_of,
    plain_model,
    run_plain,
    simulate_memory,
    split,
    update,
)

from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.errors import ArgumentError, DeviceError, PipelineError
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

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
def test_pooler_output_is_none_without_a_trained_pooler(
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
def test_only_requested_outputs_are_returned(tiny_bert: Path, kind: str) -> None:
    Y = load(tiny_bert, **{kind: True}).predict(make_input())
    assert getattr(Y, kind) is not None
    (other,) = ALL.keys() - {kind}
    assert getattr(Y, other) is None


@pytest.mark.parametrize("words_per_batch", [0, 50])
def test_token_type_ids_are_passed_to_a_model_that_has_them(
    tiny_bert: Path, words_per_batch: int
) -> None:
    X = make_input(type_ids=True)
    wrapper = load(tiny_bert, words_per_batch=words_per_batch)
    Y = wrapper.predict(X)
    expected = run_plain(plain_model(tiny_bert), X)
    rows = np.concatenate([each.last_hidden_state[0].detach() for each in expected if each])
    np.testing.assert_allclose(Y.last_hidden_state, rows, rtol=0, atol=1e-5)
    assert not np.allclose(Y.last_hidden_state, wrapper.predict(make_input()).last_hidden_state)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_a_batch_without_wordpieces_gives_empty_arrays(tiny_bert: Path, lengths: list[int]) -> None:
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
    assert not any(each.any() for each in gradients_of(wrapper.shim.module).values())


def test_words_per_batch_can_be_changed_later(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert, words_per_batch=0)
    assert len(list(split(wrapper, make_input()))) == 1
    wrapper.attrs["words_per_batch"] = 1
    assert len(list(split(wrapper, make_input()))) == sum(map(bool, LENGTHS))


def test_a_prediction_has_no_backward_pass(tiny_bert: Path) -> None:
    Y, backprop = load(tiny_bert)(make_input(), is_train=False)
    with pytest.raises(RuntimeError, match="begin_update"):
        backprop(Y)


@pytest.mark.parametrize("words_per_batch", [0, 200, "auto"])
@pytest.mark.parametrize("room", [64, 100, 130, 1000])
def test_a_prediction_succeeds_after_memory_ran_out(
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
            for a, b in zip(
                [] if one is None else one, [] if other is None else other, strict=True
            ):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    # The second prediction doesn't try what didn't fit.
    assert max(size for size, _ in tried[before:]) <= room


def test_a_segment_that_does_not_fit_is_an_error(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert)
    simulate_memory(wrapper, monkeypatch, room=63, graphs=63)
    for run in (wrapper.predict, wrapper.begin_update):
        with pytest.raises(DeviceError, match="for a segment of 64 wordpieces") as caught:
            run(make_input())
        assert "max_length" in caught.value.hint
    # Other segments still fit.
    assert wrapper.predict(make_input([3, 60])).last_hidden_state.any(axis=1).all()


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
    encode = wrapper.shim.encode

    def counting(batch: Any) -> Any:
        rows.extend(batch.segments.tolist())
        return encode(batch)

    monkeypatch.setattr(wrapper.shim, "encode", counting)
    Y = wrapper.predict(X)
    assert sorted(rows) == [0, 1, 4]
    for kind in KINDS:
        one, other = getattr(Y, kind), getattr(expected, kind)
        for a, b in zip([] if one is None else one, [] if other is None else other, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    # Duplicates don't share arrays.
    assert not np.shares_memory(Y.all_attentions[0], Y.all_attentions[3])
    # An update encodes all of them.
    rows.clear()
    wrapper.begin_update(X)
    assert sorted(rows) == [0, 1, 3, 4, 5]


# Saving and loading


def reload_from_bytes(
    wrapper: TransformersWrapper, path: Path, **settings: Any
) -> TransformersWrapper:
    return TransformersWrapper(device="cpu", **settings).from_bytes(wrapper.to_bytes())


def reload_from_disk(
    wrapper: TransformersWrapper, path: Path, **settings: Any
) -> TransformersWrapper:
    wrapper.to_disk(path / "saved")
    return TransformersWrapper(device="cpu", **settings).from_disk(path / "saved")


@pytest.mark.parametrize("reload", [reload_from_bytes, reload_from_disk])
@pytest.mark.parametrize("name", ["tiny_bert", "tiny_bert_without_pooler", "tiny_gpt2"])
def test_a_saved_model_predicts_bit_equal(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    name: str,
    reload: Callable[..., TransformersWrapper],
) -> None:
    path = request.getfixturevalue(name)
    wrapper = load(path, **ALL)
    untrained = wrapper.predict(make_input())
    set_dropout_rate(wrapper, 0.3)
    update(wrapper, make_input())
    wrapper.finish_update(TransformersOptimizer(trf_lr=1e-2))
    loaded = reload(wrapper, tmp_path, **ALL)
    assert loaded.shim.is_loaded
    assert loaded.get_dim("nO") == WIDTH
    for (key, one), (other_key, other) in zip(
        wrapper.shim.module.state_dict().items(),
        loaded.shim.module.state_dict().items(),
        strict=True,
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
        "inference.json",
        "model.safetensors",
    ]


def test_loading_weights_resets_the_optimizer(tiny_bert: Path) -> None:
    wrapper, fresh = load(tiny_bert), load(tiny_bert)
    for _ in range(2):
        update(wrapper, make_input())
        wrapper.finish_update(TransformersOptimizer(trf_lr=1e-2))
    wrapper.from_disk(tiny_bert)
    for each in (wrapper, fresh):
        update(each, make_input(), scale=-0.1)
        each.finish_update(TransformersOptimizer(trf_lr=1e-2))
    for name, each in parameters_of(fresh.shim.module).items():
        torch.testing.assert_close(wrapper.shim.module.get_parameter(name), each)


# Errors


@pytest.mark.parametrize(
    "use",
    [
        lambda wrapper: wrapper.shim.module,
        lambda wrapper: wrapper.predict(make_input()),
        lambda wrapper: wrapper.begin_update(make_input()),
        lambda wrapper: wrapper.finish_update(TransformersOptimizer()),
        lambda wrapper: wrapper.to_bytes(),
        lambda wrapper: wrapper.to_disk("unused"),
    ],
    ids=["module", "predict", "begin_update", "finish_update", "to_bytes", "to_disk"],
)
def test_using_a_model_without_weights_is_an_error(
    use: Callable[[TransformersWrapper], Any],
) -> None:
    wrapper = TransformersWrapper(device="cpu")
    assert not wrapper.shim.is_loaded
    with pytest.raises(PipelineError, match="weights aren't loaded") as caught:
        use(wrapper)
    assert "nlp.initialize()" in caught.value.hint


def test_an_unknown_device_is_an_error(tiny_bert: Path) -> None:
    with pytest.raises(DeviceError, match="abacus"):
        TransformersWrapper(device="abacus")
    wrapper = load(tiny_bert)
    with pytest.raises(ArgumentError, match="abacus"):
        wrapper.shim.to("abacus")
    assert wrapper.shim.device == torch.device("cpu")


def test_moving_to_a_device_keeps_the_weights(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    predicted = wrapper.predict(make_input())
    wrapper.shim.to("cpu")
    assert_bit_equal(wrapper.predict(make_input()), predicted)
