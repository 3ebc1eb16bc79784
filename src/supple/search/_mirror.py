"""Trials as a sampler of Optuna likes them: whole numbers in order, nothing left out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from supple.search._history import row_of
from supple.space import Space
from supple.study.storage import quiet

__all__ = ["MEMORY", "Mirror"]

Genes = NDArray[np.int64]

# Where a trial keeps what its sampler noted down.
MEMORY = "supple:sampler"


class Mirror:
    """A study in memory whose parameters are genes.

    Args:
        space: The space.
        directions: The directions of the study that is mirrored.
    """

    def __init__(self, space: Space, directions: Sequence[StudyDirection]) -> None:
        self.space = space
        self.seen: set[bytes] = set()
        self.count = 0
        self.is_settled = True  # nothing in it will change any more
        self.distributions = _distributions(space)
        self._storage = optuna.storages.InMemoryStorage()
        self._open: int | None = None
        with quiet():
            self._id = self._storage.create_new_study(list(directions))
        self._name = self._storage.get_study_name_from_id(self._id)

    def add(self, trial: FrozenTrial) -> None:
        """Mirror the next trial; what came of the last ``ask`` if it was asked for here."""
        row = row_of(self.space, trial.params)
        if row is not None:
            self.seen.add(row.tobytes())
        self.is_settled &= trial.state.is_finished()
        if self._open is None:
            self._open = self._storage.create_new_trial(self._id)
            self._remember(self._open, trial.system_attrs.get(MEMORY, {}))
        # A trial of another program keeps its number, but tells the sampler nothing.
        complete = row is not None and trial.state == TrialState.COMPLETE
        for name, value in self._params(row).items() if row is not None else ():
            distribution = self.distributions[name]
            internal = distribution.to_internal_repr(value)
            self._storage.set_trial_param(self._open, name, internal, distribution)
        if trial.state.is_finished():
            state = TrialState.COMPLETE if complete else TrialState.FAIL
            self._storage.set_trial_state_values(
                self._open, state, trial.values if complete else None
            )
        self._open = None
        self.count += 1

    def ask(self, sampler: BaseSampler) -> tuple[Genes, dict[str, Any]]:
        """A row of genes for the next trial, and what the sampler noted down."""
        if self._open is None:
            self._open = self._storage.create_new_trial(self._id)
        known = self._storage.get_study_system_attrs(self._id)
        # A new object, because a study caches the trials it has read.
        study = optuna.Study(study_name=self._name, storage=self._storage, sampler=sampler)
        trial = copy.copy(self._storage.get_trial(self._open))
        sampler.before_trial(study, trial)
        relative = sampler.infer_relative_search_space(study, trial)
        params = dict(sampler.sample_relative(study, trial, relative))
        for name, distribution in self.distributions.items():
            if name not in params:
                trial.params = dict(params)
                trial.distributions = {n: self.distributions[n] for n in params}
                params[name] = sampler.sample_independent(study, trial, name, distribution)
        row = self.space.canonical_indices(self._genes(params)[None])[0]
        return row, self._memory(known)

    def _genes(self, params: dict[str, Any]) -> Genes:
        genes = np.zeros(len(self.space), dtype=np.int64)
        for position, (name, choice) in enumerate(self.space.items()):
            if name in self.distributions:
                value = params[name]
                genes[position] = value if choice.is_number else choice.options.index(value)
        return genes

    def _params(self, row: Genes) -> dict[str, Any]:
        genes = dict(zip(self.space, row.tolist(), strict=True))
        return {
            name: genes[name] if choice.is_number else choice.options[genes[name]]
            for name, choice in self.space.items()
            if name in self.distributions
        }

    def _memory(self, known: dict[str, Any]) -> dict[str, Any]:
        assert self._open is not None
        now = self._storage.get_study_system_attrs(self._id)
        study = {key: value for key, value in now.items() if known.get(key) != value}
        noted = {
            "trial": dict(self._storage.get_trial(self._open).system_attrs),
            "study": study,
        }
        return {key: value for key, value in noted.items() if value}

    def _remember(self, trial_id: int, memory: dict[str, Any]) -> None:
        for key, value in memory.get("trial", {}).items():
            self._storage.set_trial_system_attr(trial_id, key, value)
        for key, value in memory.get("study", {}).items():
            self._storage.set_study_system_attr(self._id, key, value)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """Positions for numbers, names for swaps; what has one option is left out."""
    return {
        name: IntDistribution(0, len(choice.options) - 1)
        if choice.is_number
        else CategoricalDistribution(choice.options)
        for name, choice in space.items()
        if len(choice.options) > 1
    }
