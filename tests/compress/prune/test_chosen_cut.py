"""The cut that a recipe makes: least harmful of several, in sizes that processors like."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.prune._chosen_cut import chosen_cut, stream_axes
from supple.elastic import Elastic
from supple.errors import DataError


class Block(nn.Module):
    """A residual branch, the second half of whose hidden units does nothing."""

    def __init__(self, width, hidden, dead):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        if dead:
            with torch.no_grad():
                for weight in (self.up.weight, self.up.bias):
                    weight[hidden // 2 :] = 0
                self.down.weight[:, hidden // 2 :] = 0

    def forward(self, x):
        return x + self.down(self.up(x).relu())


def network(hidden=64, *, width=16, dead=True):
    torch.manual_seed(0)
    blocks = [Block(width, hidden, dead) for _ in range(2)]
    return nn.Sequential(nn.Linear(4, width), *blocks, nn.Linear(width, 3)).eval()


def batches(count=4):
    draws = torch.Generator().manual_seed(1)
    xs = torch.randn(count, 32, 4, generator=draws)
    return [(x, x[:, :3].argmax(1)) for x in xs]


def cut(model, ratio, given=None, loss=F.cross_entropy):
    given = batches() if given is None else given
    return chosen_cut(model, ratio, example=torch.ones(2, 4), batches=given, loss=loss)


def test_the_stream_is_what_the_residual_sums_pass_on():
    net = Elastic(network(), (torch.ones(2, 4),))
    assert stream_axes(net) == {"0.width"}
    assert {a.name for a in net.structure.axes} == {"0.width", "1.up.width", "2.up.width"}


def test_units_that_do_nothing_go_and_the_stream_stays():
    """The model's own outputs are the targets, so no cut has a lower loss than the right one."""
    model = network()
    with torch.no_grad():
        given = [(x, model(x)) for x, _ in batches()]
    found = cut(model, 0.45, given, F.mse_loss)
    x = torch.randn(5, 4)
    torch.testing.assert_close(found.network(x), model(x))
    assert [found.config[n] for n in ("0.width", "1.up.width", "2.up.width")] == [16, 32, 32]
    assert found.parameters_after <= 0.55 * found.parameters_before
    assert found.parameters_after == sum(p.numel() for p in found.network.parameters())


def test_the_cut_with_the_lowest_loss_is_kept(monkeypatch):
    """Against each of the four by itself, on the batches that decide."""
    from supple.compress.prune import _chosen_cut

    seen = []
    tried = _chosen_cut._tried

    def recorded(*args):
        for one in tried(*args):
            seen.append(one)
            yield one

    monkeypatch.setattr(_chosen_cut, "_tried", recorded)
    found = cut(network(256, width=128, dead=False), 0.5)
    held = batches()[2:]
    with torch.no_grad():
        losses = [sum(F.cross_entropy(o.network(x), y).item() for x, y in held) / 2 for o in seen]
    assert len({one.how for one in seen}) == 4
    assert [one.loss for one in seen] == pytest.approx(losses)
    assert found.network is seen[losses.index(min(losses))].network


def test_widths_are_multiples_of_eight():
    config = cut(network(dead=False), 0.6).config
    assert all(size % 8 == 0 for size in config.values())


def test_a_share_that_multiples_do_not_reach_is_reached_by_any_width():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    found = cut(model, 0.5)
    assert dict(found.config) == {"0.width": 3}  # 3 * (4 + 1 + 3) + 3 of 67
    assert found.notes == ("Cut in all axes, by magnitude; widths are any number.",) or (
        found.notes == ("Cut in all axes, by taylor; widths are any number.",)
    )


def test_multiples_that_would_remove_much_more_are_not_kept_to():
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    config = dict(cut(model, 0.51).config)
    assert config == {"0.width": 15}  # 16 keep half, 8 a quarter


def test_a_share_that_cannot_be_reached_is_told():
    found = cut(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), 0.95)
    assert dict(found.config) == {"0.width": 1}
    assert "were removed, not 95.0%" in found.notes[-1]


def test_the_model_stays_as_it_was():
    model = network(dead=False)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    cut(model, 0.5)
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_no_batches_are_refused():
    with pytest.raises(DataError):
        cut(network(), 0.5, given=[])
