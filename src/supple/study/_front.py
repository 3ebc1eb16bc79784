"""Front: the candidates that no other one beats in every objective, and the pick among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from supple.errors import MissingExtraError, NoCandidateError, StudyError, near_misses
from supple.space import Config
from supple.study._bound import Bound, parse_bound
from supple.study._hypervolume import hypervolume, reference_point
from supple.study.direction import Direction, checked_directions, losses
from supple.study.pareto import non_dominated

__all__ = ["Candidate", "Front"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A measured config.

    Args:
        number: Number of the trial that measured it.
        config: The config.
        values: Every number that was measured, by name; the objectives first.
        details: What else the measurement told: intervals, absolute figures, notes.
    """

    number: int
    config: Config
    values: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.number, self.config, dict(self.values), dict(self.details))

    def __hash__(self) -> int:
        return hash((self.number, self.config))


def _rebuild(
    number: int, config: Config, values: dict[str, float], details: dict[str, Any]
) -> Candidate:
    return Candidate(number=number, config=config, values=values, details=details)


class Front(Sequence[Candidate]):
    """The non-dominated candidates, best in the first objective first.

    Remembers the others too: a pick may be bounded by something that is no objective.

    Args:
        candidates: All candidates; each has a value for every objective.
        directions: ``"min"`` or ``"max"`` for each objective.

    Example:
        >>> from supple.space import Config
        >>> from supple.study import Candidate, Front
        >>> measured = [(8, 0.91, 0.3), (16, 0.97, 0.5), (32, 0.96, 0.9)]
        >>> front = Front(
        ...     [
        ...         Candidate(
        ...             number=number,
        ...             config=Config({"width": width}),
        ...             values={"accuracy": accuracy, "latency": latency},
        ...         )
        ...         for number, (width, accuracy, latency) in enumerate(measured)
        ...     ],
        ...     {"accuracy": "max", "latency": "min"},
        ... )
        >>> front
        Front(2 of 3 candidates; accuracy max, latency min)
        >>> front.pick(latency=0.4).config
        Config({'width': 8})
    """

    def __init__(self, candidates: Iterable[Candidate], directions: Mapping[str, str]) -> None:
        self.directions: dict[str, Direction] = checked_directions(directions)
        self.candidates = tuple(candidates)
        for candidate in self.candidates:
            self._check(candidate)
        table = losses([c.values for c in self.candidates], self.directions)
        on_front = np.flatnonzero(non_dominated(table))
        order = sorted(on_front.tolist(), key=lambda i: (*table[i], self.candidates[i].number))
        self._front = tuple(self.candidates[i] for i in order)

    def _check(self, candidate: Candidate) -> None:
        for name in self.directions:
            if name not in candidate.values:
                raise StudyError(
                    f"candidate {candidate.number} has no value of the objective '{name}'.",
                    hint=near_misses(name, candidate.values),
                    objective=name,
                )

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self._front[index]

    def __len__(self) -> int:
        return len(self._front)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._front)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Front):
            return NotImplemented
        return (self._front, self.directions) == (other._front, other.directions)

    def __hash__(self) -> int:
        return hash((self._front, tuple(self.directions.items())))

    def __repr__(self) -> str:
        ways = ", ".join(f"{name} {way}" for name, way in self.directions.items())
        return f"Front({len(self)} of {len(self.candidates)} candidates; {ways})"

    def hypervolume(self, reference: Mapping[str, float] | None = None) -> float:
        """The volume this front dominates.

        Args:
            reference: The worst corner by objective; None for the point that
                ``reference_point`` finds in the candidates, in the order of their numbers.
        """
        if not self.candidates:
            return 0.0
        if reference is None:
            ordered = sorted(self.candidates, key=lambda c: c.number)
            reference = reference_point([c.values for c in ordered], self.directions)
        return hypervolume([c.values for c in self], reference, self.directions)

    def to_rows(self) -> list[dict[str, Any]]:
        """One flat dict per candidate: number, measured values, then the config's options."""
        return [{"number": c.number, **c.values, **c.config} for c in self]

    def to_frame(self) -> Any:
        """The rows as a ``pandas.DataFrame``.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        try:
            import pandas as pd  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            raise MissingExtraError(
                "Front.to_frame needs the package 'pandas', which is not installed.",
                hint="pip install pandas; or use front.to_rows(), a list of dicts.",
                package="pandas",
            ) from None
        return pd.DataFrame(self.to_rows())

    def pick(self, *, best: str | None = None, **bounds: float | str | Bound) -> Candidate:
        """The best candidate that meets all bounds, among all candidates measured.

        Args:
            best: The objective to be best in. By default the first one that is not bounded,
                maximised ones before minimised ones; ties go to the better other objectives.
            **bounds: A bound by name of an objective, or of anything else that was measured:
                at most so much of what is minimised (and of all that is no objective), at least
                so much of what is maximised. ``latency=0.5`` is compared with the value
                itself, ``latency="2ms"`` with the measured ``latency_ms``; see ``parse_bound``.

        Raises:
            NoCandidateError: If no candidate meets them; it names the closest.
        """
        if not self.candidates:
            raise NoCandidateError(
                "there is no candidate to pick from: no trial is complete yet.",
                hint="run the search first.",
            )
        limits = {name: parse_bound(bound) for name, bound in bounds.items()}
        excess = np.array([self._excess(c, limits) for c in self.candidates])
        excess = excess.reshape(len(self.candidates), len(limits))
        meets = np.all(excess <= 0, axis=1)
        if not meets.any():
            raise self._nobody(limits, excess)
        order = self._objectives_by_importance(best, limits)
        table = losses([c.values for c in self.candidates], {n: self.directions[n] for n in order})
        ranked = sorted(
            np.flatnonzero(meets).tolist(), key=lambda i: (*table[i], self.candidates[i].number)
        )
        return self.candidates[ranked[0]]

    def _objectives_by_importance(self, best: str | None, limits: Mapping[str, Bound]) -> list[str]:
        if best is not None and best not in self.directions:
            raise StudyError(
                f"there is no objective '{best}' to be best in.",
                hint=near_misses(best, self.directions),
                objective=best,
            )
        return sorted(  # stable: else in the order given
            self.directions,
            key=lambda n: (n != best, n in limits, self.directions[n] != "max"),
        )

    def _excess(self, candidate: Candidate, limits: Mapping[str, Bound]) -> list[float]:
        """By how much each bound is missed, as a fraction of the bound; 0 or less if it is met."""
        missed = []
        for name, bound in limits.items():
            over = self._value(candidate, name, bound) - bound.value
            over = -over if self.directions.get(name) == "max" else over
            missed.append(over / (abs(bound.value) or 1.0))
        return missed

    def _value(self, candidate: Candidate, name: str, bound: Bound) -> float:
        """What was measured under ``name``, in the bound's unit where that was recorded."""
        key = f"{name}_{bound.unit}"
        if bound.is_absolute:
            for found in (candidate.values.get(key), candidate.details.get(key)):
                if isinstance(found, int | float):
                    return float(found)
        if name in candidate.values:
            return candidate.values[name]
        raise StudyError(
            f"candidate {candidate.number} has no measured '{name}' that could be bounded.",
            hint=near_misses(name, candidate.values),
            bound=name,
        )

    def _nobody(self, limits: Mapping[str, Bound], excess: NDArray[np.float64]) -> NoCandidateError:
        closest = self.candidates[int(np.argmin(excess.max(axis=1)))]
        asked, found = [], {}
        for name, bound in limits.items():
            sign = ">=" if self.directions.get(name) == "max" else "<="
            asked.append(f"{name} {sign} {bound}")
            found[name] = self._value(closest, name, bound)
        shown = ", ".join(f"{name} {value:.6g}" for name, value in found.items())
        return NoCandidateError(
            f"none of {len(self.candidates)} candidates has {' and '.join(asked)}.",
            why=f"The closest is trial {closest.number} with {shown}.",
            hint="loosen the bound, or search on with more evaluations.",
            closest=closest.number,
            values=found,
        )
