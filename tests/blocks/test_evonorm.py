"""EvoNorm's six layers against the formulas of the paper, value by value."""

import pytest
import torch
from torch import nn

from supple.blocks.evonorm import EvoNorm2d, replace_norm_act
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def population(values):
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / len(values)


def by_hand(block, x):
    """Loops over samples and channels, in evaluation mode."""
    y = torch.empty_like(x)
    per_group = x.shape[1] // block.groups if block.kind[0] == "S" else 0
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            here = x[b, c]
            values = here.flatten().tolist()
            if per_group:
                first = c // per_group * per_group
                values = x[b, first : first + per_group].flatten().tolist()
            var, power = population(values), sum(v * v for v in values) / len(values)
            if block.kind[0] == "B":
                std = (block.running_var[c] + block.eps).sqrt()
                rms = (power + block.eps) ** 0.5
                other = {
                    "B0": lambda h, c=c, var=var: (
                        block.v[c] * h + (var + block.eps) ** 0.5 if block.v is not None else h
                    ),
                    "B1": lambda h, rms=rms: (h + 1) * rms,
                    "B2": lambda h, rms=rms: rms - h,
                }[block.kind](here)
                out = here / torch.maximum(std.expand_as(here), other)
            else:
                slope = block.v[c] if block.v is not None else 1.0
                scale = (power if block.kind == "S2" else var) + block.eps
                out = here * torch.sigmoid(slope * here) / scale**0.5
            y[b, c] = out * block.weight[c] + block.bias[c]
    return y


def layer(kind):
    return lambda: EvoNorm2d(num_features=8, kind=kind, groups=4)


OVER_GROUPS = "the statistics of a group are over the channels that are there"
CASES = {
    kind: BlockCase(
        make=layer(kind),
        example=drawn(4, 8, 5, 5),
        channel_dim=1,
        reference=by_hand,
        wrong_inputs=[drawn(2, 7, 5, 5), drawn(2, 8)],
        parameters=24 if kind.endswith("0") else 16,
        elastic=("in", "out"),
        cannot={"removed_equals_zeroed": OVER_GROUPS} if kind[0] == "S" else {},
    )
    for kind in ("B0", "S0")
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("kind", ["B1", "B2", "S1", "S2"])
def test_the_other_layers_equal_their_formula(kind):
    block, x = layer(kind)().double().eval(), drawn(2, 8, 3, 4).double()
    if block.running_var is not None:
        block.running_var.copy_(torch.linspace(0.5, 2, 8))
    assert torch.allclose(block(x), by_hand(block, x), atol=1e-12)
    assert sum(p.numel() for p in block.parameters()) == 16


def test_batch_layers_use_and_average_the_batch_in_training():
    block, x = EvoNorm2d(num_features=3, kind="B0", momentum=0.5).double(), drawn(4, 3, 5, 5)
    x = x.double() * 2
    batch = x.transpose(0, 1).flatten(1)
    std = (batch.var(1, correction=0) + block.eps).sqrt().view(1, 3, 1, 1)
    inside = (x.var((2, 3), correction=0, keepdim=True) + block.eps).sqrt()
    assert torch.allclose(block(x), x / torch.maximum(std, x + inside))
    assert torch.allclose(block.running_var, 0.5 + 0.5 * batch.var(1))


def test_evaluation_equals_training_when_the_average_is_the_batch():
    block, x = EvoNorm2d(num_features=3, kind="B0").double(), drawn(4, 3, 5, 5).double()
    trained = block(x)
    block.running_var.copy_(x.var((0, 2, 3), correction=0))
    assert torch.allclose(block.eval()(x), trained)


@pytest.mark.parametrize("kind", ["B0", "B1", "B2", "S0", "S1", "S2"])
def test_one_pixel_of_one_sample_stays_finite(kind):
    block = EvoNorm2d(num_features=4, kind=kind, groups=2)
    assert block(drawn(1, 4, 1, 1)).isfinite().all()
    assert all(value.isfinite().all() for value in block.state_dict().values())


def test_without_activation_it_is_scale_and_shift():
    block, x = EvoNorm2d(num_features=4, kind="B0", act=False), drawn(2, 4, 3, 3)
    nn.init.constant_(block.weight, 2.0)
    assert torch.equal(block(x), 2 * x)
    assert set(dict(block.named_parameters())) == {"weight", "bias"}


def test_norms_and_activations_that_follow_each_other_are_replaced():
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(12, 4, 1), nn.BatchNorm2d(4)),
        nn.ReLU(),
    )
    nn.init.constant_(model[1].weight, 3.0)
    twin = replace_norm_act(model, kind="S0", groups=8)
    assert isinstance(twin[1], EvoNorm2d)
    assert (twin[1].groups, twin[1].weight[0].item()) == (4, 3.0)
    assert isinstance(twin[2], nn.Identity)
    assert isinstance(twin[3][1], nn.BatchNorm2d), "no activation follows it in its Sequential"
    assert isinstance(model[1], nn.BatchNorm2d), "the model itself is not changed"
    assert twin(drawn(2, 3, 6, 6)).shape == (2, 4, 4, 4)


def test_wrong_settings_are_refused():
    with pytest.raises(BlockError, match="not a multiple of 5"):
        EvoNorm2d(num_features=8, groups=5)
    with pytest.raises(BlockError, match="did you mean 'S0'"):
        EvoNorm2d(num_features=8, kind="s0")
