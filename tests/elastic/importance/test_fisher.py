"""Fisher against one sample at a time on the plain model."""

from __future__ import annotations

import torch

from supple.elastic.importance import Fisher


def by_hand(problem, samples):
    """Sum of w^2 E[g^2] / 2 over what a unit owns, from the gradient of every single sample."""
    names = list(problem.parts)
    weights = dict(problem.model.named_parameters())
    rows = [(x[i : i + 1], y[i : i + 1]) for x, y in problem.batches for i in range(len(x))]
    total = torch.zeros(6).double()
    for x, y in rows[:samples]:
        loss = problem.loss(problem.model(x), y)
        gradients = torch.autograd.grad(loss, [weights[n] for n in names])
        products = {
            n: (weights[n].detach() * g) ** 2 for n, g in zip(names, gradients, strict=True)
        }
        total += sum(values.sum(1) for values in problem.owned(products).values())
    return total / (2 * min(samples, len(rows)))


def test_it_is_half_the_mean_squared_gradient_of_single_samples_times_the_squared_weight(problem):
    for samples in (7, 1000):
        fisher = Fisher(batches=problem.batches, loss=problem.loss, samples=samples)
        got = fisher.scores(problem.net).axes["0.width"]
        torch.testing.assert_close(got, by_hand(problem, samples))


def test_a_network_of_a_fixed_batch_is_scored_batch_by_batch(problem):
    problem.net._fix_batch()
    names, weights = list(problem.parts), dict(problem.model.named_parameters())
    want = torch.zeros(6).double()
    for x, y in problem.batches:
        gradients = torch.autograd.grad(
            problem.loss(problem.model(x), y), [weights[n] for n in names]
        )
        products = {
            n: (weights[n].detach() * g) ** 2 for n, g in zip(names, gradients, strict=True)
        }
        want += sum(values.sum(1) for values in problem.owned(products).values()) / 8
    got = Fisher(batches=problem.batches, loss=problem.loss).scores(problem.net).axes["0.width"]
    torch.testing.assert_close(got, want)
