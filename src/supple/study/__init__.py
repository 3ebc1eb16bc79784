"""Study: trials that survive anything, the front among them, and the pick.

A study is an Optuna study in an SQLite file: every trial is stored whole when it starts and when
it ends, so a killed search goes on where it was. The front holds what no other candidate beats.
"""

from supple.study._bound import Bound, parse_bound
from supple.study._front import Candidate, Front
from supple.study._hypervolume import hypervolume, hypervolume_curve, reference_point
from supple.study._study import Study
from supple.study._trial import Trial
from supple.study.direction import Direction, Directions
from supple.study.distributions import distributions
from supple.study.executors import Executor, Phases, executor, executor_names
from supple.study.pareto import dominance_ranks, non_dominated
from supple.study.storage import check_storage

__all__ = [
    "Bound",
    "Candidate",
    "Direction",
    "Directions",
    "Executor",
    "Front",
    "Phases",
    "Study",
    "Trial",
    "check_storage",
    "distributions",
    "dominance_ranks",
    "executor",
    "executor_names",
    "hypervolume",
    "hypervolume_curve",
    "non_dominated",
    "parse_bound",
    "reference_point",
]
