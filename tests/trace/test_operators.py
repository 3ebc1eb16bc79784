"""Every operator of Core ATen has a rule, or is deliberately left whole with the reason."""

from __future__ import annotations

import pytest
import torch

from supple.trace import all_rules, find_rule
from supple.trace.rules.fixed import FIXED, NUMBERS


def _core() -> list[str]:
    """torch's own list: operators with an overload tagged as core, gradients apart.

    The graph that is analysed is the forward one; the gradient of a cut network is torch's.
    """
    names = {s.name.removeprefix("aten::") for s in torch._C._jit_get_all_schemas()}
    return sorted(name for name in names if _is_core(name) and not name.endswith("_backward"))


def _is_core(name: str) -> bool:
    packet = getattr(torch.ops.aten, name, None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return False
    return any(torch.Tag.core in getattr(packet, o).tags for o in packet.overloads())


CORE = _core()


def test_core_aten_is_the_whole_list() -> None:
    assert len(CORE) > 150
    assert {"convolution", "view", "add", "_fft_r2c", "native_layer_norm"} <= set(CORE)


@pytest.mark.parametrize("name", CORE)
def test_every_core_operator_has_a_rule_or_a_reason(name: str) -> None:
    packet = getattr(torch.ops.aten, name)
    overload = getattr(packet, packet.overloads()[0])
    if name in NUMBERS:
        assert NUMBERS[name].strip()
        assert find_rule(overload) is None
    else:
        assert find_rule(overload) is not None, f"{name} has neither a rule nor a reason"
    if name in FIXED:
        assert FIXED[name].startswith(("is ", "gives "))


def test_nothing_is_both_a_rule_and_a_number() -> None:
    assert not set(NUMBERS) & set(all_rules())


def test_operators_that_are_not_known_stay_unknown() -> None:
    assert find_rule(torch.ops.aten.linalg_cond.default) is None
