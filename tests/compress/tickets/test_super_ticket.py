"""SuperTickets: exact shrinking, ratios on schedule, prices by hand, transfer."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.mask import density, masks_of, plain_state, prunable
from supple.compress.prune import prune
from supple.compress.tickets import BNScaleL1, SuperTicket, shrink, transfer_masks
from supple.compress.tickets.super_ticket import channel_costs
from supple.elastic.training import Batches, Recipe, StepContext
from supple.errors import CompressError

X = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = (X.mean((1, 2, 3)) > 0).long()
DATA = Batches(X, Y, batch_size=16)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2),
        )  # fmt: skip


def run(rounds=5, **settings):
    search = SuperTicket(every=4, **settings)
    return search.run(network(), DATA, F.cross_entropy, Recipe(epochs=rounds), example=X[:2])


def test_removing_channels_of_zero_scale_and_shift_changes_nothing():
    model = network().eval()
    with torch.no_grad():
        for i, gone in ((1, [0, 3, 5]), (4, [2])):
            model[i].weight[gone] = 0
            model[i].bias[gone] = 0
    small = shrink(model, X[:2])
    assert (small[0].out_channels, small[3].out_channels) == (5, 5)
    torch.testing.assert_close(small(X), model(X), rtol=1e-4, atol=1e-5)
    bare = network()
    for i in (1, 4):
        nn.init.zeros_(bare[i].weight)
    least = shrink(bare, X[:2])
    assert (least[0].out_channels, least[3].out_channels) == (1, 1)


@pytest.mark.parametrize("reactivates", [True, False])
def test_ratios_follow_the_schedule_and_the_threshold_is_numpy_s(reactivates):
    found = run(ratio=0.7, step=0.25, rho=0.0, reactivates=reactivates)
    total = sum(w.numel() for w in prunable(network()).values())
    for ratio, wanted in zip(found.ratios, (0.25, 0.5, 0.7, 0.7), strict=True):
        assert ratio == pytest.approx(wanted, abs=1 / total)
    first = run(rounds=2, ratio=0.5, step=0.5, rho=0.0)
    assert density(first.masks) == pytest.approx(0.5, abs=1 / total)
    assert first.ratios == (pytest.approx(0.5, abs=1 / total),)


def test_an_event_masks_what_is_below_numpy_s_quantile():
    search = SuperTicket(ratio=0.6, step=0.6, rho=0.0)
    after = search._event(network(), X[:2], 0.6)
    sizes = torch.cat([w.detach().abs().flatten() for w in prunable(network()).values()]).numpy()
    threshold = np.partition(sizes, round(0.6 * len(sizes)))[round(0.6 * len(sizes))]
    for name, weight in prunable(network()).items():
        assert torch.equal(masks_of(after)[name], weight.detach().abs() >= float(threshold))


def test_the_penalty_shrinks_channels_while_it_trains():
    found = run(rounds=10, ratio=0.5, step=0.1, rho=0.3, threshold=0.6)
    plain = run(rounds=10, ratio=0.5, step=0.1, rho=0.0)
    assert found.macs[-1] < plain.macs[-1] == plain.macs[0]
    assert found.network(X).shape == (64, 2)
    assert list(found.macs) == sorted(found.macs, reverse=True)
    assert torch.isfinite(found.network(X)).all()


def test_prices_are_multiplications_of_a_channel_and_one_on_average():
    costs = dict(channel_costs(network(), X[:2]))
    one, two = 9 * 36, 8 * 9 * 16
    mean = (8 * one + 6 * two) / 14
    assert costs == pytest.approx({"1.weight": one / mean, "4.weight": two / mean})
    rule = BNScaleL1(rho=0.5, warmup=10, costs=(("1.weight", 2.0), ("4.weight", 3.0)))
    model = network()
    assert rule.penalty(model).item() == 2 * 8 + 3 * 6
    loss = F.cross_entropy
    context = StepContext(rng=np.random.default_rng(0), loss=loss, step=5)
    model.eval()
    (value,) = rule(model, (X, Y), context)
    assert value.item() == pytest.approx(loss(model(X), Y).item() + 0.25 * 34, rel=1e-6)
    with pytest.raises(CompressError, match="no batch norm"):
        BNScaleL1().penalty(nn.Linear(2, 2))


def test_the_model_is_left_alone_and_masks_transfer_to_another_head():
    model = network()
    state = plain_state(model)
    found = run(ratio=0.5, step=0.5, rho=0.0)
    assert all(torch.equal(state[n], t) for n, t in model.state_dict().items())
    other = network()
    other[7] = nn.Linear(96, 5)
    transfer_masks(found.network, other)
    assert {*masks_of(other)} == {"0.weight", "3.weight"}
    assert torch.equal(masks_of(other)["0.weight"], found.masks["0.weight"])
    with pytest.raises(CompressError, match="no mask of the source"):
        transfer_masks(prune(nn.Linear(3, 3), 0.5).network, other)


@pytest.mark.parametrize("settings", [{"ratio": 1.0}, {"ratio": 1.5}, {"step": 0}, {"every": 0}])
def test_settings_are_checked(settings):
    with pytest.raises(CompressError):
        SuperTicket(**settings)
