"""Merging channels: exact for duplicates, by the formula, and honest about what it cannot."""

import pytest
import torch
from torch import nn

from supple.compress.prune import feature_complexity, merge_channels
from supple.compress.prune.merge_channels import _fine, _layers
from supple.errors import CompressError

X = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(0))


def conv_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.Sigmoid(),
            nn.Flatten(), nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 3),
        )  # fmt: skip
    model[1].running_mean.copy_(torch.randn(6))
    model[1].running_var.copy_(torch.rand(6) + 0.5)
    return model.eval()


def duplicate(model, norm, into, out, a, b, positions=1):
    """Channel b becomes equal to channel a in all that comes in and goes out."""
    with torch.no_grad():
        for tensor in (model[into].weight, model[into].bias):
            tensor[b] = tensor[a]
        if norm is not None:
            for tensor in (model[norm].weight, model[norm].bias, model[norm].running_mean,
                           model[norm].running_var):  # fmt: skip
                tensor[b] = tensor[a]
        weight = model[out].weight
        for p in range(positions):
            weight[:, b * positions + p] = weight[:, a * positions + p]


@pytest.mark.parametrize("normalised", [False, True])
def test_equal_channels_are_found_and_merging_them_changes_nothing(normalised):
    model = conv_network()
    duplicate(model, 1, 0, 3, 1, 4)
    duplicate(model, None, 3, 6, 0, 2, positions=4)
    duplicate(model, None, 6, 8, 3, 7)
    duplicate(model, None, 6, 8, 3, 5)
    expected = model(X)
    found = merge_channels(model, X, beta=1e-12, normalised=normalised)
    assert found.groups["0.width"] == ((0,), (1, 4), (2,), (3,), (5,))
    assert found.groups["3.width"] == ((0, 2), (1,), (3,), (4,))
    assert (3, 5, 7) in found.groups["6.width"]
    assert len(found.groups["6.width"]) == 6
    torch.testing.assert_close(found.network(X), expected, rtol=1e-4, atol=1e-5)
    assert found.network[0].out_channels == 5
    torch.testing.assert_close(model(X), expected, rtol=0, atol=0)


def test_distances_are_those_of_all_entries_a_channel_owns():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    (layer,), _ = _layers(_fine(model, X), model)
    rows = layer.vectors(False)
    for k in range(3):
        own = torch.cat([model[0].weight[k].flatten(), model[3].weight[:, 16 * k : 16 * k + 16].T
                         .flatten()]).double()  # fmt: skip
        assert sorted(rows[k].tolist()) == sorted(own.tolist())


def test_the_ends_of_beta_and_the_cap():
    model = conv_network()
    assert merge_channels(model, X, beta=0.0).complexity == {"0.width": 6, "3.width": 5,
                                                             "6.width": 8}  # fmt: skip
    assert {*merge_channels(model, X, beta=1.0).complexity.values()} == {1}
    half = merge_channels(model, X, beta=1.0, most=0.5).complexity
    assert half == {"0.width": 3, "3.width": 3, "6.width": 4}
    found = feature_complexity(model, X, (0.0, 0.5, 0.8, 1.0))
    for counts in found.values():
        assert counts == sorted(counts, reverse=True)


def test_more_than_two_are_averaged_by_their_numbers():
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.1], [1.3], [9.0]]))
        model[2].weight.copy_(torch.ones(1, 4))
    found = merge_channels(model, torch.ones(1, 1), beta=0.1)
    assert found.groups["0.width"] == ((0, 1, 2), (3,))
    assert float(found.network[0].weight.detach()[0]) == pytest.approx((1.0 + 1.1 + 1.3) / 3)
    assert found.network[2].weight.tolist() == [[3.0, 1.0]]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        x = self.stem(x).relu()
        return self.head(x + self.inner(self.body(x).relu()))


def test_layers_of_one_residual_stream_merge_together():
    torch.manual_seed(0)
    model = Residual().eval()
    with torch.no_grad():
        for tensor in (model.stem.weight, model.stem.bias, model.inner.weight, model.inner.bias,
                       model.body.weight.T, model.head.weight.T):  # fmt: skip
            tensor[5] = tensor[2]
    x = torch.randn(4, 3)
    found = merge_channels(model, x, beta=0.0)
    assert (2, 5) in found.groups["stem.width"]
    torch.testing.assert_close(found.network(x), model(x))
    assert found.network.head.in_features == 5


def test_the_order_of_channels_does_not_matter():
    model = conv_network()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    other = conv_network()
    with torch.no_grad():
        for tensor, source in (
            (other[0].weight, model[0].weight),
            (other[0].bias, model[0].bias),
            (other[1].weight, model[1].weight),
            (other[1].bias, model[1].bias),
        ):
            tensor.copy_(source[order])
        other[1].running_mean.copy_(model[1].running_mean[order])
        other[1].running_var.copy_(model[1].running_var[order])
        other[3].weight.copy_(model[3].weight[:, order])
    a = merge_channels(model, X, beta=0.8).groups["0.width"]
    b = merge_channels(other, X, beta=0.8).groups["0.width"]
    assert {frozenset(order[i].item() for i in group) for group in b} == {*map(frozenset, a)}


def test_what_cannot_be_merged_is_named():
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 3, 1))
    found = merge_channels(model, X, beta=1.0)
    assert found.groups == {}
    assert all("grouped" in reason for reason in found.left_whole.values())
    assert found.left_whole
    with pytest.raises(CompressError, match="beta=2"):
        merge_channels(model, X, beta=2)
