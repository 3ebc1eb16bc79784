"""Calling networks: what an example is, its batch, other inputs like it, and the mode."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from supple.elastic._call import (
    batch_of,
    batch_size,
    call,
    evaluating,
    input_arguments,
    tensors_in,
)


def test_tensor_tuple_and_dict_are_one_argument_several_and_keywords():
    def network(a, b=None, *, c=None):
        return a, b, c

    assert call(network, 1) == (1, None, None)
    assert call(network, (1, 2)) == call(network, [1, 2]) == (1, 2, None)
    assert call(network, {"c": 3, "a": 1}) == (1, None, 3)
    assert input_arguments({"a": 1}) == ((), {"a": 1})


def test_the_batch_is_the_first_dimension_of_the_first_tensor_that_has_one():
    scalar, x, y = torch.tensor(1.0), torch.ones(3, 2), torch.ones(5)
    assert batch_size((scalar, x, y)) == 3
    assert batch_size({"y": y, "x": x}) == 5
    assert batch_size(scalar) == 1
    assert [t.shape for t in tensors_in((x, {"inner": [y, None]}))] == [x.shape, y.shape]


@given(st.integers(1, 7), st.integers(1, 4), st.integers(0, 3))
def test_drawn_inputs_hold_only_values_of_the_example(size, rows, seed):
    example = {
        "x": torch.arange(rows * 6.0).reshape(rows, 6),
        "ids": torch.arange(rows * 4).reshape(rows, 4),
        "lengths": torch.arange(rows),
        "table": torch.ones(rows + 1, 2),
        "flag": True,
    }
    drawn = batch_of(example, size, seed=seed)
    assert list(drawn) == list(example)
    for name in ("x", "ids", "lengths"):
        assert drawn[name].shape == (size, *example[name].shape[1:])
        assert drawn[name].dtype == example[name].dtype
        assert set(drawn[name].flatten().tolist()) <= set(example[name].flatten().tolist())
    assert drawn["table"] is example["table"]
    assert drawn["flag"] is True


def test_drawn_rows_differ_also_from_an_example_of_one_sample_or_of_zeros():
    for example in (torch.randn(1, 8), torch.zeros(1, 8), torch.arange(8)[None]):
        first, second = batch_of(example, 2)
        assert not torch.equal(first, second)


def test_one_tensor_given_twice_stays_one():
    x = torch.randn(2, 3)
    first, second, third = batch_of((x, x, x.clone()), 4)
    assert first is second
    assert not torch.equal(first, third)


def test_drawing_is_repeatable_and_leaves_the_global_generator_alone():
    x = torch.randn(2, 3)
    state = torch.get_rng_state()
    assert torch.equal(batch_of(x, 4, seed=1), batch_of(x, 4, seed=1))
    assert not torch.equal(batch_of(x, 4, seed=1), batch_of(x, 4, seed=2))
    assert isinstance(batch_of((x,), 4), tuple)
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluating_restores_the_mode_of_every_part():
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))
    network.train()
    network[1][0].eval()
    before = [part.training for part in network.modules()]
    with evaluating(network):
        assert not any(part.training for part in network.modules())
        assert not torch.is_grad_enabled()
        torch.rand(1)
    assert [part.training for part in network.modules()] == before
    network.eval()
    network[0].train()
    with evaluating(network):
        assert not network[0].training
    assert network[0].training
    assert not network.training


def test_evaluating_takes_exported_programs_and_functions():
    exported = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)).module()
    mode = exported.training
    for network in (exported, lambda x: x):
        with evaluating(network):
            assert call(network, torch.ones(1, 2)).shape == (1, 2)
    assert exported.training == mode
