"""The measures that need no training, each against a closed form."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from supple.errors import MeasureError
from supple.measure import GradientNorm, JacobianCovariance, NTKCondition, SynFlow


def generator():
    return torch.Generator().manual_seed(0)


def network(*sizes, bias=False):
    layers = []
    for inner, outer in itertools.pairwise(sizes):
        layers += [nn.Linear(inner, outer, bias=bias), nn.ReLU()]
    built = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator()))
    return built


BATCH = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
MEASURES = [
    SynFlow(example=BATCH),
    GradientNorm(example=BATCH, targets=torch.arange(6) % 3),
    NTKCondition(example=BATCH),
    JacobianCovariance(example=BATCH),
]


def test_the_flow_is_layers_times_the_weight_of_all_paths():
    net = network(5, 7, 4, 3)
    matrices = [layer.weight.detach().double().abs().numpy() for layer in net[::2]]
    paths = np.ones(3) @ matrices[2] @ matrices[1] @ matrices[0] @ np.ones(5)
    assert SynFlow(example=BATCH).measure(net).value == pytest.approx(np.log(3 * paths))


def test_batch_norms_do_not_stand_in_the_way_of_the_flow():
    plain = network(5, 7, 3)
    normed = nn.Sequential(plain[0], nn.BatchNorm1d(7), *plain[1:])
    normed[1].running_mean += 3.0
    normed[1].running_var *= 9.0
    # Two layers and the weights of the norm, which are 1: three times the paths, not twice.
    more = (
        SynFlow(example=BATCH).measure(normed).value - SynFlow(example=BATCH).measure(plain).value
    )
    assert more == pytest.approx(np.log(3 / 2), abs=1e-6)


def test_a_network_that_lets_nothing_pass_is_refused():
    layer = nn.Linear(5, 2, bias=False)
    nn.init.zeros_(layer.weight)
    with pytest.raises(MeasureError, match="No signal passes"):
        SynFlow(example=BATCH).measure(layer)


def test_the_gradient_norm_of_a_softmax_layer_in_closed_form():
    net, targets = network(5, 3, bias=True), torch.arange(6) % 3
    scores = net(BATCH).detach().double()
    pull = (scores.softmax(dim=1) - nn.functional.one_hot(targets, 3)) / 6
    expected = (pull.T @ BATCH.double()).norm() + pull.sum(dim=0).norm()
    found = GradientNorm(example=BATCH, targets=targets).measure(net).value
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_the_tangent_kernel_of_a_linear_model_is_the_product_of_its_inputs():
    batch = torch.randn(4, 5, generator=generator()).double()
    values = torch.linalg.eigvalsh(batch @ batch.T + 1)  # the bias adds one
    found = NTKCondition(example=batch.float()).measure(network(5, 1, bias=True)).value
    assert found == pytest.approx(float((values[-1] / values[0]).log()), abs=1e-4)


def test_the_condition_is_bounded_where_samples_are_the_same():
    twice = BATCH[:1].repeat(2, 1)
    found = NTKCondition(example=twice).measure(network(5, 1)).value
    assert found == pytest.approx(np.log(1e12), abs=0.2)


def test_slopes_that_have_nothing_in_common_get_the_largest_score():
    class Square(nn.Module):
        def forward(self, x):
            return (x**2).sum(dim=1)  # the slope is 2 x

    # Rows of a Hadamard matrix without its constant one: means of 0, at right angles.
    rows = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    found = JacobianCovariance(example=rows).measure(Square()).value
    assert found == pytest.approx(-3 * (np.log(1 + 1e-5) + 1 / (1 + 1e-5)))
    alike = torch.stack([rows[0], rows[0], rows[2]])
    assert JacobianCovariance(example=alike).measure(Square()).value < -90_000


def test_slopes_by_whole_numbers_do_not_exist():
    with pytest.raises(MeasureError, match="two samples of floating-point"):
        JacobianCovariance(example=torch.ones(3, 2, dtype=torch.int64)).measure(nn.Embedding(3, 2))


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_the_network_is_afterwards_as_it_was(measure):
    net = network(5, 7, 3, bias=True).train()
    net[0].weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    state = torch.get_rng_state()
    first, second = measure.measure(net), measure.measure(net)
    assert first.value == second.value
    assert net.training
    assert not net[0].weight.requires_grad
    assert net[0].weight.dtype == torch.float32
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_networks_that_give_no_tensor_are_refused(measure):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(MeasureError, match="gives one tensor"):
        measure.measure(Pair())
