"""Checks of weights: gradients, state, initialisation and counts."""

from __future__ import annotations

import copy
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._call import input_arguments
from supple.measure.macs import MACs
from supple.measure.parameters import Parameters
from supple.testing._block_case import BlockCase
from supple.testing._calls import (
    build,
    compare,
    doubled,
    doubled_example,
    fail,
    outputs_of,
    run,
)
from supple.testing._table import check

__all__: list[str] = []


@check
def gradients(case: BlockCase) -> None:
    """Derivatives by inputs and weights are those of finite differences, in float64."""
    for training in (False, True) if case.train_mode else (False,):
        block = doubled(build(case, training=training))
        function, values = _as_function(block, doubled_example(case.example))
        if not values:
            raise fail("The block has neither weights nor inputs to differentiate by.")
        try:
            torch.autograd.gradcheck(function, values, fast_mode=True)
        except RuntimeError as error:
            mode = "training" if training else "eval"
            raise fail(f"In {mode} mode gradients are wrong: {error}") from error


def _as_function(block: nn.Module, example: Any) -> tuple[Any, list[Tensor]]:
    """The block as a pure function of its floating inputs and its weights."""
    names = [name for name, p in block.named_parameters() if p.requires_grad]
    leaves, spec = pytree.tree_flatten(input_arguments(example))
    free = [i for i, v in enumerate(leaves) if isinstance(v, Tensor) and v.is_floating_point()]
    weights = dict(block.named_parameters())
    values = [leaves[i].clone().requires_grad_() for i in free]
    values += [weights[name].detach().clone().requires_grad_() for name in names]

    def function(*given: Tensor) -> list[Tensor]:
        filled = list(leaves)
        for i, value in zip(free, given, strict=False):
            filled[i] = value
        args, kwargs = pytree.tree_unflatten(filled, spec)
        state = dict(zip(names, given[len(free) :], strict=True))
        state |= {name: value.clone() for name, value in block.named_buffers()}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(2)
            output = torch.func.functional_call(block, state, args, kwargs)
        return [out for out in outputs_of(output) if out.requires_grad]

    return function, values


@check
def every_weight_learns(case: BlockCase) -> None:
    """Every trainable parameter takes part in the output, and the copy of the block is its own."""
    block = build(case, training=case.train_mode)
    twin = copy.deepcopy(block)
    args, kwargs = input_arguments(case.example)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2)
        output = block(*args, **kwargs)
    floating = [out for out in outputs_of(output) if out.requires_grad]
    if not floating:
        if any(p.requires_grad for p in block.parameters()):
            raise fail("The output does not depend on the weights.")
        return
    torch.autograd.backward([out.square().sum() for out in floating])
    for name, parameter in block.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise fail(f"The parameter '{name}' takes no part in the output.")
    if any(p.grad is not None for p in twin.parameters()):
        raise fail("A copy of the block shares its weights.")


@check
def state_round_trip(case: BlockCase) -> None:
    """The state of one block, through a safetensors file, makes another one equal to it."""
    first, second = build(case, seed=0), build(case, seed=1)
    state = {name: value.clone().contiguous() for name, value in first.state_dict().items()}
    second.load_state_dict(load(save(state)))
    compare(run(second, case.example), run(first, case.example), 0.0, "After loading the state")


@check
def resets(case: BlockCase) -> None:
    """``reset_parameters`` draws every parameter anew, at the scale it was built with."""
    block = build(case)
    weights = dict(block.named_parameters())
    if not weights:
        return
    if not callable(getattr(block, "reset_parameters", None)):
        raise fail("A block with weights has no method reset_parameters.")
    before = {name: value.detach().clone() for name, value in weights.items()}
    for value in weights.values():
        value.data.fill_(torch.nan)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(9)
        block.reset_parameters()  # type: ignore[operator]
    for name, value in block.named_parameters():
        if not value.isfinite().all():
            raise fail(f"reset_parameters leaves '{name}' as it was.")
        if value.numel() >= 64:
            built, now = before[name].std().item(), value.detach().std().item()
            if not (built == now or 0.5 * built < now < 2 * built):
                raise fail(f"'{name}' is built with a spread of {built:.3g}, reset to {now:.3g}.")


@check
def counts(case: BlockCase) -> None:
    """Parameters and multiply-accumulates per sample are those of the formula."""
    block = build(case)
    if case.parameters is not None:
        found = int(Parameters().measure(block).value)
        if found != case.parameters:
            raise fail(f"The block has {found} parameters, the formula gives {case.parameters}.")
    if case.macs is not None:
        macs = MACs(example=case.example).measure(block).value
        if macs != case.macs:
            raise fail(f"A sample takes {macs:g} MACs, the formula gives {case.macs}.")


@check
def equals_its_reference(case: BlockCase) -> None:
    """In float64 and eval mode the output is that of the independent computation."""
    if case.reference is None:
        raise fail(
            "The case has no reference.",
            hint="give a closed form, a plain slow version or another library as reference=.",
        )
    for seed in (0, 1):
        block = doubled(build(case, seed=seed))
        example = doubled_example(case.example)
        args, kwargs = input_arguments(example)
        with torch.no_grad():
            want = case.reference(block, *args, **kwargs)
        compare(run(block, example), want, case.tolerance, "Against the reference")
