"""Checks of what a call does: shapes, dtype, device, and nothing left behind."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._call import batch_size
from supple.errors import BlockError
from supple.testing._block_case import BlockCase
from supple.testing._calls import (
    build,
    compare,
    doubled,
    doubled_example,
    fail,
    inputs_of,
    other_batch,
    outputs_of,
    rows,
    run,
)
from supple.testing._table import check

__all__: list[str] = []

# Reordered sums of float32 differ by a few units of the last place, times the terms.
ROUNDING = 2e-5


@check
def any_batch_size(case: BlockCase) -> None:
    """Batches of one and of odd sizes run, and the output's batch is the input's."""
    block = build(case)
    whole = [tuple(t.shape) for t in outputs_of(run(block, case.example))]
    size = batch_size(case.example)
    for other in case.batch_sizes:
        got = [tuple(t.shape) for t in outputs_of(run(block, other_batch(case, other)))]
        want = [(other, *s[1:]) if s and s[0] == size else s for s in whole]
        if got != want:
            raise fail(f"With a batch of {other} the output is {got}, not {want}.")


@check
def finite(case: BlockCase) -> None:
    """Outputs are numbers."""
    for out in outputs_of(run(build(case), case.example)):
        if out.is_floating_point() and not out.isfinite().all():
            raise fail("The output of the example holds values that are not finite.")


@check
def batch_independent(case: BlockCase) -> None:
    """In eval mode a sample's output does not depend on the others."""
    block = doubled(build(case))
    example, size = doubled_example(case.example), batch_size(case.example)
    whole = run(block, example)
    order = torch.arange(size - 1, -1, -1)
    compare(run(block, rows(example, size, order)), rows(whole, size, order), 1e-10, "Reversed")
    for i in range(min(size, 3)):
        one = slice(i, i + 1)
        alone = run(block, rows(example, size, one))
        compare(alone, rows(whole, size, one), 1e-10, f"Sample {i} alone")


@check
def keeps_dtype(case: BlockCase) -> None:
    """float64 in, float64 out; and float32 gives the same up to its rounding."""
    single = build(case)
    double = doubled(single)
    for module, example, dtype in (
        (single, case.example, torch.float32),
        (double, doubled_example(case.example), torch.float64),
    ):
        for out in outputs_of(run(module, example)):
            if out.is_floating_point() and out.dtype != dtype:
                raise fail(f"With {dtype} weights and inputs the output is {out.dtype}.")
    want = run(double, doubled_example(case.example))
    compare(run(single, case.example), want, 1e-3, "float32 and float64")


@check
def keeps_device(case: BlockCase) -> None:
    """Nothing is made on a fixed device: the block runs on "meta", and on CUDA where it is."""
    devices = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        block = build(case).to(device)
        example = pytree.tree_map(
            lambda v, to=device: v.to(to) if isinstance(v, Tensor) else v, case.example
        )
        try:
            outputs = outputs_of(run(block, example))
        except (RuntimeError, NotImplementedError) as error:
            raise fail(
                f"The block does not run on {device}: {error}",
                hint="make tensors on the device of an input, or keep them as buffers.",
            ) from error
        if any(out.device.type != device for out in outputs):
            raise fail(f"The output of an input on {device} is on another device.")


@check
def any_memory_layout(case: BlockCase) -> None:
    """Inputs that are not contiguous give the same output, and inputs are not written to."""
    block = build(case)

    def strided(value: object) -> object:
        if not isinstance(value, Tensor) or not value.dim():
            return value
        wide = torch.empty(*value.shape, 2, dtype=value.dtype)
        wide[..., 0] = value
        return wide[..., 0]

    before = copy.deepcopy(case.example)
    want = run(block, case.example)
    for now, then in zip(inputs_of(case.example), inputs_of(before), strict=True):
        if not torch.equal(now, then):
            raise fail("The block writes to its input.")
    compare(run(block, pytree.tree_map(strided, case.example)), want, ROUNDING, "Strided input")


@check
def deterministic(case: BlockCase) -> None:
    """Equal seeds give equal weights and outputs; eval draws nothing and changes nothing."""
    first, second = build(case, seed=3), build(case, seed=3)
    _same_state(first, second, "Two blocks built under one seed")
    for training in (False, True):
        first.train(training)
        second.train(training)
        compare(
            run(first, case.example, seed=4),
            run(second, case.example, seed=4),
            0.0,
            "Two blocks of one seed",
        )
    block, before = build(case), build(case)
    random_state = torch.get_rng_state()
    with torch.no_grad():
        _call(block, case)
    if not torch.equal(torch.get_rng_state(), random_state):
        raise fail("A call in eval mode draws random numbers.")
    _same_state(block, before, "A block before and after a call in eval mode")


def _call(block: nn.Module, case: BlockCase) -> object:
    from supple.elastic._call import call

    return call(block, case.example)


def _same_state(first: nn.Module, second: nn.Module, what: str) -> None:
    b = second.state_dict()
    for name, value in first.state_dict().items():
        if isinstance(value, Tensor) and not torch.equal(value, b[name]):
            raise fail(f"{what} differ in '{name}'.")


@check
def refuses_wrong_shapes(case: BlockCase) -> None:
    """Inputs that do not fit get a `BlockError` that holds the shape."""
    for wrong in case.wrong_inputs:
        shapes = [tuple(t.shape) for t in inputs_of(wrong)]
        try:
            run(build(case), wrong)
        except BlockError as error:
            if not any(str(shape) in str(error) for shape in shapes):
                raise fail(f"The error for {shapes} does not name the shape: {error}") from error
            if not error.hint:
                raise fail(f"The error for {shapes} does not say what to try.") from error
        except Exception as error:
            raise fail(
                f"Inputs of shapes {shapes} get {type(error).__name__}, not BlockError: {error}"
            ) from error
        else:
            raise fail(f"Inputs of shapes {shapes} are taken without an error.")
