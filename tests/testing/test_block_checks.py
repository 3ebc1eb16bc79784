"""Each check of a block fails for a block that breaks it, and for that reason."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.errors import BlockError, CheckError
from supple.testing import BlockCase, block_checks, check_block, parametrize_blocks


class Good(nn.Module):
    """A linear layer with a squared output that keeps the whole contract."""

    def __init__(self, in_features=6, out_features=8):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.weight)

    def forward(self, x):
        if x.shape[-1] != self.weight.shape[1]:
            raise BlockError(f"takes {self.weight.shape[1]}, got {tuple(x.shape)}.", hint="fewer.")
        return F.linear(x, self.weight).square()


def reference(block, x):
    return torch.einsum("bi,oi->bo", x, block.weight) ** 2


X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
SETTINGS = {
    "reference": reference,
    "wrong_inputs": [torch.ones(5, 7)],
    "parameters": 48,
    "macs": 48,
}


class FixedBatch(Good):
    def forward(self, x):
        return super().forward(x)[:4]


class Infinite(Good):
    def forward(self, x):
        return super().forward(x) / 0.0


class BatchStatistics(Good):
    def forward(self, x):
        y = super().forward(x)
        return y - y.mean(0)


class FixedDtype(Good):
    def forward(self, x):
        return super().forward(x).float()


class FixedDevice(Good):
    def forward(self, x):
        return super().forward(x) * torch.ones(8, device="cpu")


class WritesInput(Good):
    def forward(self, x):
        return super().forward(x.mul_(2.0))


class DrawsInEval(Good):
    def forward(self, x):
        return super().forward(x) + torch.rand_like(x[:, :1])


class Counts(Good):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class TakesAnything(Good):
    def forward(self, x):
        return F.linear(x[..., :6], self.weight).square()


class PlainError(Good):
    def forward(self, x):
        return F.linear(x, self.weight).square()


class _Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient):
        return 2.0 * gradient


class WrongGradient(Good):
    def forward(self, x):
        return _Wrong.apply(super().forward(x))


class Unused(Good):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(8))


class NotStored(Good):
    def __init__(self):
        super().__init__()
        self.shift = torch.randn(8)

    def forward(self, x):
        return super().forward(x) + self.shift.to(x.dtype)


class ForgetsToReset(Good):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        return super().forward(x) + self.bias


class OtherScale(Good):
    def __init__(self):
        super().__init__(6, 16)
        with torch.no_grad():
            self.weight.mul_(10.0)


class LooksAtValues(Good):
    def forward(self, x):
        y = super().forward(x)
        return y if y.sum() > 0 else -y


class Cumulative(Good):
    def forward(self, x):
        return super().forward(x).cumsum(-1)


class Mean(Good):
    def forward(self, x):
        y = super().forward(x)
        return y / y.mean(-1, keepdim=True)


BROKEN = [
    (FixedBatch, {}, "any_batch_size", "With a batch of 1 the output is"),
    (Infinite, {}, "finite", "not finite"),
    (BatchStatistics, {}, "batch_independent", "Sample 0 alone: outputs differ"),
    (FixedDtype, {}, "keeps_dtype", "the output is torch.float32"),
    (FixedDevice, {}, "keeps_device", "does not run on meta"),
    (WritesInput, {}, "any_memory_layout", "writes to its input"),
    (DrawsInEval, {}, "deterministic", "draws random numbers"),
    (Counts, {}, "deterministic", "differ in 'calls'"),
    (TakesAnything, {}, "refuses_wrong_shapes", "taken without an error"),
    (PlainError, {}, "refuses_wrong_shapes", "get RuntimeError, not BlockError"),
    (WrongGradient, {}, "gradients", "gradients are wrong"),
    (Unused, {}, "every_weight_learns", "'bias' takes no part"),
    (NotStored, {}, "state_round_trip", "After loading the state"),
    (ForgetsToReset, {}, "resets", "leaves 'bias' as it was"),
    (OtherScale, {}, "resets", "reset to"),
    (Unused, {}, "counts", "has 56 parameters, the formula gives 48"),
    (Good, {"macs": 47}, "counts", "takes 48 MACs, the formula gives 47"),
    (Cumulative, {}, "equals_its_reference", "Against the reference"),
    (Good, {"reference": None}, "equals_its_reference", "has no reference"),
    (LooksAtValues, {}, "exports", "torch.export does not take the block"),
    (Cumulative, {}, "elastic_where_it_says", r"What may vary is \['in'\]"),
    (Mean, {}, "removed_equals_zeroed", "outputs differ"),
]


def case(make, **settings):
    return BlockCase(make=make, example=X.clone(), **{**SETTINGS, **settings})


@parametrize_blocks({"good": case(Good)})
def test_a_block_that_keeps_the_contract_passes(check):
    check()


@pytest.mark.parametrize(
    ("make", "settings", "name", "message"), BROKEN, ids=[f"{b[0].__name__}-{b[2]}" for b in BROKEN]
)
def test_a_block_that_breaks_a_check_is_found(make, settings, name, message):
    with pytest.raises(CheckError, match=message):
        block_checks(case(make, **settings))[name]()


def test_every_check_but_one_has_a_block_that_breaks_it():
    # What a sub-network computes shared and extracted is the engine's promise, not the block's.
    assert set(block_checks(case(Good))) - {b[2] for b in BROKEN} == {"shared_equals_extracted"}


def test_all_failures_are_named_at_once():
    with pytest.raises(CheckError) as caught:
        check_block(Cumulative, X, **SETTINGS)
    assert set(caught.value.data["failures"]) == {
        "equals_its_reference",
        "elastic_where_it_says",
    }


def test_what_a_block_cannot_pass_must_fail():
    honest = case(Mean, cannot={"removed_equals_zeroed": "the mean is of what is there"})
    block_checks(honest)["removed_equals_zeroed"]()
    stale = case(Good, cannot={"removed_equals_zeroed": "the mean is of what is there"})
    with pytest.raises(CheckError, match="and it passes"):
        block_checks(stale)["removed_equals_zeroed"]()


def test_cannot_names_only_checks_that_exist():
    with pytest.raises(CheckError, match="did you mean 'gradients'"):
        block_checks(case(Good, cannot={"gradient": "kinks"}))


def test_other_inputs_are_taken_as_tuple_and_by_keyword():
    for example in ((X,), {"x": X}):
        check_block(Good, example, **SETTINGS)


def test_nothing_global_is_left_changed():
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    check_block(Good, X, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() is dtype


def test_channels_in_dimension_one_and_a_network_of_ones_own():
    image = torch.randn(2, 4, 5, 5)
    block = {
        "make": lambda: nn.Conv2d(4, 6, 5, padding=2, groups=2),
        "reference": lambda b, x: F.conv2d(x, b.weight, b.bias, padding=2, groups=2),
    }
    check_block(example=image, channel_dim=1, elastic=("in", "out", "kernel"), **block)

    def pooled(conv):
        return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))

    check_block(example=image, elastic=("inside", "kernel"), surround=pooled, **block)
