"""What a strategy sees: an Optuna study in memory with the trials that count.

Strategies are Optuna samplers, so they are shown an Optuna study. It is not the stored one:
trials that were interrupted are left out, so that a killed and repeated search is, to the
strategy, the search that was never killed; and nothing a sampler does costs a commit. What a
sampler notes down (system attributes) is stored with the trial and shown to it again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from supple.errors import SearchError
from supple.space import Config, Space
from supple.study._trial import Trial
from supple.study.direction import Directions, study_directions
from supple.study.distributions import distributions
from supple.study.storage import quiet

__all__ = ["Proposal", "View"]

# How many measured configs in a row a sampler may propose before it counts as at its end.
REPEATS = 200


class Proposal:
    """A config to be measured, and what the sampler wants to remember about it."""

    def __init__(
        self,
        trial_id: int,
        config: Config,
        system_attrs: Mapping[str, Any],
        place: int,
        part: Mapping[str, Any] | None = None,
    ) -> None:
        self.trial_id = trial_id
        self.config = config
        self.system_attrs = dict(system_attrs)
        self.place = place
        self.part = part or {}  # what was measured of it before the driver was stopped


class View:
    """Trials as a sampler sees them, and its proposals.

    Args:
        space: The space.
        directions: The objectives.
        sampler: The strategy.
    """

    def __init__(self, space: Space, directions: Directions, sampler: BaseSampler) -> None:
        self.space = space
        self.objectives = list(directions)
        self.distributions = distributions(space)
        self.values_of: dict[Config, tuple[float, ...] | None] = {}
        self.sampler = sampler
        self.places = 0  # proposals so far, those that were known already left out
        self._storage = optuna.storages.InMemoryStorage()
        with quiet():
            self._id = self._storage.create_new_study(study_directions(directions))
        self._name = self._storage.get_study_name_from_id(self._id)

    def add(self, trial: Trial, system_attrs: Mapping[str, Any]) -> None:
        """Show a finished trial that was run before."""
        values = self._values(trial)
        state = TrialState.COMPLETE if trial.is_complete else TrialState.FAIL
        self._create(trial.config, state, values, system_attrs)
        self.values_of[trial.config] = values
        self.places += 1

    def repeat(
        self, config: Config, system_attrs: Mapping[str, Any], part: Mapping[str, Any]
    ) -> Proposal:
        """A proposal of before whose evaluation did not end; it is evaluated again."""
        trial_id = self._create(config, TrialState.RUNNING, None, system_attrs)
        self.values_of[config] = None
        self.places += 1
        return Proposal(trial_id, config, system_attrs, self.places - 1, part)

    def _create(
        self,
        config: Config,
        state: TrialState,
        values: tuple[float, ...] | None,
        system_attrs: Mapping[str, Any],
    ) -> int:
        template = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=list(values) if values else None,
            datetime_start=None,
            datetime_complete=None,
            params=dict(config),
            distributions=self.distributions,
            user_attrs={},
            system_attrs=dict(system_attrs),
            intermediate_values={},
        )
        return self._storage.create_new_trial(self._id, template_trial=template)

    @property
    def batch(self) -> int | None:
        """Which batch the next proposal belongs to; None where the sampler knows of none.

        Proposals of one batch do not depend on what comes of each other.
        """
        batch_of = getattr(self.sampler, "batch_of", None)
        if batch_of is None:
            return None
        return int(batch_of(self._storage.get_n_trials(self._id)))

    def propose(self) -> Proposal | None:
        """The sampler's next config that was not measured yet; None if it has no other."""
        for _ in range(REPEATS):
            proposal = self._ask()
            if proposal is None:
                return None
            if proposal.config not in self.values_of:
                # Until it is told, it counts as one that gave nothing.
                self.values_of[proposal.config] = None
                self.places += 1
                return proposal
            # Costs nothing: the sampler is told what is known, and the study hears nothing.
            self._finish(proposal.trial_id, self.values_of[proposal.config])
        return None

    def tell(self, proposal: Proposal, trial: Trial) -> None:
        """Show what came of a proposal."""
        values = self._values(trial)
        self.values_of[proposal.config] = values
        self._finish(proposal.trial_id, values)

    def _values(self, trial: Trial) -> tuple[float, ...] | None:
        return tuple(trial.values[n] for n in self.objectives) if trial.is_complete else None

    def _finish(self, trial_id: int, values: tuple[float, ...] | None) -> None:
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        frozen = self._storage.get_trial(trial_id)
        self.sampler.after_trial(self._study(), frozen, state, values)
        self._storage.set_trial_state_values(trial_id, state, values)

    def _study(self) -> optuna.Study:
        """A new object each time, because a study caches the trials it has read."""
        return optuna.Study(study_name=self._name, storage=self._storage, sampler=self.sampler)

    def _ask(self) -> Proposal | None:
        sampler, storage, study = self.sampler, self._storage, self._study()
        trial_id = storage.create_new_trial(self._id)
        frozen = storage.get_trial(trial_id)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler.before_trial(study, frozen)
                relative = sampler.infer_relative_search_space(study, frozen)
                params = dict(sampler.sample_relative(study, frozen, relative))
                for name, distribution in self.distributions.items():
                    if name not in params:
                        params[name] = sampler.sample_independent(study, frozen, name, distribution)
        except SearchError as problem:
            if problem.data.get("exhausted"):
                return None
            raise
        config = self._config(params)
        for name, distribution in self.distributions.items():
            internal = distribution.to_internal_repr(config[name])
            storage.set_trial_param(trial_id, name, internal, distribution)
        return Proposal(trial_id, config, storage.get_trial(trial_id).system_attrs, self.places)

    def _config(self, params: Mapping[str, Any]) -> Config:
        """The config a sampler means: its options must exist; constraints it cannot know."""
        for name, distribution in self.distributions.items():
            try:
                fits = distribution._contains(distribution.to_internal_repr(params[name]))
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise SearchError(
                    f"{self.sampler} proposed {params[name]!r} for the choice '{name}'.",
                    why=f"Its options are {self.space[name].options}.",
                    hint="mend the sampler; supple.search.strategy lists those that fit.",
                    choice=name,
                )
        return self.space.nearest({name: params[name] for name in self.space})
