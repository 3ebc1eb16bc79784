"""Transformable search: interpolation, counted and expected cost, mixing, the search itself."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.prune.transformable import (
    ConvSizes,
    SearchableConvNet,
    WidthDepthSearch,
    _gumbel,
    _two_of,
    channel_interpolate,
    cost_loss,
    width_candidates,
)
from supple.errors import CompressError
from supple.measure import MACs

X = torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = (X.mean((1, 2, 3)) > 0).long()


def test_interpolation_is_adaptive_pooling_over_channels():
    x = torch.randn(2, 12, 3, 5)
    for channels in (1, 4, 5, 7, 12, 20):
        found = channel_interpolate(x, channels)
        for i, j in ((0, 0), (2, 3)):
            expected = F.adaptive_avg_pool1d(x[:, None, :, i, j].flatten(1)[:, None], channels)[
                :, 0
            ]
            torch.testing.assert_close(found[:, :, i, j], expected)
    assert channel_interpolate(x, 12) is x
    torch.testing.assert_close(channel_interpolate(x, 4).mean(1), x.mean(1))


def test_candidates():
    assert width_candidates(10) == (3, 4, 5, 6, 7, 8, 9, 10)
    assert width_candidates(2) == (1, 2)
    net = SearchableConvNet(stages=((8, 1), (8, 2), (8, 3), (8, 6)))
    assert net.depths == ((1,), (1, 2), (1, 2, 3), (1, 3, 5, 6))


@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_counted_and_expected_cost_are_those_of_the_plain_network(which):
    net = SearchableConvNet(stages=((8, 2), (12, 4)), in_channels=2, classes=3, size=8)
    sizes = getattr(net, which)()
    plain = net.plain(sizes).eval()
    assert net.macs(sizes) == MACs(example=torch.ones(1, 2, 8, 8)).measure(plain).value
    with torch.no_grad():
        for logits in net.sizes_parameters():
            logits.zero_()
            logits[-1 if which == "largest" else 0] = 60.0  # one-hot
    assert net.chosen() == sizes
    assert float(net.expected_macs().detach()) == pytest.approx(net.macs(sizes), rel=1e-5)


def test_with_one_candidate_it_is_the_plain_network():
    net = SearchableConvNet(stages=((1, 1), (1, 1)), classes=2).eval()
    plain = net.plain(ConvSizes(widths=((1,), (1,)))).eval()
    plain[0].weight.data.copy_(net.convs[0].conv.weight)
    plain[4].weight.data.copy_(net.convs[1].conv.weight)
    plain[9].load_state_dict(net.head.state_dict())
    torch.testing.assert_close(net(X), plain(X))


def test_mixing_weights_carry_the_gradient_and_two_different_places_are_drawn():
    logits = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    for seed in range(20):
        places, weights = _two_of(logits, 0.7, torch.Generator().manual_seed(seed))
        assert len({*places}) == 2
        assert float(weights.detach().sum()) == pytest.approx(1)

    def mixed(values):
        z = _gumbel(values, 0.7, torch.Generator().manual_seed(1))
        return F.softmax(z[[0, 2]], 0)

    assert torch.autograd.gradcheck(mixed, (logits,))
    places, weights = _two_of(logits, 0.7, torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(weights[0], logits)
    assert (gradient != 0).sum() == 2  # the draw of the places has none


def test_the_cost_loss_pushes_to_the_target():
    expected = torch.tensor(50.0, requires_grad=True)
    assert cost_loss(expected, 60, 40, 5).item() == pytest.approx(math.log(50))
    assert cost_loss(expected, 30, 40, 5).item() == pytest.approx(-math.log(50))
    assert cost_loss(expected, 38, 40, 5).item() == 0


def test_the_search_comes_near_its_target_and_follows_its_seed():
    def search():
        torch.manual_seed(0)
        net = SearchableConvNet(stages=((6, 1), (8, 2)), classes=2)
        settings = {"target": 0.5, "tolerance": 0.15, "epochs": 30, "size_lr": 0.1, "lr": 0.05}
        return net, WidthDepthSearch(**settings, batch_size=16).fit(net, X, Y, seed=3)

    net, sizes = search()
    assert net.training
    share = net.macs(sizes) / net.macs(net.largest())
    assert 0.35 <= share <= 0.5
    again = search()[1]
    assert again == sizes
    assert isinstance(net.plain(sizes)[0], nn.Conv2d)


def test_targets_that_cannot_be_reached_are_refused():
    net = SearchableConvNet(stages=((8, 1),))
    with pytest.raises(CompressError, match=r"What can be reached is 0\.2"):
        WidthDepthSearch(target=0.01).fit(net, X, Y)
    with pytest.raises(CompressError, match=r"stages \(\)"):
        SearchableConvNet(stages=())
