"""Any sampler of Optuna as a strategy: TPE, NSGA-III, Gaussian processes, and so on.

Optuna's samplers keep their random state in memory and know nothing of inactive choices,
constraints or configs measured before. Here each trial gets a new sampler whose seed follows
from the number of the trial, and what the sampler notes in attributes is stored with the trial:
a search that was killed goes on as if it had not been. Numbers are shown to the sampler as
positions 0, 1, 2, … so that it knows their order.
"""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from supple.errors import SearchError, near_misses
from supple.search._mirror import MEMORY, Mirror
from supple.search._strategy import checked_space, exhausted
from supple.search._unseen import nearest_unseen
from supple.seeds import derived_seed, generator
from supple.space import Space
from supple.study.distributions import distributions

__all__ = ["OptunaSampler", "sampler_names"]

Genes = NDArray[np.int64]

# Proposals of measured configs before a neighbour is taken.
ATTEMPTS = 8

# A sequence has one seed; only its position moves.
SAME_SEED = frozenset({"QMCSampler"})
UNFIT = {
    "BaseSampler": "It is the base of samplers.",
    "BaseGASampler": "It is the base of genetic samplers.",
    "CmaEsSampler": "It needs real numbers, and keeps its state in a pickle, which is never read.",
    "GridSampler": "It goes through a grid in order; a strategy here never repeats a config.",
    "PartialFixedSampler": "Fix choices with space.restrict instead.",
}


def sampler_names() -> list[str]:
    """The classes of Optuna's samplers that can be strategies."""
    return [
        name for name in optuna.samplers.__all__ if name.endswith("Sampler") and name not in UNFIT
    ]


@dataclass(eq=False)
class OptunaSampler(BaseSampler):
    """A sampler of Optuna by the name of its class.

    Args:
        sampler: Name of a class in ``optuna.samplers``.
        space: The space to search.
        seed: Seed of everything it draws.
        settings: Its other settings, for instance ``{"n_startup_trials": 20}``.

    Example:
        >>> from supple.search import OptunaSampler
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> tpe = OptunaSampler("TPESampler", space=space, seed=0)
        >>> study.run(evaluate, tpe, evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    sampler: str
    _: KW_ONLY
    space: Space = field(repr=False)
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_space(self.space)
        if self.sampler in UNFIT:
            raise SearchError(
                f"Optuna's {self.sampler} cannot be a strategy.",
                why=UNFIT[self.sampler],
                hint="use one of " + ", ".join(sampler_names()) + ".",
            )
        if self.sampler not in sampler_names():
            raise SearchError(
                f"Optuna has no sampler '{self.sampler}'.",
                hint=near_misses(self.sampler, sampler_names()),
            )
        self._distributions = distributions(self.space)
        self._mirrors: weakref.WeakKeyDictionary[Any, dict[int, Mirror]]
        self._mirrors = weakref.WeakKeyDictionary()
        self._make(0, 0)  # refuses settings it does not have

    def __str__(self) -> str:
        return self.sampler

    def _make(self, number: int, attempt: int) -> BaseSampler:
        """The sampler for one trial."""
        kind = getattr(optuna.samplers, self.sampler)
        known = inspect.signature(kind).parameters
        for name in self.settings:
            if name not in known or name == "seed":
                raise SearchError(
                    f"{self.sampler} has no setting '{name}'.",
                    hint=near_misses(name, set(known) - {"seed"}),
                    setting=name,
                )
        path = () if self.sampler in SAME_SEED else (number, attempt)
        seed = derived_seed(self.seed, "search", self.sampler, *path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made: BaseSampler = kind(seed=seed, **self.settings)
        return made

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
        """The config of this trial, never one that was proposed before.

        Raises:
            SearchError: With ``error.data["exhausted"]`` if every config was proposed already.
        """
        row, memory = self._propose(self._mirror(study, trial.number), trial.number)
        if memory:
            study._storage.set_trial_system_attr(trial._trial_id, MEMORY, memory)
        return dict(self.space.from_indices(row))

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
            hint="suggest exactly the choices of the space.",
            choice=param_name,
        )

    def _mirror(self, study: optuna.Study, before: int) -> Mirror:
        """The trials before this one as the sampler sees them, kept while a study is searched."""
        kept = self._mirrors.setdefault(study._storage, {})
        mirror = kept.get(study._study_id)
        trials = [t for t in study.get_trials(deepcopy=False) if t.number < before]
        if mirror is None or not mirror.is_settled or mirror.count > len(trials):
            mirror = kept[study._study_id] = Mirror(self.space, study.directions)
        for trial in trials[mirror.count :]:
            mirror.add(trial)
        return mirror

    def _propose(self, mirror: Mirror, number: int) -> tuple[Genes, dict[str, Any]]:
        for attempt in range(ATTEMPTS):
            row, memory = mirror.ask(self._make(number, attempt))
            if row.tobytes() not in mirror.seen:
                return row, memory
        rng = generator(self.seed, "search", self.sampler, "neighbour", number)
        near = nearest_unseen(self.space, row, mirror.seen, rng)
        if near is None:
            raise exhausted(self.space)
        return near, memory
