"""Public architectures: every one is elastic, exact, and cut only where that is understood."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from supple import Elastic
from supple.errors import TraceError
from tests.elastic.architectures import ALL_NAMES, REPRESENTATIVE, build, kind_of
from tests.elastic.convolutional import CONVOLUTIONAL
from tests.elastic.coverage import FINE, agreement, dead_units, gradients, largest
from tests.elastic.oracles import doubled

# What torch.export cannot capture, and the line of the model that it stops at.
REFUSED = {
    "longformer": "if is_global_attn",
    "led": "if is_global_attn",
    "switch_transformers": "self.classifier.to(self.dtype)",
    "nllb_moe": "self.classifier.to(self.dtype)",
    "dbrx": "for expert_idx in expert_hit",
    "longcat_flash": "for expert_idx_tensor in expert_hit",
}
# Less than 90 % of the parameters under an elastic width, and why.
LESS = {
    "shufflenet_v1": "splits 12 into 3 groups unevenly",
    "siglip": "no call uses it",
    "blip_text": "no call uses it",
    "luke": "no call uses it",
    "mra": "no call uses it",
    "align_text": "is an output of the model",
    "pegasus_x": "is numbered",
    "patchtsmixer": "is normalised by softmax",
}
# Their gradient is their own code, which torch.export does not record.
NO_GRADIENT = {"reformer"}
# A cut leaves so few weights to standardise that rounding shows in single precision.
ILL_CONDITIONED = {"bit"}
# The exported graph of their recurrence rounds in another way than the model.
ROUNDED = {"olmo_hybrid", "qwen3_next"}
CAPTURED = [name for name in ALL_NAMES if name not in REFUSED]
QUICK = {*REPRESENTATIVE, "efficientnet_own", "shufflenet_v2", "inception_v3", "csp_darknet"}


def names(chosen: list[str]) -> list[Any]:
    """A few in the default run, the rest among the slow tests."""
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in chosen]


def quietly(name: str) -> tuple[nn.Module, Any]:
    pytest.importorskip("transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of transformers about its own configurations
        return build(name)


def wide_share(net: Elastic) -> float:
    """The share of parameters with a dimension under an elastic width."""
    wide = {member.tensor for axis in net.structure.axes for member in axis.members}
    sizes = {name: weight.numel() for name, weight in net.named_weights()}
    return sum(size for name, size in sizes.items() if name in wide) / sum(sizes.values())


def test_the_list_is_long_and_of_every_kind() -> None:
    assert len(ALL_NAMES) - len(CONVOLUTIONAL) >= 200
    assert len(CONVOLUTIONAL) >= 36
    assert len(REPRESENTATIVE) == 10
    kinds = {kind_of(name) for name in ALL_NAMES}
    assert kinds >= {
        "text", "experts", "state", "pair", "audio", "vision", "both", "time", "convolution",
    }  # fmt: skip


def test_at_most_one_in_twenty_has_less_than_nine_tenths_under_a_width() -> None:
    assert len(LESS) <= 0.05 * len(CAPTURED)


@pytest.mark.parametrize("name", names(CAPTURED))
@pytest.mark.filterwarnings("ignore")
def test_an_architecture_is_elastic_and_exact(name: str) -> None:
    model, example = quietly(name)
    if name in ILL_CONDITIONED:
        model, example = doubled(model), doubled(example)
    net = Elastic(model, example, FINE)
    assert largest(net, model, example) <= (2e-6 if name in ROUNDED else 0.0)
    assert agreement(net, example) < 1e-5
    assert dead_units(net, model, example) < 1e-4
    assert name in NO_GRADIENT or gradients(net, example) == ""
    assert not net.report().unknown
    assert (wide_share(net) >= 0.9) is (name not in LESS), wide_share(net)
    if name in LESS:
        assert LESS[name] in {fixed.reason for fixed in net.report().fixed}


# Those that compute everything in the dtype of their weights.
IN_DOUBLE = ["bert", "vit", "swin", "convnext", "gpt2", "resnet", "deit", "segformer", "mamba2"]


@pytest.mark.parametrize("name", names(IN_DOUBLE))
@pytest.mark.filterwarnings("ignore")
def test_dead_units_are_cut_to_1e_10_in_double_precision(name: str) -> None:
    model, example = quietly(name)
    model, example = doubled(model), doubled(example)
    net = Elastic(model, example, FINE)
    for seed in (3, 4):
        assert dead_units(net, model, example, seed=seed) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_captured_ends_in_one_error_that_names_the_line(name: str) -> None:
    model, example = quietly(name)
    with pytest.raises(TraceError, match="torch.export cannot capture") as caught:
        Elastic(model, example, FINE)
    assert REFUSED[name] in str(caught.value)
    assert "modeling_" in str(caught.value)
    with torch.no_grad():
        model(**example)  # as a module it is in order
