"""Is a comparison of sparse networks fair? The advice of the handbook (paper 116) as checks.

Every finding names what is missing and what to do. A comparison without findings can still be
wrong; one with findings cannot be trusted as it is.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from supple.errors import CompressError
from supple.papers import implements

__all__ = ["METHODS", "Advice", "Arm", "SparseMethod", "check_comparison"]

Role = Literal["method", "dense", "small dense", "random"]


@dataclass(frozen=True, kw_only=True)
class SparseMethod:
    """Where a method stands.

    Attributes:
        when: Whether the masks are found before, during or after training.
        is_dynamic: Whether connections move while the final network trains.
        from_dense: Whether a dense network is trained on the way, with its cost.
    """

    when: Literal["before", "during", "after"]
    is_dynamic: bool
    from_dense: bool


METHODS = {
    "random": SparseMethod(when="before", is_dynamic=False, from_dense=False),
    "snip": SparseMethod(when="before", is_dynamic=False, from_dense=False),
    "grasp": SparseMethod(when="before", is_dynamic=False, from_dense=False),
    "synflow": SparseMethod(when="before", is_dynamic=False, from_dense=False),
    "set": SparseMethod(when="during", is_dynamic=True, from_dense=False),
    "rigl": SparseMethod(when="during", is_dynamic=True, from_dense=False),
    "gradual": SparseMethod(when="during", is_dynamic=True, from_dense=True),
    "magnitude": SparseMethod(when="after", is_dynamic=False, from_dense=True),
    "taylor": SparseMethod(when="after", is_dynamic=False, from_dense=True),
    "movement": SparseMethod(when="during", is_dynamic=False, from_dense=True),
    "lottery tickets": SparseMethod(when="after", is_dynamic=False, from_dense=True),
}
"""The methods of this room, as the handbook sorts them."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One network of a comparison.

    Attributes:
        name: What it is called.
        role: What it is there for.
        parameters: Numbers it keeps.
        scores: Quality by seed, larger is better.
        steps: Optimiser steps, all trainings that lead to it together.
        training_macs: Multiplications of all its training; None if not counted.
        allocation: How a random mask shares sparsity out over layers, such as ``erk``.
        is_tuned: Whether its learning rate was chosen for it.
        speedup: The speed that is said of it; None if none is.
        is_speed_measured: Whether that is the clock's, not a count of operations.
    """

    name: str
    role: Role
    parameters: int
    scores: tuple[float, ...]
    steps: int
    training_macs: float | None = None
    allocation: str | None = None
    is_tuned: bool = True
    speedup: float | None = None
    is_speed_measured: bool = False


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What is wrong with a comparison.

    Attributes:
        code: A stable short name.
        message: What was found.
        hint: What to do.
    """

    code: str
    message: str
    hint: str


@implements(116)
def check_comparison(arms: Sequence[Arm], *, tolerance: float = 0.05) -> tuple[Advice, ...]:
    """Everything that makes a comparison of sparse networks unfair.

    Args:
        arms: The networks compared.
        tolerance: Largest difference of parameters and of steps that counts as equal.

    Raises:
        CompressError: No arm is a method.

    Example:
        >>> from supple.compress.prune import Arm, check_comparison
        >>> ours = Arm(name="rigl", role="method", parameters=1000, scores=(0.9, 0.91), steps=100)
        >>> [advice.code for advice in check_comparison([ours])]
        ['no-random', 'no-small-dense', 'no-dense', 'few-seeds']
    """
    methods = [arm for arm in arms if arm.role == "method"]
    if not methods:
        raise CompressError(
            f"a comparison of {len(arms)} arms has none with the role 'method'.",
            hint="Arm(name=…, role='method', …) for what is looked at",
        )
    found = [
        *_missing(arms, methods, tolerance),
        *_budgets(arms, tolerance),
        *_seeds(arms),
        *_details(arms),
    ]
    return tuple(found)


def _missing(arms: Sequence[Arm], methods: Sequence[Arm], tolerance: float) -> list[Advice]:
    found = []
    for role, code, hint in (
        (
            "random",
            "no-random",
            "a random mask of equal density, allocated by 'erk', trained alike",
        ),
        ("small dense", "no-small-dense", "a dense network with as many parameters, trained alike"),
    ):
        peers = [arm for arm in arms if arm.role == role]
        without = [m.name for m in methods if not any(_near(m, p, tolerance) for p in peers)]
        if without:
            message = f"{', '.join(without)}: there is no {role} network with as many parameters."
            found.append(Advice(code=code, message=message, hint=hint))
    if not any(arm.role == "dense" for arm in arms):
        found.append(
            Advice(
                code="no-dense",
                message="The dense network itself is not in the comparison.",
                hint="its quality with the same budget",
            )
        )
    return found


def _near(a: Arm, b: Arm, tolerance: float) -> bool:
    return abs(a.parameters - b.parameters) <= tolerance * max(a.parameters, b.parameters)


def _budgets(arms: Sequence[Arm], tolerance: float) -> list[Advice]:
    steps = [arm.steps for arm in arms]
    if max(steps) - min(steps) <= tolerance * max(steps):
        return []
    counted = all(arm.training_macs is not None for arm in arms)
    if counted:
        macs = [arm.training_macs or 0.0 for arm in arms]
        if max(macs) - min(macs) <= tolerance * max(macs):
            return []
    longest = max(arms, key=lambda arm: arm.steps)
    shortest = min(arms, key=lambda arm: arm.steps)
    return [
        Advice(
            code="unequal-budget",
            message=f"'{longest.name}' trains for {longest.steps} steps and '{shortest.name}' for "
            f"{shortest.steps}.",
            hint="equal steps, or equal training_macs; say which, since the order may change",
        )
    ]


def _seeds(arms: Sequence[Arm]) -> list[Advice]:
    found = []
    counts = {len(arm.scores) for arm in arms}
    if min(counts) < 3:
        message = f"There are as few as {min(counts)} seeds."
        found.append(Advice(code="few-seeds", message=message, hint="3 or more for every arm"))
    if len(counts) > 1:
        message = f"Arms have different numbers of seeds: {sorted(counts)}."
        found.append(Advice(code="unequal-seeds", message=message, hint="the same seeds for all"))
    if min(counts) < 2:
        return found
    methods = [arm for arm in arms if arm.role == "method"]
    for arm in methods:
        for other in arms:
            if other.role == "method" or not _near(arm, other, 0.05):
                continue
            gap = abs(statistics.fmean(arm.scores) - statistics.fmean(other.scores))
            noise = max(statistics.stdev(arm.scores), statistics.stdev(other.scores))
            if gap < noise:
                found.append(
                    Advice(
                        code="within-noise",
                        message=f"'{arm.name}' and '{other.name}' differ by {gap:.3g}, less than "
                        f"their spread over seeds, {noise:.3g}.",
                        hint="more seeds, or say that no difference was seen",
                    )
                )
    return found


def _details(arms: Sequence[Arm]) -> list[Advice]:
    found = []
    for arm in arms:
        if arm.role == "random" and arm.allocation in ("uniform", "global"):
            found.append(
                Advice(
                    code="weak-random",
                    message=f"'{arm.name}' allocates sparsity as '{arm.allocation}'.",
                    hint="'erk': the random baseline is much stronger with it",
                )
            )
        if not arm.is_tuned:
            found.append(
                Advice(
                    code="not-tuned",
                    message=f"'{arm.name}' has a learning rate that was chosen for another arm.",
                    hint="its own best learning rate on held-out data, for every arm",
                )
            )
        if arm.speedup is not None and not arm.is_speed_measured:
            found.append(
                Advice(
                    code="speed-not-measured",
                    message=f"'{arm.name}' is said to be {arm.speedup:g}x faster by counting.",
                    hint="a measured latency: zeros alone make no processor faster",
                )
            )
    return found
