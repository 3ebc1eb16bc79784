"""Taylor against finite differences: how the loss moves when a unit's weights shrink."""

from __future__ import annotations

import copy

import torch

from supple.elastic.importance import Taylor


def test_it_is_the_squared_slope_of_the_loss_when_a_unit_s_weights_are_scaled(problem):
    step = 1e-5

    def loss_at(name, unit, scale, batch):
        model = copy.deepcopy(problem.model)
        with torch.no_grad():
            weight = dict(model.named_parameters())[name]
            problem.parts[name](weight)[unit] *= scale
            return problem.loss(model(batch[0]), batch[1]).item()

    want = torch.zeros(6).double()
    for batch in problem.batches:
        for name in problem.parts:
            for unit in range(6):
                up, down = (loss_at(name, unit, 1 + s, batch) for s in (step, -step))
                want[unit] += ((up - down) / (2 * step)) ** 2
    got = Taylor(batches=problem.batches, loss=problem.loss).scores(problem.net).axes["0.width"]
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-12)
