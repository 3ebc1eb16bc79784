"""Public architectures: every one is elastic, exact, and cut only where that is understood."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from supple import Elastic
from supple.errors import TraceError
from tests.elastic.architectures import ARCHITECTURES, REPRESENTATIVE, build
from tests.elastic.coverage import FINE, agreement, dead_units, gradients, largest
from tests.elastic.oracles import doubled

# What torch.export cannot capture, and the line of the model that it stops at.
REFUSED = {
    "longformer": "if is_global_attn",
    "led": "if is_global_attn",
    "switch_transformers": "self.classifier.to(self.dtype)",
}
# Less than 90 % of the parameters under an elastic width, and why.
LESS: dict[str, str] = {}
# Their gradient is their own code, which torch.export does not record.
NO_GRADIENT = {"reformer"}
CAPTURED = [name for name in ARCHITECTURES if name not in REFUSED]


def names(chosen: list[str]) -> list[Any]:
    """A few in the default run, the rest among the slow tests."""
    return [n if n in REPRESENTATIVE else pytest.param(n, marks=pytest.mark.slow) for n in chosen]


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
    assert len(ARCHITECTURES) >= 60
    assert len(REPRESENTATIVE) == 10
    kinds = {found.kind for found in ARCHITECTURES.values()}
    assert kinds >= {"text", "experts", "state", "pair", "audio", "vision", "both"}


@pytest.mark.parametrize("name", names(CAPTURED))
@pytest.mark.filterwarnings("ignore")
def test_an_architecture_is_elastic_and_exact(name: str) -> None:
    model, example = quietly(name)
    net = Elastic(model, example, FINE)
    assert largest(net, model, example) == 0.0
    assert agreement(net, example) < 1e-5
    assert dead_units(net, model, example) < 1e-4
    assert name in NO_GRADIENT or gradients(net, example) == ""
    assert not net.report().unknown
    assert (wide_share(net) >= 0.9) is (name not in LESS), wide_share(net)


# Those that compute everything in the dtype of their weights.
IN_DOUBLE = ["bert", "vit", "swin", "convnext", "gpt2", "resnet", "deit", "segformer", "mamba2"]


@pytest.mark.parametrize("name", names(IN_DOUBLE))
@pytest.mark.filterwarnings("ignore")
def test_dead_units_are_cut_to_1e_10_in_double_precision(name: str) -> None:
    model, example = quietly(name)
    model, example = doubled(model), doubled(dict(example))
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
