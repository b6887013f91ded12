import pytest
import torch

from trfcli_pipeline.encoder.gradients import (
    GradientAccumulator,
    WeightGradients,
    add_gradients,
    sparse_embeddings,
)


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = torch.nn.Embedding(20, 3, padding_idx=0)
        self.mix = torch.nn.Linear(3, 2)
        self.unused = torch.nn.Parameter(torch.ones(2))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.mix(self.rows(ids)).square().sum()


@pytest.fixture
def module() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def backward(module: Tiny, ids: list[list[int]]) -> WeightGradients:
    weights = GradientAccumulator(module).weights
    with sparse_embeddings([module.rows]):
        loss = module(torch.tensor(ids))
    return list(torch.autograd.grad(loss, weights, allow_unused=True))


BATCHES = [[[1, 2, 2], [3, 0, 0]], [[2, 19, 1]], [[5, 5, 5]]]


def dense(module: Tiny) -> dict[str, torch.Tensor | None]:
    """The gradients that autograd accumulates by itself."""
    module.zero_grad()
    sum(module(torch.tensor(ids)) for ids in BATCHES).backward()
    found = {name: each.grad for name, each in module.named_parameters()}
    module.zero_grad()
    return found


def assert_gradients_equal(module: Tiny, expected: dict[str, torch.Tensor | None]) -> None:
    for name, each in module.named_parameters():
        if expected[name] is None:
            assert each.grad is None
        else:
            assert not each.grad.is_sparse
            torch.testing.assert_close(each.grad, expected[name])


def test_sparse_gradients_sum_to_dense_ones(module: Tiny) -> None:
    expected = dense(module)
    gradients = GradientAccumulator(module)
    for ids in BATCHES:
        gradients.add(backward(module, ids))
    assert_gradients_equal(module, expected)


def test_each_step_starts_from_zero_in_the_same_buffer(module: Tiny) -> None:
    expected = dense(module)
    gradients = GradientAccumulator(module)
    arrays = set()
    for _ in range(3):
        for ids in BATCHES:
            gradients.add(backward(module, ids))
        assert_gradients_equal(module, expected)
        arrays.add(module.rows.weight.grad.data_ptr())
        module.zero_grad(set_to_none=True)
    assert len(arrays) == 1


def test_gradients_of_several_passes_can_be_summed_first(module: Tiny) -> None:
    expected = dense(module)
    total: WeightGradients = [None] * len(GradientAccumulator(module).weights)
    for ids in BATCHES:
        add_gradients(total, backward(module, ids))
    GradientAccumulator(module).add(total)
    assert_gradients_equal(module, expected)


def test_frozen_weights_get_no_gradient(module: Tiny) -> None:
    expected = dense(module) | {"rows.weight": None}
    module.rows.weight.requires_grad = False
    gradients = GradientAccumulator(module)
    for ids in BATCHES:
        gradients.add(backward(module, ids))
    assert_gradients_equal(module, expected)


def test_embeddings_are_sparse_only_inside_the_context(module: Tiny) -> None:
    with sparse_embeddings([module.rows]):
        assert module.rows.sparse
    assert not module.rows.sparse


def test_gradients_get_the_layout_of_their_weights(module: Tiny) -> None:
    gradients = GradientAccumulator(module)
    rows = torch.arange(60.0).reshape(3, 20).T
    gradients.add([None, rows, None, None])
    assert module.rows.weight.grad.stride() == module.rows.weight.stride() != rows.stride()
    assert torch.equal(module.rows.weight.grad, rows)
