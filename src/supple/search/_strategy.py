"""What all strategies of supple share: batches that are functions of the seed and the past.

A strategy is an Optuna sampler that proposes all choices of a trial together. Trial ``n``
belongs to batch ``n // population``, unless the strategy says otherwise; the batch is made from
the seed, its number and the trials before it. Nothing else is remembered, so a search that was
killed and repeated proposes what it would have proposed. No config is proposed twice.
"""

from __future__ import annotations

import abc
import weakref
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from threadpoolctl import threadpool_limits

from supple.errors import SearchError
from supple.search._history import History, history
from supple.search._unseen import fresh_rows, random_unseen
from supple.seeds import generator
from supple.space import Option, Space
from supple.study.distributions import distributions

__all__ = ["Strategy", "checked_space", "exhausted"]

Genes = NDArray[np.int64]


@dataclass(eq=False)
class Strategy(BaseSampler):
    """Base of the strategies of supple.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: How many configs are proposed from the same knowledge.
        start: Configs to propose first, for instance ``(space.largest, space.smallest)``.
    """

    _: KW_ONLY
    space: Space = field(repr=False)
    seed: int = 0
    population: int = 20
    start: tuple[Mapping[str, Option], ...] = field(default=(), repr=False)

    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        checked_space(self.space)
        if not isinstance(self.population, int) or self.population < self._smallest_population():
            raise SearchError(
                f"the population of '{self.name}' must be at least "
                f"{self._smallest_population()}, got {self.population!r}.",
                hint="population=20.",
            )
        first = [self.space.to_indices(self.space.validate(config)) for config in self.start]
        self._start = np.array(first, dtype=np.int64).reshape(len(first), len(self.space))
        self._distributions = distributions(self.space)
        # Only to save time: batches of the studies that are being searched.
        self._batches: weakref.WeakKeyDictionary[Any, dict[tuple[int, int], Genes]]
        self._batches = weakref.WeakKeyDictionary()

    @classmethod
    def _smallest_population(cls) -> int:
        return 1

    def _size(self, number: int) -> int:
        """How many configs the batch with this number has."""
        return self.population

    def _place(self, trial: int) -> tuple[int, int]:
        """The batch that a trial belongs to, and its position there."""
        return divmod(trial, self.population)

    def batch_of(self, trial: int) -> int:
        """The batch that a trial belongs to; its proposals do not depend on each other's values."""
        return self._place(trial)[0]

    @abc.abstractmethod
    def propose(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """Rows of genes worth measuring next.

        Rows that were seen, and rows beyond ``count``, are dropped by the caller; if rows are
        missing then, random ones that were not seen take their place.

        Args:
            past: The trials before this batch.
            count: How many are wanted.
            rng: Where all randomness comes from.
        """

    def batch(self, past: History, number: int) -> Genes:
        """The whole batch with this number: different rows, none seen before.

        Shorter than the population only if the space holds no more.
        """
        rng = generator(self.seed, "search", self.name, number)
        first = self._start if number == 0 else self._start[:0]
        wanted = self._size(number)
        # Matrices of some hundred rows: threads would only wait for each other.
        with threadpool_limits(limits=1):
            rows = self.propose(past, wanted, rng) if len(first) < wanted else first
        rows = fresh_rows(np.vstack([first, rows]), past.seen)[:wanted]
        if len(rows) < wanted:
            seen = past.seen | {row.tobytes() for row in rows}
            rows = np.vstack([rows, random_unseen(self.space, wanted - len(rows), seen, rng)])
        return rows

    # The interface of Optuna

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All choices of the space: they are proposed together."""
        return dict(self._distributions)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """The config of this trial.

        Raises:
            SearchError: With ``error.data["exhausted"]`` if every config was proposed already.
        """
        number, position = self._place(trial.number)
        batches = self._batches.setdefault(study._storage, {})
        key = (study._study_id, number)
        if key not in batches:
            batches.clear()  # only the newest batch will be asked for again
            past = history(self.space, study, trial.number - position)
            batches[key] = self.batch(past, number)
        if position >= len(batches[key]):
            raise exhausted(self.space)
        return dict(self.space.from_indices(batches[key][position]))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refused: a choice that is not in the space cannot be proposed."""
        raise SearchError(
            f"the objective asks for '{param_name}', which the space does not have.",
            why=f"'{self.name}' proposes all choices of its space together.",
            hint="suggest exactly the choices of the space.",
            choice=param_name,
        )


def checked_space(space: Any) -> Space:
    """``space`` if it is one."""
    if not isinstance(space, Space):
        raise SearchError(
            f"a strategy searches a Space, got {type(space).__name__}.", hint="space=net.space."
        )
    return space


def exhausted(space: Space) -> SearchError:
    """What a strategy raises when it has nothing new to propose; a study ends there."""
    return SearchError(
        f"all configs of this space ({space.size}) were proposed already.",
        hint="widen the space, or stop here: nothing is left to measure.",
        exhausted=True,
    )
