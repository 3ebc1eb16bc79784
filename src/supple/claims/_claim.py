"""What a claim is: a sentence of a paper, what decides it, and how one seed is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from supple.claims._figure import Dots, Lines
from supple.claims._rule import Rule
from supple.errors import ClaimError

__all__ = ["Arms", "Budget", "Claim", "Curve", "claim"]

Budget = Literal["quick", "full"]

Curve = Sequence[tuple[float, float]]
"""Points ``(x, y)`` of a curve, such as hypervolume over measurements."""

Arms = Mapping[str, Mapping[str, float | Curve]]
"""What one seed gives: arm -> metric -> a number, or a curve for the figure."""

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class Claim(Generic[S]):
    """A claim; made by :func:`claim`.

    Attributes:
        module: The module it is written in.
        function: The name of its measuring function there.
        paper: Id of the paper in the catalogue.
        says: What the paper says, one sentence.
        reported: The figure the paper reports, in its own setting.
        here: Our smaller setting, and why the effect should still show.
        rules: What decides; the first is the headline.
        quick: Settings that take seconds.
        full: Settings that take minutes.
        quick_seeds: How many seeds the quick budget has.
        full_seeds: How many seeds the full budget has.
        figure: What the figure shows; by default the headline's metric.
        tried: Where the claim does not hold: what was tried.
        measure: ``measure(seed, settings)``, all arms of one seed.
    """

    module: str
    function: str
    paper: int
    says: str
    reported: str
    here: str
    rules: tuple[Rule, ...]
    quick: S
    full: S
    quick_seeds: int = 3
    full_seeds: int = 5
    figure: Dots | Lines | None = None
    tried: str = ""
    measure: Callable[[int, S], Arms] = dataclasses.field(repr=False)

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.module.rpartition(".")[2]

    def settings(self, budget: Budget) -> S:
        """The settings of this budget."""
        return self.quick if budget == "quick" else self.full

    def seeds(self, budget: Budget) -> tuple[int, ...]:
        """The seeds of this budget."""
        return tuple(range(self.quick_seeds if budget == "quick" else self.full_seeds))


def claim(
    *,
    paper: int,
    says: str,
    reported: str,
    here: str,
    rules: Sequence[Rule],
    quick: S,
    full: S,
    quick_seeds: int = 3,
    full_seeds: int = 5,
    figure: Dots | Lines | None = None,
    tried: str = "",
) -> Callable[[Callable[[int, S], Arms]], Claim[S]]:
    """Make a claim of a function ``measure(seed, settings)`` that measures all arms of one seed.

    The settings are two values of one frozen dataclass. Inside ``measure``, torch's global
    generator is seeded from the seed and left as it was afterwards, and torch has one thread.

    Example:
        >>> from supple.claims import Rule, claim
        >>> @claim(paper=86, says="…", reported="…", here="…", quick=10, full=100,
        ...        rules=[Rule(metric="loss", method="a", baseline="b", better="lower")])
        ... def measure(seed, draws):
        ...     return {"a": {"loss": 1.0 / draws}, "b": {"loss": 1.0}}
        >>> measure.rules[0].sentence()
        'loss of a is lower than that of b'
    """
    if not rules or min(quick_seeds, full_seeds) < 1:
        raise ClaimError(
            "a claim needs at least one rule and one seed.",
            hint='rules=[Rule(metric="accuracy", method="selu", baseline="relu")].',
        )

    def make(measure: Callable[[int, S], Arms]) -> Claim[S]:
        return Claim(
            module=measure.__module__,
            function=measure.__name__,
            paper=paper,
            says=says,
            reported=reported,
            here=here,
            rules=tuple(rules),
            quick=quick,
            full=full,
            quick_seeds=quick_seeds,
            full_seeds=full_seeds,
            figure=figure,
            tried=tried,
            measure=measure,
        )

    return make


def settings_json(settings: Any) -> Any:
    """The settings of a budget as JSON data."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {
            f.name: settings_json(getattr(settings, f.name)) for f in dataclasses.fields(settings)
        }
    if isinstance(settings, tuple | list):
        return [settings_json(item) for item in settings]
    if settings is None or isinstance(settings, bool | int | float | str):
        return settings
    return repr(settings)
