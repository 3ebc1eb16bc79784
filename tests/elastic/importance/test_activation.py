"""Activation against forward hooks on the plain model."""

from __future__ import annotations

import torch
from torch import nn

from supple import Elastic
from supple.elastic import Elasticity
from supple.elastic.importance import Activation
from tests.families import ALL


def inputs_of(model, module, batches):
    """Mean |input| of a module over batches, by channel (dimension 1), the samples weighing."""
    totals, samples = 0, 0

    def hook(_, args):
        nonlocal totals, samples
        value = args[0].detach().abs()
        others = [d for d in range(value.ndim) if d != 1]
        totals = totals + len(value) * value.mean(others).double()
        samples += len(value)

    handle = module.register_forward_pre_hook(hook)
    for inputs, _ in batches:
        model(inputs)
    handle.remove()
    return totals / samples


def test_it_is_the_mean_magnitude_after_the_non_linearity(problem):
    batches = [(x[: 5 - i], y) for i, (x, y) in enumerate(problem.batches)]
    got = Activation(batches=batches).scores(problem.net).axes["0.width"]
    want = inputs_of(problem.model, problem.model[2], batches)
    torch.testing.assert_close(got, want / want.mean())


def test_every_convolution_that_reads_a_residual_stream_counts_alike():
    model, example = ALL["resnet18"]()
    net = Elastic(model, example, Elasticity(multiple_of=1))
    batches = [(example[0], None), (example[0].flip(0) * 2, None)]
    got = Activation(batches=batches).scores(net).axes["conv1.width"]
    readers = [block.conv1 for block in model.layers[0]]
    readers += [model.layers[1][0].conv1, model.layers[1][0].shortcut[0]]
    want = [inputs_of(model, reader, batches) for reader in readers]
    torch.testing.assert_close(got, sum(w / w.mean() for w in want), rtol=1e-4, atol=1e-5)


def test_heads_are_scored_by_what_they_give_to_the_output_map():
    model, example = ALL["vit"]()
    net = Elastic(model, example, Elasticity(multiple_of=1))
    heads = next(
        a for a in net.structure.axes if a.name.startswith("blocks.0") and a.role == "heads"
    )
    seen = []
    handle = model.blocks[0].attn.proj.register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    model(*example)
    handle.remove()
    # (B, N, heads * size) to the heads
    into_output = seen[0].detach().abs().double().mean((0, 1)).view(heads.size, -1).mean(1)
    got = Activation(batches=[(example[0], None)]).scores(net).axes[heads.name]
    torch.testing.assert_close(got, into_output / into_output.mean(), rtol=1e-4, atol=1e-5)


def test_a_reordered_network_is_scored_in_its_stored_order(problem):
    from supple.elastic.importance import Magnitude

    before = Activation(batches=problem.batches).scores(problem.net).axes["0.width"]
    order = Magnitude().scores(problem.net).axes["0.width"].argsort(descending=True, stable=True)
    problem.net.reorder(Magnitude())
    after = Activation(batches=problem.batches).scores(problem.net).axes["0.width"]
    torch.testing.assert_close(after, before[order])


def test_an_axis_of_weights_alone_scores_zero_and_the_rest_is_unchanged():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(8, 6), nn.Linear(3, 8)

        def forward(self, x):
            return x @ (self.outer.weight.T @ self.inner.weight.T)

    net = Elastic(Table(), (torch.randn(2, 3),))
    scores = Activation(batches=[(torch.randn(2, 3), None)]).scores(net).axes
    assert all(not score.any() for score in scores.values())
