"""What a strategy may know: the trials before a given one, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import TrialState

from supple.errors import SpaceError
from supple.space import Space

__all__ = ["History", "history", "row_of"]


@dataclass(frozen=True, kw_only=True)
class History:
    """Trials before some number.

    Args:
        genes: Rows of genes of the complete trials, in order.
        losses: Their losses: values with the sign of maximised objectives flipped.
        seen: All configs that were proposed, whatever came of them.
        objectives: How many losses there are.
        maximised: Which of them are values with the sign flipped.
    """

    genes: NDArray[np.int64]
    losses: NDArray[np.float64]
    seen: frozenset[bytes]
    objectives: int
    maximised: tuple[bool, ...] = ()


def history(space: Space, study: optuna.Study, before: int) -> History:
    """The trials of a study with numbers below ``before``; failed ones count as seen only."""
    sign = np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions])
    genes, losses, seen = [], [], set()
    for trial in study.get_trials(deepcopy=False):
        if trial.number >= before:
            continue
        row = row_of(space, trial.params)
        if row is None:
            continue
        seen.add(row.tobytes())
        if trial.state == TrialState.COMPLETE and np.all(np.isfinite(trial.values)):
            genes.append(row)
            losses.append(np.asarray(trial.values, dtype=np.float64) * sign)
    return History(
        genes=np.array(genes, dtype=np.int64).reshape(len(genes), len(space)),
        losses=np.array(losses, dtype=np.float64).reshape(len(losses), len(sign)),
        seen=frozenset(seen),
        objectives=len(sign),
        maximised=tuple((sign < 0).tolist()),
    )


def row_of(space: Space, params: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """The genes of stored choices; None for a trial that another program added."""
    try:
        row: NDArray[np.int64] = space.canonical_indices(space.to_indices(params)[None])[0]
    except SpaceError:
        return None
    return row
