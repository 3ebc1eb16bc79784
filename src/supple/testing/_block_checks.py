"""Running the checks of a block: all at once, or each as a test of its own."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from torch import nn

from supple.errors import CheckError, near_misses
from supple.testing._block_case import BlockCase
from supple.testing._table import CHECKS, Check

__all__ = ["block_checks", "check_block", "parametrize_blocks"]


def check_block(make: Callable[[], nn.Module], example: Any, **settings: Any) -> None:
    """Runs all checks of a block.

    Args:
        make: Builds the block anew.
        example: Inputs of one call, with at least two samples.
        **settings: Further fields of `BlockCase`: ``reference``, ``wrong_inputs``,
            ``parameters``, ``macs``, ``elastic``, ``cannot``, …

    Raises:
        CheckError: Checks that do not hold; the message names each with what was found.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> check_block(
        ...     lambda: nn.Linear(6, 4), torch.randn(5, 6), parameters=28, macs=24,
        ...     reference=lambda block, x: x @ block.weight.T + block.bias,
        ... )
    """
    failures: dict[str, str] = {}
    for name, check in block_checks(BlockCase(make=make, example=example, **settings)).items():
        try:
            check()
        except Exception as error:  # a block may raise anything; all checks are reported
            failures[name] = _shown(error)
    if failures:
        lines = [f"{name}: {text}" for name, text in failures.items()]
        raise CheckError(
            f"{len(failures)} of {len(_checks())} checks do not hold:\n  " + "\n  ".join(lines),
            failures=failures,
        )


def _shown(error: Exception) -> str:
    if isinstance(error, CheckError):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {where.filename}:{where.lineno}: {error}"


def block_checks(case: BlockCase) -> dict[str, Callable[[], None]]:
    """The checks of a block by name, each a function without arguments.

    A check that the case lists in ``cannot`` fails if the block passes it.

    Raises:
        CheckError: ``cannot`` names a check that does not exist.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> case = BlockCase(make=lambda: nn.Linear(6, 4), example=torch.randn(5, 6))
        >>> block_checks(case)["gradients"]()
    """
    for name in case.cannot:
        if name not in _checks():
            raise CheckError(
                f"There is no check '{name}' that a block could not pass.",
                hint=near_misses(name, _checks()),
            )
    return {
        name: partial(_must_fail, name, check, case)
        if name in case.cannot
        else partial(check, case)
        for name, check in _checks().items()
    }


@cache
def _checks() -> Mapping[str, Check]:
    for module in ("_running", "_learning", "_capturing"):
        importlib.import_module(f"supple.testing.{module}")
    return CHECKS


def _must_fail(name: str, check: Check, case: BlockCase) -> None:
    try:
        check(case)
    except Exception:  # whatever it fails with is what the case announced
        return
    raise CheckError(
        f"'{name}' is listed as what the block cannot pass, and it passes.",
        why=f"The reason given is: {case.cannot[name]}",
        hint="remove it from cannot.",
    )


def parametrize_blocks(cases: Mapping[str, BlockCase]) -> Any:
    """A pytest decorator: one test for each check of each block, for a test of one argument.

    Args:
        cases: The blocks by name; a test is called ``name-check``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> cases = {"plain": BlockCase(make=lambda: nn.Linear(6, 4), example=torch.randn(5, 6))}
        >>> @parametrize_blocks(cases)
        ... def test_contract(check):
        ...     check()
    """
    import pytest

    params = [
        pytest.param(check, id=f"{block}-{name}")
        for block, case in cases.items()
        for name, check in block_checks(case).items()
    ]
    return pytest.mark.parametrize("check", params)
