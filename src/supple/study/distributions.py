"""A space as Optuna distributions, so that any tool that reads Optuna studies reads ours.

Whole numbers in even steps become an ``IntDistribution``, everything else a
``CategoricalDistribution`` of the options themselves.
"""

from __future__ import annotations

from itertools import pairwise

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from supple.space import Choice, Space

__all__ = ["distributions"]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """One distribution for each choice, in order, over the options as they are."""
    return {name: _distribution(choice) for name, choice in space.items()}


def _distribution(choice: Choice) -> BaseDistribution:
    whole = [option for option in choice.options if isinstance(option, int)]
    if len(whole) == len(choice.options):
        steps = {high - low for low, high in pairwise(whole)} or {1}
        if len(steps) == 1:
            return IntDistribution(whole[0], whole[-1], step=steps.pop())
    return CategoricalDistribution(choice.options)
