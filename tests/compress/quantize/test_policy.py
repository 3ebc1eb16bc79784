"""Bits of layers as choices: which layers, when they count, and what a config says of them."""

import itertools

import pytest
import torch

from supple import Elastic
from supple.compress.quantize.onnx_graph import record
from supple.compress.quantize.policy import QuantPolicy
from supple.errors import ConfigError, SpaceError
from supple.space import Space
from supple.tasks.digits import DigitsNet

EXAMPLE = (torch.zeros(2, 1, 8, 8),)


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Elastic(DigitsNet(width=4, blocks=2).eval(), EXAMPLE)


@pytest.fixture(scope="module")
def policy(net):
    return QuantPolicy.of(net, EXAMPLE)


def test_every_layer_of_the_full_network_has_its_bits(net, policy):
    weights = [n for n, p in DigitsNet(width=4, blocks=2).named_parameters() if p.dim() >= 2]
    assert sorted(policy.layers) == sorted(n.removesuffix(".weight") for n in weights)
    assert len(policy.layers) == 16
    assert tuple(policy.space) == (*net.space, *(f"{layer}.bits" for layer in policy.layers))
    assert {policy.space[f"{layer}.bits"].options for layer in policy.layers} == {(8, 32)}
    assert Space.from_data(policy.space.to_data()) == policy.space


def test_active_bits_are_exactly_those_of_the_layers_that_are_there(net, policy):
    """For every combination of depths, which is what leaves layers out."""
    depths = {name: c.options for name, c in net.space.items() if c.kind == "depth"}
    assert depths
    for seed in range(12):
        architecture = net.space.sample(seed=seed)
        network = net.extract(architecture, prefer="graph").eval()
        there = record(network, EXAMPLE).layers
        config = policy.config(architecture)
        assert set(policy.bits(config)) == set(there)
        assert set(policy.int8_layers(config)) == set(there)
        assert len({policy.config(net.space.sample(seed=seed)).id for _ in range(2)}) == 1


def test_bits_of_layers_that_are_gone_do_not_count(net, policy):
    small = net.space.smallest
    gone = set(policy.layers) - set(policy.bits(policy.config(small)))
    assert gone
    one = policy.config(small, int8=[])
    other = policy.config(small, int8=sorted(gone))
    assert one == other
    assert policy.int8_layers(other) == ()


def test_a_config_says_structure_and_bits(net, policy):
    config = policy.config(net.space.smallest, int8=["stem", "head"])
    assert policy.architecture(config) == net.space.smallest
    assert policy.int8_layers(config) == ("stem", "head")
    assert policy.bits(config)["stage2.0.conv1"] == 32
    assert policy.config(net.space.largest, int8=()) == policy.space.largest


def test_the_joint_space_is_counted_without_doubles(net, policy):
    depths = [name for name, choice in net.space.items() if choice.kind == "depth"]
    expected = 0
    for options in itertools.product(*(net.space[name].options for name in depths)):
        structures = net.space.restrict(dict(zip(depths, options, strict=True)))
        layers = policy.bits(policy.config(structures.largest))
        expected += structures.size * 2 ** len(layers)
    assert policy.space.size == expected


def test_one_kind_of_bits_may_be_asked_for(net):
    assert set(QuantPolicy.of(net, EXAMPLE, bits=(8,)).space["stem.bits"].options) == {8}


def test_wrong_requests_say_what_is_right(net, policy):
    with pytest.raises(SpaceError, match="int8 and float32"):
        QuantPolicy.of(net, EXAMPLE, bits=(4, 32))
    with pytest.raises(ConfigError, match="no layer 'stm'"):
        policy.config(net.space.largest, int8=["stm"])
    with pytest.raises(ConfigError):
        policy.bits({"stem.bits": 8})
