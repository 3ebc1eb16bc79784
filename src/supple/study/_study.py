"""Study: every config that was measured, on disk, so that a search can stop and go on.

Optuna's storage underneath, so that its tools read it; the loop is ours. One driver writes. To
resume is to do the same again: open the study, run it to the same number of evaluations.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Self

from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage

from supple.errors import StudyError, near_misses
from supple.progress import Progress
from supple.space import Space
from supple.study._driver import Driver
from supple.study._front import Front
from supple.study._hypervolume import hypervolume_curve
from supple.study._identity import Identity
from supple.study._interrupt import Interrupt, held_interrupt
from supple.study._lock import only_driver
from supple.study._outcome import Evaluate
from supple.study._record import Record
from supple.study._trial import Trial
from supple.study._view import View
from supple.study.direction import Direction, study_directions
from supple.study.executors import Executor, LocalExecutor, Phases
from supple.study.storage import Location, explained, make_folder, open_storage, quiet

__all__ = ["Study"]

# The user attribute of an Optuna study that says what it is about.
IDENTITY = "supple"


class Study:
    """The trials of one search, in an Optuna storage.

    Made by ``Study.open`` (to run it) or ``Study.load`` (to read it).

    Attributes:
        name: Name of the study in its storage.
        space: The space searched.
        directions: ``"min"`` or ``"max"`` for each objective.
        fingerprint: What else the values depend on.
        version: The version of supple that made the study.
        interrupted: Whether the last run was ended by Ctrl-C.
        note: Why the last run ended before its number of evaluations; empty if it did not.

    Example:
        >>> from supple.search import strategy
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, strategy("random", space=space), evaluations=9)
        Study('study' at memory: 9 of 9 trials complete)
        >>> study.front.pick(latency=24).config
        Config({'a': 16, 'b': 8})
    """

    def __init__(
        self, *, record: Record, name: str, identity: Identity, is_read_only: bool
    ) -> None:
        self.name = name
        self.space = identity.space
        self.directions: dict[str, Direction] = dict(identity.directions)
        self.fingerprint = dict(identity.fingerprint)
        self.version = identity.version
        self.interrupted = False
        self.note = ""
        self._record = record
        self._is_read_only = is_read_only
        self._trials: list[Trial] = []
        self.refresh()

    # Opening

    @classmethod
    def open(
        cls,
        storage: str | os.PathLike[str] | None = None,
        *,
        name: str = "study",
        space: Space,
        directions: Mapping[str, str],
        fingerprint: Mapping[str, Any] | None = None,
    ) -> Self:
        """The study of this name, made if it is not there, ready to run.

        Args:
            storage: A path or ``sqlite:///`` URL of a file, another database URL, or None for
                memory.
            name: Name in the storage; several studies may share a file.
            space: The space to search.
            directions: ``"min"`` or ``"max"`` for each objective.
            fingerprint: What must be the same for values to be comparable: task, data, weights.

        Raises:
            StudyError: If the study is about something else (it says what differs), damaged, or
                being driven by another process.
        """
        identity = Identity.of(space, directions, fingerprint)
        location = Location.of(storage)
        if location.path is not None:
            make_folder(location.path)  # the lock file is there before the database
        with only_driver(location, name):
            backend = open_storage(location, create=True)
            with explained(location), quiet():
                study_id, stored = _found_or_made(backend, name, identity)
            identity.require_same(stored, name)
            record = _record(backend, location, study_id, name, stored)
            record.reclaim()
            return cls(record=record, name=name, identity=stored, is_read_only=False)

    @classmethod
    def load(cls, storage: str | os.PathLike[str], name: str | None = None) -> Self:
        """A study to read, also while another process runs it.

        Args:
            storage: Where it is, as for ``open``.
            name: Its name; may be left out if the storage holds one study.

        Raises:
            StudyError: If it is not there or damaged.
        """
        location = Location.of(storage)
        backend = open_storage(location, create=False)
        with explained(location):
            known = {found.study_name: found for found in backend.get_all_studies()}
        if not known:
            raise StudyError(
                f"there is no study at {location}.", hint="run the search that makes it."
            )
        if name is None and len(known) > 1:
            raise StudyError(
                f"{location} holds {len(known)} studies.",
                hint="name one: " + ", ".join(f"'{n}'" for n in sorted(known)) + ".",
            )
        chosen = next(iter(known)) if name is None else name
        if chosen not in known:
            raise StudyError(
                f"there is no study '{chosen}' at {location}.", hint=near_misses(chosen, known)
            )
        found = known[chosen]
        identity = _identity(found.user_attrs, chosen)
        record = _record(backend, location, found._study_id, chosen, identity)
        return cls(record=record, name=chosen, identity=identity, is_read_only=True)

    # Reading

    @property
    def storage(self) -> str:
        """Where the study is stored: a path, a URL without its password, or ``memory``."""
        return str(self._record.location)

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order in which they were started."""
        return list(self._trials)

    @property
    def complete(self) -> list[Trial]:
        """The trials whose objectives were all measured."""
        return [trial for trial in self._trials if trial.is_complete]

    @property
    def front(self) -> Front:
        """The non-dominated candidates among the complete trials."""
        return Front((trial.to_candidate() for trial in self.complete), self.directions)

    def hypervolume_curve(
        self, reference: Mapping[str, float] | None = None
    ) -> list[tuple[int, float]]:
        """Hypervolume after each complete trial; see ``supple.study.hypervolume_curve``."""
        return hypervolume_curve(self.complete, self.directions, reference)

    def refresh(self) -> None:
        """Read all trials again, for a study that another process runs."""
        self._trials = [trial for trial, _ in self._record.trials()]

    def __repr__(self) -> str:
        done, total = len(self.complete), len(self._trials)
        return f"Study('{self.name}' at {self.storage}: {done} of {total} trials complete)"

    # Running

    def run(
        self,
        evaluate: Evaluate,
        strategy: BaseSampler,
        *,
        evaluations: int,
        executor: Executor | None = None,
        progress: Progress | None = None,
        stop: Callable[[Study], bool] | None = None,
    ) -> Self:
        """Evaluate configs until so many trials are complete, those from before included.

        An evaluation that raises, or gives no finite number, is recorded with what went wrong,
        and the search goes on. No config is evaluated twice, unless it was interrupted. Ctrl-C
        ends the run with what there is.

        Args:
            evaluate: Gives the values of a config by name, or a pair of values and details.
                Values beyond the objectives are kept too. `Phases` tells an executor with workers
                which part must run alone.
            strategy: What proposes configs: any Optuna sampler.
            evaluations: Number of complete trials at which to end.
            executor: Where evaluations run; None for here, one after the other.
            progress: Called after every trial.
            stop: Asked before every trial whether to end here.

        Raises:
            StudyError: If the first five evaluations all fail, if another driver runs this
                study, if it can no longer be written, or if the workers cannot be reached.
        """
        self._check_run(strategy, evaluations)
        self.interrupted, self.note = False, ""
        lock = only_driver(self._record.location, self.name)
        with lock as still_ours, held_interrupt() as interrupt:
            try:
                self._record.reclaim()
                self.refresh()
                self._drive(
                    evaluate,
                    View(self.space, self.directions, strategy),
                    evaluations,
                    executor or LocalExecutor(),
                    still_ours,
                    interrupt,
                    progress,
                    stop,
                )
            except StudyError:
                # What is being evaluated ends with its workers; said now, where it can be.
                with contextlib.suppress(StudyError):
                    self._record.reclaim("interrupted")
                self._trials = [t for t in self._trials if t.state != "running"]
                raise
            except KeyboardInterrupt:
                self.interrupted = True
                self._record.reclaim("interrupted")
                self.refresh()
                self.note = f"interrupted after {len(self.complete)} of {evaluations} evaluations"
        return self

    def _drive(
        self,
        evaluate: Evaluate,
        view: View,
        evaluations: int,
        executor: Executor,
        still_ours: Callable[[], None],
        interrupt: Interrupt,
        progress: Progress | None,
        stop: Callable[[Study], bool] | None,
    ) -> None:
        slots = self._record.slots()
        if len(self.complete) >= evaluations:
            return
        alone: Evaluate | None = None
        if isinstance(evaluate, Phases) and executor.is_remote:
            alone, evaluate = evaluate.alone, evaluate.together
        with executor.open(evaluate) as pool:
            driver = Driver(
                record=self._record,
                view=view,
                pool=pool,
                workers=executor.count(),
                alone=alone,
                evaluations=evaluations,
                trials=self._trials,
                still_ours=still_ours,
                interrupt=interrupt,
                progress=progress,
                stop=None if stop is None else lambda: stop(self),
            )
            self.note = driver.run(slots)

    def _check_run(self, strategy: BaseSampler, evaluations: int) -> None:
        if self._is_read_only:
            raise StudyError(
                f"study '{self.name}' was loaded to be read.",
                hint="Study.open(storage, space=..., directions=...) opens it to be run.",
            )
        if not isinstance(strategy, BaseSampler):
            raise StudyError(
                f"a study is run by an Optuna sampler, got {type(strategy).__name__}.",
                hint='supple.search.strategy("linas", space=study.space).',
            )
        if getattr(strategy, "space", self.space) != self.space:
            raise StudyError(
                f"the strategy was made for another space than study '{self.name}'.",
                hint="strategy(name, space=study.space).",
            )
        if isinstance(evaluations, bool) or not isinstance(evaluations, int) or evaluations < 0:
            raise StudyError(
                f"the number of evaluations must be a whole number, got {evaluations!r}.",
                hint="evaluations=200.",
            )


def _record(
    storage: BaseStorage, location: Location, study_id: int, name: str, identity: Identity
) -> Record:
    return Record(
        storage=storage,
        location=location,
        study_id=study_id,
        name=name,
        space=identity.space,
        directions=identity.directions,
    )


def _found_or_made(backend: BaseStorage, name: str, identity: Identity) -> tuple[int, Identity]:
    """The id of the study and what it is about, stored now if it is new."""
    try:
        study_id = backend.get_study_id_from_name(name)
    except KeyError:
        ways = study_directions(identity.directions)
        study_id = backend.create_new_study(ways, study_name=name)
    attributes = backend.get_study_user_attrs(study_id)
    if IDENTITY not in attributes and not backend.get_n_trials(study_id):
        # New, or its maker was killed before this line.
        backend.set_study_system_attr(study_id, "study:metric_names", list(identity.directions))
        backend.set_study_user_attr(study_id, IDENTITY, identity.to_data())
        return study_id, identity
    return study_id, _identity(attributes, name)


def _identity(attributes: Mapping[str, Any], name: str) -> Identity:
    if IDENTITY not in attributes:
        raise StudyError(
            f"study '{name}' was not made by supple.",
            why="It is an Optuna study without a space of supple.",
            hint="use another name or storage.",
        )
    return Identity.from_data(attributes[IDENTITY], name)
