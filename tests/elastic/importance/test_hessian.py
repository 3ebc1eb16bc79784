"""The estimated diagonal against the exact Hessian, within what its known variance allows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from supple import Elastic
from supple.elastic.importance import Hessian
from supple.errors import TrainingError


def exact(problem):
    """The whole Hessian of the mean loss over the batches, and the flat weights' units."""
    weights = dict(problem.model.named_parameters())
    names = list(weights)
    sizes = [weights[n].numel() for n in names]

    def loss(flat):
        pieces = zip(names, flat.split(sizes), strict=True)
        state = {n: piece.view_as(weights[n]) for n, piece in pieces}
        found = [
            problem.loss(torch.func.functional_call(problem.model, state, (x,)), y)
            for x, y in problem.batches
        ]
        return torch.stack(found).mean()

    flat = torch.cat([weights[n].detach().flatten() for n in names])
    owner = torch.full_like(flat, -1).long()
    places = dict(zip(names, torch.arange(len(flat)).split(sizes), strict=True))
    tensors = {n: places[n].view_as(weights[n]) for n in names}
    for positions in problem.owned(tensors).values():
        for unit, mine in enumerate(positions):
            owner[mine] = unit
    return torch.autograd.functional.hessian(loss, flat), flat, owner


def test_it_is_half_the_diagonal_times_the_squared_weight_within_the_estimator_s_spread(problem):
    probes = 500
    hessian, flat, owner = exact(problem)
    got = Hessian(batches=problem.batches, loss=problem.loss, probes=probes).scores(problem.net)
    for unit in range(6):
        mine = torch.where(owner == unit, flat**2 / 2, torch.zeros_like(flat))
        want = (mine * hessian.diagonal()).sum()
        # The score is z' A z for random signs z; its variance is 2 |offdiagonal of sym(A)|^2. Of
        # the mean over b batches of independent probes it is at most b times that of one Hessian.
        form = mine[:, None] * hessian
        form = (form + form.T) / 2
        form.fill_diagonal_(0)
        spread = (2 * form.square().sum() / probes).sqrt()
        assert (got.axes["0.width"][unit] - want.abs()).abs() < 6 * spread
        assert spread < 0.2 * want.abs().max() + 0.02


def test_where_the_hessian_is_diagonal_one_probe_is_exact():
    """Of a network that is linear in its only free layer, with one-hot inputs and squares."""
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 6, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(6))
    model[1].weight.requires_grad_(False)
    x = torch.eye(4).double()
    net = Elastic(model, (x,))
    scorer = Hessian(batches=[(x, x)], loss=lambda y, _: y.square().sum() / 2, probes=1)
    got = scorer.scores(net).axes["0.width"]
    torch.testing.assert_close(got, model[0].weight.detach().square().sum(1) / 2)


def test_a_network_without_second_derivatives_is_told_what_to_use_instead():
    model = nn.Sequential(nn.Linear(4, 8), nn.Hardsigmoid(), nn.Linear(8, 2))
    x = torch.randn(3, 4)
    scorer = Hessian(batches=[(x, x)], loss=lambda y, _: y.square().sum())
    with pytest.raises(TrainingError, match="cannot be estimated") as caught:
        scorer.scores(Elastic(model, (x,)))
    assert "fisher" in caught.value.hint


def test_the_probes_follow_from_the_seed(problem):
    def scores(seed):
        made = Hessian(batches=problem.batches, loss=problem.loss, seed=seed)
        return made.scores(problem.net).axes["0.width"]

    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(1), scores(2))
