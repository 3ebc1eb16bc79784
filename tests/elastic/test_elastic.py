"""Every sub-network is exact: shared, extracted, and by oracles that know nothing of axes."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from supple import Elastic
from supple.elastic import Elasticity
from tests.elastic.oracles import (
    Given,
    distance,
    doubled,
    run,
    scalar,
    shuffled,
    without_dropout,
    zeroed,
)
from tests.families import ALL, CLASSIC, SMALL

FINE = Elasticity(ratios=(0.25, 0.5, 0.75, 1.0), multiple_of=1, min_depth_ratio=0.0)


@cache
def double_net(name: str, *, reordered: bool) -> tuple[nn.Module, Any, Elastic]:
    model, example = ALL[name]()
    model, example = doubled(model), doubled(example)
    if reordered:  # a dropped unit is another one where the order is another
        model = without_dropout(model)
    net = Elastic(model, example, FINE)
    if reordered:
        net.reorder(shuffled(net, 3))
    return model, example, net


def configs_of(net: Elastic, count: int) -> list[Any]:
    found = net.space.sample_many(count - 2, np.random.default_rng(1))
    return [*found, net.space.smallest, net.space.largest]


# -- the whole network is the model -----------------------------------------------------------
@pytest.mark.parametrize("name", ALL)
def test_the_largest_network_is_the_model_bit_for_bit(name: str) -> None:
    model, example = ALL[name]()
    net = Elastic(model, example)
    largest = net.extract(net.space.largest)
    for training in (False, True):
        for network in (model, net, largest):
            network.train(training)
        want, own, shared = (run(network, example) for network in (model, largest, net))
        assert distance(own, want) == 0.0
        assert distance(shared, want) == 0.0
        scalar(want).backward()
        scalar(own).backward()
        gradients = {n: p.grad for n, p in largest.named_parameters()}
        for parameter, p in model.named_parameters():
            found = gradients[parameter]
            assert (found is None) == (p.grad is None)
            assert found is None or torch.equal(found, p.grad)
    for got in (largest.state_dict(), net.state_dict()):  # a training step moved the statistics
        assert got.keys() == model.state_dict().keys()
        for key, value in model.state_dict().items():
            assert torch.equal(got[key], value), key


@pytest.mark.parametrize("name", CLASSIC)
def test_the_model_brought_is_left_as_it_was(name: str) -> None:
    model, example = CLASSIC[name]()
    model.train()
    before = copy.deepcopy(model)
    inputs = copy.deepcopy(example)
    state = torch.get_rng_state()
    net = Elastic(model, example)
    run(net.at(net.space.smallest), example)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert net.training
    assert all(
        a.training == b.training for a, b in zip(model.modules(), before.modules(), strict=True)
    )
    assert distance(example, inputs) == 0.0
    for key, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)
    assert all(p.grad is None for p in model.parameters())


# -- shared and extracted are one function ----------------------------------------------------
def check_alike(name: str, count: int, *, reordered: bool) -> None:
    _, example, net = double_net(name, reordered=reordered)
    state = copy.deepcopy(net.state_dict())
    for config in configs_of(net, count):
        small = net.extract(config)
        for training in (False, True):
            net.train(training)
            small.train(training)
            net.zero_grad()
            small.zero_grad()
            shared, own = run(net.at(config), example), run(small, example)
            assert distance(shared, own) < 1e-10, (config, training)
            scalar(shared).backward()
            scalar(own).backward()
            check_gradients(net, config, small)
            if config == net.space.largest:
                net.load_state_dict(state)  # only the whole network moves its statistics
        assert all(torch.equal(net.state_dict()[k], v) for k, v in state.items())
    net.eval()


def check_gradients(net: Elastic, config: Any, small: nn.Module) -> None:
    """Those of the shared weights, cut as the weights are, are those of the extracted ones."""
    shared = {n: p.grad for n, p in net.named_weights()}
    own = {n: p.grad for n, p in small.named_parameters()}
    holder = copy.copy(net)  # gradients in the place of weights, cut by extracting them
    for name, gradient in shared.items():
        if own.get(name) is None:
            assert gradient is None or not gradient.any(), name
            continue
        assert gradient is not None, name
        plan = net.plan(config)
        cut = holder._cutter.cut_in_order(name, plan.counts, plan.windows, net._orders)
        scale = own[name].abs().max().clamp_min(1e-3)
        assert (cut(gradient) - own[name]).abs().max() <= 1e-9 * scale, name
        left = gradient.abs().sum() - own[name].abs().sum()
        assert left.abs() <= 1e-9 * gradient.abs().sum().clamp_min(1.0), name


@pytest.mark.parametrize("name", CLASSIC)
def test_shared_and_extracted_are_alike_in_both_modes_with_gradients(name: str) -> None:
    check_alike(name, 50, reordered=True)


@pytest.mark.parametrize("name", SMALL)
def test_every_difficulty_is_exact_in_both_modes_with_gradients(name: str) -> None:
    check_alike(name, 8, reordered=True)


@pytest.mark.parametrize("name", ["vgg", "vit", "convnext", "tied_transformer_encoder"])
def test_dropout_drops_the_same_units_where_the_order_is_the_models(name: str) -> None:
    check_alike(name, 8, reordered=False)


@pytest.mark.parametrize("name", CLASSIC)
def test_single_precision_agrees_to_1e_5(name: str) -> None:
    model, example = CLASSIC[name]()
    net = Elastic(model, example)
    with torch.no_grad():
        for config in configs_of(net, 50):
            assert distance(run(net.extract(config), example), run(net.at(config), example)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_many_more_configs(name: str) -> None:
    check_alike(name, 50, reordered=True)
    check_alike(name, 50, reordered=False)


# -- oracles that know nothing of axes --------------------------------------------------------
# Axes with a normalisation across them: cutting them is not zeroing them.
NORMALISED = {
    "vit": {"embed.width"},
    "swin": {"embed.width", "merge.reduction.width"},
    "convnext": {"stem.0.width", "stages.1.1.width"},
    "grouped_convolution": {"2.width"},
    "attention_by_hand": {"0.width"},
    "tied_transformer_encoder": {"encoder.layers.0.self_attn.out_proj.width"},
    "grouped_queries": {"layers.0.norm1.width"},
    "grouped_queries_by_hand": {"layers.0.norm1.width"},
}


@pytest.mark.parametrize("name", ALL)
def test_cutting_units_is_zeroing_their_parameters(name: str) -> None:
    """All free axes at once, random units of each: a cut network is the full one with zeros."""
    model, example = ALL[name]()
    model, example = doubled(model), doubled(example)
    net = Elastic(model, example, FINE)
    draws = torch.Generator().manual_seed(7)
    importance, gone, config = {}, {}, net.space.largest
    for axis in net.structure.axes:
        if axis.name in NORMALISED.get(name, ()) or axis.name not in net.space:
            continue
        options = net.space[axis.name].options[:-1]
        keep = int(options[int(torch.randint(len(options), (), generator=draws))])
        importance[axis.name] = torch.rand(axis.size, generator=draws)
        mask = torch.ones(axis.size, dtype=torch.bool)
        mask[importance[axis.name].argsort(descending=True)[:keep]] = False
        gone[axis.name] = mask
        config = config.replace({axis.name: keep})
    assert any(mask.any() for mask in gone.values())
    net.reorder(Given(importance))
    want = run(zeroed(net, model, gone), example)
    assert distance(run(net.at(config), example), want) < 1e-10
    assert distance(run(net.extract(config), example), want) < 1e-10


@pytest.mark.parametrize("name", ALL)
def test_dead_units_are_found_and_cut_without_a_trace(name: str) -> None:
    """Half of each free axis is planted dead in the model; importance has to find just those."""
    from supple.elastic.importance import Magnitude

    model, example = ALL[name]()
    model, example = doubled(model), doubled(example)
    net = Elastic(model, example, FINE)
    draws = torch.Generator().manual_seed(11)
    free = [a for a in net.structure.axes if a.name not in NORMALISED.get(name, ())]
    gone, config = {}, {}
    for axis in free:
        if axis.name in net.space:
            config[axis.name] = int(net.space[axis.name].options[1])
            gone[axis.name] = torch.ones(axis.size, dtype=torch.bool)
            alive = torch.randperm(axis.size, generator=draws)[: config[axis.name]]
            gone[axis.name][alive] = False
    model = zeroed(net, model, gone)
    net = Elastic(model, example, FINE)
    net.reorder(Magnitude())
    got = run(net.at(net.space.largest.replace(config)), example)
    assert distance(got, run(model, example)) < 1e-10
