"""Each rule by brute force: cut at random, against the whole graph with units switched off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from supple import Elastic
from supple.errors import TraceError
from tests.elastic.coverage import FINE, agreement, dead_units, largest
from tests.elastic.oracles import doubled
from tests.families import randomised
from tests.trace.operators import FIXING, PASSING


def _made(cases: dict[str, Any], name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(sum(map(ord, name)))
        model, example = cases[name]()
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
        return doubled(randomised(model).eval()), doubled(example)


def _first_is_elastic(net: Elastic) -> bool:
    first = next(iter(net.structure.parameters))
    return any(m.tensor == first for axis in net.structure.axes for m in axis.members)


def _check(net: Elastic, model: nn.Module, example: Any) -> None:
    assert largest(net, model, example) == 0.0
    assert agreement(net, example) < 1e-10
    for seed in (1, 2):
        assert dead_units(net, model, example, seed=seed) < 1e-10


@pytest.mark.parametrize("name", PASSING)
def test_what_an_operator_passes_is_cut_right(name: str) -> None:
    model, example = _made(PASSING, name)
    net = Elastic(model, example, FINE)
    assert _first_is_elastic(net), net.report()
    assert not net.report().unknown
    _check(net, model, example)


@pytest.mark.parametrize("name", FIXING)
def test_what_an_operator_depends_on_is_left_whole_with_a_reason(name: str) -> None:
    """Nothing else in these modules could vary, so the error has to name the operator's line."""
    model, example = _made(FIXING, name)
    with pytest.raises(TraceError, match="elastic nowhere") as caught:
        Elastic(model, example, FINE)
    assert "operators.py" in caught.value.why
