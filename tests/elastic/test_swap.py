"""Swap points: every combination of blocks from one set of weights, and warm starts."""

import functools

import pytest
import torch
from torch import nn

import supple.space
from supple.blocks.dice import Dice
from supple.blocks.groupsort import MaxMin
from supple.blocks.snnk import SNNKLinear
from supple.elastic import Elastic, Elasticity
from supple.elastic.swap import swap, swapped
from supple.errors import SpaceError, TraceError
from supple.search import strategy
from supple.space import Condition, Space
from supple.study import Study
from supple.trace import SwapPoint


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(12, 24), nn.ReLU(inplace=True), nn.Linear(24, 12)

    def forward(self, x):
        return x + self.down(self.act(self.up(x)))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), Block(), Block(), nn.Linear(12, 4))


def normed(linear):
    """A block with batch norm, given as a function of what was there."""
    if not isinstance(linear, nn.Linear):
        return None
    return nn.Sequential(
        nn.Linear(linear.in_features, 10),
        nn.BatchNorm1d(10),
        nn.Tanh(),
        nn.Linear(10, linear.out_features),
    )


def opened(**settings):
    blocks = {
        "*.down": {"snnk": functools.partial(SNNKLinear, num_features=16), "normed": normed},
        "*.act": [MaxMin, nn.Tanh],
    }
    return swap(network(), blocks, **settings)


@pytest.fixture(scope="module")
def made():
    model = opened(inputs=(drawn(64, 8),))
    return model, Elastic(model, (drawn(5, 8),))


def set_to(model, config):
    for name, module in model.named_modules():
        if isinstance(module, SwapPoint):
            module.active = config[f"{name}.swap"]
    return model


def test_the_space_has_a_choice_for_each_place_beside_width_and_depth(made):
    space = made[1].space
    assert space["1.down.swap"].options == ("original", "snnk", "normed")
    assert space["2.act.swap"].options == ("original", "MaxMin", "Tanh")
    assert {choice.kind for choice in space.values()} == {"swap", "width", "depth"}
    inside = Condition(choice="1.depth", options=(2,))
    assert space["2.act.swap"].when == (inside,)
    assert space["2.down.swap"].when == (inside,)
    own = space["1.down.alternatives.normed.0.width"]
    assert own.when == (Condition(choice="1.down.swap", options=("normed",)),)
    assert Space.from_json(space.to_json()) == space


def test_the_largest_config_is_the_model_that_was_brought(made):
    model, net = made
    x = drawn(7, 8, seed=3)
    assert torch.allclose(net.eval()(x), network().eval()(x), atol=1e-6)
    assert net.space.largest["1.down.swap"] == "original"
    assert network()[1].act.inplace, "the model itself is not changed"
    assert not model[1].act.alternatives["original"].inplace


def combinations(space, count):
    """Whole networks with every alternative of every place among them."""
    for i in range(count):
        changes = {
            name: choice.options[(i + place) % len(choice.options)]
            for place, (name, choice) in enumerate(space.items())
            if choice.kind == "swap"
        }
        yield space.validate(dict(space.largest) | changes)


def test_every_combination_is_the_model_with_these_blocks(made):
    model, net = made
    x = drawn(7, 8, seed=3)
    net.eval()
    for config in combinations(net.space, 3):
        want = set_to(model, config).eval()(x)
        small = net.extract(config)
        assert torch.allclose(net.at(config)(x), want, atol=1e-5)
        assert torch.allclose(small(x), want, atol=1e-5)
        inside = [n.split(".") for n in small.state_dict() if n.startswith("1.down.")]
        assert {parts[3] for parts in inside} == {config["1.down.swap"]}


@pytest.mark.parametrize("training", [False, True])
def test_shared_equals_extracted_for_any_config(made, training):
    _, net = made
    net.train(training)
    x = drawn(6, 8, seed=4)
    for seed in range(12):
        config = net.space.sample(seed=seed)
        assert torch.allclose(net.at(config)(x), net.extract(config)(x), atol=1e-5)


def test_only_the_alternative_that_runs_learns(made):
    _, net = made
    net.train().zero_grad()
    config = net.space.validate(dict(net.space.largest) | {"1.down.swap": "snnk"})
    net.at(config)(drawn(5, 8)).square().sum().backward()
    weights = dict(net.named_parameters())
    assert weights["1.down.alternatives.snnk.psi"].grad.abs().sum() > 0
    for name in ("original.weight", "normed.0.weight"):
        grad = weights[f"1.down.alternatives.{name}"].grad
        assert grad is None or grad.abs().sum() == 0
    assert weights["2.down.alternatives.original.weight"].grad.abs().sum() > 0


def test_evaluation_in_training_mode_leaves_the_statistics_of_others(made):
    _, net = made
    before = {n: b.clone() for n, b in net.named_buffers() if "running" in n}
    net.train()
    net.at(net.space.smallest)(drawn(5, 8))
    assert all(torch.equal(b, dict(net.named_buffers())[n]) for n, b in before.items())


@pytest.mark.parametrize(
    ("name", "settings"), [("nsga2", {"population": 4}), ("random", {"population": 4})]
)
def test_any_strategy_searches_it(made, name, settings):
    net = made[1].eval()
    x = drawn(32, 8, seed=5)
    goal = net.at(net.space.validate(dict(net.space.largest) | {"1.act.swap": "Tanh"}))(x).detach()
    directions = {"loss": "min"}

    def loss(config):
        with torch.no_grad():
            return {"loss": (net.at(config)(x) - goal).square().mean().item()}

    study = Study.open(None, space=net.space, directions=directions)
    study.run(loss, strategy(name, space=net.space, directions=directions, seed=0), evaluations=12)
    found = {trial.config["1.act.swap"] for trial in study.trials}
    assert len(study.trials) == 12
    assert len(found) > 1


def test_a_block_that_is_linear_in_its_weights_is_solved():
    """Random features onto a target they span: fitted to rounding on samples not seen."""
    x = drawn(400, 6).double()
    goal = SNNKLinear(in_features=6, out_features=3, num_features=20, dtype=torch.float64)
    model = nn.Sequential(goal)

    def same_features(_module):
        return SNNKLinear(in_features=6, out_features=3, num_features=20, dtype=torch.float64)

    (fact,) = swapped(swap(model, {"0": {"again": same_features}}, inputs=(x,)))
    assert fact.start == "fitted"
    assert fact.error < 1e-3
    (fresh,) = swapped(swap(model, {"0": {"again": same_features}}, inputs=(x,), warm_start=False))
    assert fresh.start == "fresh"
    assert fresh.error > 10 * fact.error


def test_the_error_told_is_on_samples_that_were_not_fitted():
    model = nn.Sequential(nn.Linear(6, 3))
    x = drawn(40, 6)
    point = swap(model, {"0": [functools.partial(SNNKLinear, num_features=64)]}, inputs=(x,))[0]
    (fact,) = swapped(point)
    other = point.alternatives["SNNKLinear_num_features_64"].eval()
    unseen, seen = (
        float(((other(v) - model(v)).norm() / model(v).norm()).detach()) for v in (x[30:], x[:30])
    )
    assert fact.error == pytest.approx(unseen, rel=1e-4)
    assert seen < fact.error


def test_sizes_are_matched_by_parameters_and_by_latency():
    model, x = nn.Sequential(nn.Linear(32, 48)), drawn(64, 32)
    settings = {"inputs": (x,), "warm_start": False}
    (fact,) = swapped(swap(model, {"0": [SNNKLinear]}, match="parameters", **settings))
    assert fact.original_parameters == 32 * 48 + 48
    assert fact.parameters == 48 * 33  # one feature for each row of weights and bias
    point = swap(model, {"0": [SNNKLinear]}, match="latency", **settings)[0]
    assert 1 <= point.alternatives["SNNKLinear"].num_features <= 1024


def test_activations_with_channels_are_sized_by_what_comes_in():
    point = swap(network(), {"1.act": [Dice]}, inputs=(drawn(9, 8),))[1].act
    assert point.alternatives["Dice"].num_features == 24


def test_elasticity_may_leave_swaps_out():
    model = opened()
    whole = Elastic(model, (drawn(5, 8),), Elasticity(swaps=False))
    assert not [c for c in whole.space.values() if c.kind == "swap"]
    some = Elastic(model, (drawn(5, 8),), Elasticity(fixed=("*.act.swap",)))
    assert {n for n, c in some.space.items() if c.kind == "swap"} == {"1.down.swap", "2.down.swap"}


def test_the_report_lists_the_alternatives(made):
    row = next(r for r in made[1].report().elastic if r.name == "1.down.swap")
    assert (row.kind, row.members) == ("swap", ("original", "snnk", "normed"))


def test_it_is_a_name_of_the_space_room():
    assert supple.space.swap is swap


def test_errors():
    with pytest.raises(SpaceError, match="leads to no alternative"):
        swap(network(), {"*.nothing": [nn.Tanh]})
    with pytest.raises(SpaceError, match="none of the blocks fits"):
        swap(network(), {"*.down": [nn.Conv2d]})
    with pytest.raises(SpaceError, match="without inputs"):
        swap(network(), {"*.down": [SNNKLinear]}, match="latency")
    with pytest.raises(SpaceError, match="cannot stand in '0'"):
        swap(nn.Sequential(nn.Linear(3, 3)), {"0": [functools.partial(SNNKLinear, kernel="no")]})
    other = swap(nn.Sequential(nn.Linear(3, 3)), {"0": [lambda _: nn.Linear(3, 4)]})
    with pytest.raises(TraceError, match="must take and give the same"):
        Elastic(other, (drawn(2, 3),))
