"""Peak memory against closed forms: fixed bytes plus the largest set of live activations."""

from itertools import pairwise

import torch
from torch import nn

from supple.measure import PeakMemory


def bytes_of(*tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


def test_an_mlp_holds_two_neighbouring_activations():
    """In a Sequential an activation dies when the next one is there."""
    widths, batch = (10, 100, 50, 3), 7
    layers = [layer for n, m in pairwise(widths) for layer in (nn.Linear(n, m), nn.Tanh())]
    network, x = nn.Sequential(*layers[:-1]), torch.randn(batch, 10)
    fixed = bytes_of(x, *network.parameters())
    # The largest pair is the first Linear's output with its Tanh's.
    largest_pair = 100 + 100
    found = PeakMemory(example=x).measure(network)
    assert found.value == fixed + 4 * batch * largest_pair
    assert found.details["fixed_bytes"] == fixed
    assert found.details["activation_bytes"] == 4 * batch * largest_pair
    assert found.details["operator"] == "aten.tanh.default"


def test_working_in_place_saves_the_second_activation():
    x = torch.randn(7, 10)
    network = nn.Sequential(nn.Linear(10, 100), nn.ReLU(inplace=True), nn.Linear(100, 3))
    found = PeakMemory(example=x).measure(network)
    assert found.value == bytes_of(x, *network.parameters()) + 4 * 7 * (100 + 3)


def test_a_skip_connection_is_held_to_its_end():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(20, 20), nn.Linear(20, 20)

        def forward(self, x):
            kept = self.one(x)
            return kept + self.two(torch.tanh(kept))

    x, network = torch.randn(5, 20), Skip()
    # At the second Linear: kept, tanh and its own output; at the sum: kept, output and sum.
    expected = bytes_of(x, *network.parameters()) + 4 * 5 * 20 * 3
    assert PeakMemory(example=x).measure(network).value == expected


def test_views_cost_nothing_and_buffers_count():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.zeros(1000, dtype=torch.float64))

        def forward(self, x):
            return x.view(2, -1).t().reshape(-1)[:0]

    x = torch.randn(2, 30)
    found = PeakMemory(example=x).measure(Views())
    copied = 60 * 4  # the reshape of a transposed view
    assert found.value == 8000 + 240 + copied


def test_it_is_the_same_every_time_and_scales_with_the_batch():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    small, large = torch.randn(1, 3, 9, 9), torch.randn(4, 3, 9, 9)
    one = [PeakMemory(example=small).measure(network) for _ in range(3)]
    assert one[0] == one[1] == one[2]
    four = PeakMemory(example=large).measure(network)
    assert four.details["activation_bytes"] == 4 * one[0].details["activation_bytes"]
    assert network.training
