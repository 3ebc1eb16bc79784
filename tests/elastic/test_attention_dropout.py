"""One captured graph serves both modes where they differ by the dropout of fused attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple import Elastic

X = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


class Attention(nn.Module):
    """Two heads of width 8, with dropout inside the attention."""

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        mixed = self.attend(*heads, self.rate if self.training else 0.0)
        return x + self.out(mixed.transpose(1, 2).flatten(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rate: float) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate)


class OtherFunctions(Attention):
    """In training it clips too, which changes nothing on most inputs."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rate: float) -> Tensor:
        return super().attend(q.clamp(-1e3, 1e3) if self.training else q, k, v, rate)


class OtherScale(Attention):
    """In training the same functions compute something else."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rate: float) -> Tensor:
        scale = 0.5 if self.training else 0.25
        return F.scaled_dot_product_attention(q, k, v, None, rate, scale=scale)


class OtherCount(Attention):
    """In training there is one attention more."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rate: float) -> Tensor:
        once = super().attend(q, k, v, rate)
        return super().attend(once, k, v, rate) if self.training else once


def encoder() -> nn.Module:
    """Torch's own layer, whose attention is hidden in one function; it has a way past it, too."""
    return nn.TransformerEncoderLayer(16, 2, 32, dropout=0.3, batch_first=True)


def made(make: type[Attention] | object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make().eval()  # type: ignore[operator]


def outputs(*networks: nn.Module, training: bool) -> list[Tensor]:
    found = []
    for network in networks:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            found.append(network.train(training)(X))
    return found


@pytest.mark.parametrize(
    ("make", "graphs"),
    [(Attention, 1), (encoder, 1), (OtherFunctions, 2), (OtherScale, 2), (OtherCount, 2)],
)
def test_the_network_is_the_model_in_both_modes(make: type[Attention], graphs: int) -> None:
    model = made(make)
    net = Elastic(model, (X,))
    assert len(net.structure.analysis.captures) == graphs
    largest, native = (net.extract(net.space.largest, prefer=p) for p in ("graph", "native"))
    for training in (True, False):
        want, *found = outputs(model, net, largest, native, training=training)
        for got in found:
            torch.testing.assert_close(got, want)
    dropped, whole = (outputs(net, training=training)[0] for training in (True, False))
    assert not torch.allclose(dropped, whole)


def test_a_sub_network_drops_attention_only_in_training() -> None:
    net = Elastic(made(Attention), (X,))
    config = net.space.smallest
    shared, own = net.at(config), net.extract(config, prefer="graph")
    for training in (True, False):
        net.train(training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            want = shared(X)
        torch.testing.assert_close(outputs(own, training=training)[0], want)


def test_a_rate_of_nothing_needs_no_rates() -> None:
    net = Elastic(Attention(rate=0.0).eval(), (X,))
    (graph,) = net.structure.analysis.captures
    assert not graph.rates


def test_what_is_set_for_all_of_torch_is_left_as_it_was() -> None:
    for is_fused in (True, False):
        torch.backends.mha.set_fastpath_enabled(is_fused)
        try:
            Elastic(made(encoder), (X,))
            assert torch.backends.mha.get_fastpath_enabled() is is_fused
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
