"""What the measured configs tell of the others: one Gaussian process per unknown loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from supple.errors import SearchError
from supple.predict import GaussianProcess, GPMixture
from supple.search._history import History
from supple.space import Space

__all__ = ["Surrogate", "Warp"]

Genes = NDArray[np.int64]
Losses = NDArray[np.float64]

# How the counted losses are scaled as features, beside columns of codes from 0 to 1.
FEATURE_SPREAD = 0.3


@dataclass(frozen=True)
class Warp:
    """Losses above ``middle`` drawn in: far behind, only the order is worth fitting.

    Above the middle, ``middle + width * log(1 + (loss - middle) / width)``; below, unchanged.

    Args:
        middle: Where it starts.
        width: How quickly.
    """

    middle: float
    width: float

    @classmethod
    def of(cls, losses: Losses) -> Warp:
        """From the median and the range below it."""
        middle = float(np.median(losses))
        width = middle - float(np.quantile(losses, 0.1))
        return cls(middle, width if width > 0 else np.inf)

    def __call__(self, losses: Losses) -> Losses:
        """Losses as they are fitted."""
        if not np.isfinite(self.width):
            return losses
        above = np.maximum(losses - self.middle, 0.0)
        drawn_in = self.middle + self.width * np.log1p(above / self.width)
        return np.where(losses > self.middle, drawn_in, losses)

    def undo(self, warped: Losses) -> Losses:
        """Losses as they are measured."""
        if not np.isfinite(self.width):
            return warped
        above = np.clip((warped - self.middle) / self.width, 0.0, 50.0)
        return np.where(warped > self.middle, self.middle + self.width * np.expm1(above), warped)


class Surrogate:
    """Mixtures of Gaussian processes for the losses that are not exact.

    Numbers are read as ordinal codes and one-hot, all choices alike or each with a weight of its
    own, with and without the exact losses as features; what predicts rows that were left out has
    the weight.

    Args:
        space: The space.
        past: What was measured.
        exact: Losses known without measuring, by their place.
        warps: Whether far losses are drawn in.
        features: Further columns for rows of genes, shape (N, any number).
        averages: Whether the mixture is taken; otherwise the one process of the largest marginal
            likelihood.
    """

    def __init__(
        self,
        space: Space,
        past: History,
        exact: Mapping[int, Callable[[Genes], Losses]],
        *,
        warps: bool,
        features: Callable[[Genes], Losses] | None = None,
        averages: bool = True,
    ) -> None:
        self.exact, self.features = exact, features
        self.objectives = past.objectives
        self._counted = [i for i in range(past.objectives) if i in exact]
        known = self._known(past.genes, past.losses[:, self._counted])
        self._low = known.min(axis=0)
        spread = known.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._codes, alike, own = _encoding(space)
        width = sum(len(group) for view in alike for group in view)
        beside = [[width + i] for i in range(known.shape[1])]
        views = [[*view, *beside] for view in alike + own] + (alike + own if beside else [])
        columns = self._columns(past.genes, known)
        # Known columns are predicted too, where so many rows are looked at that asking is slow.
        quick = [GaussianProcess(views=alike, steps=25) for _ in range(known.shape[1])]
        self._quick = [m.fit(columns, known[:, i]) for i, m in enumerate(quick)]
        self._warps: dict[int, Warp] = {}
        self._models: dict[int, GaussianProcess | GPMixture] = {}
        for objective in range(past.objectives):
            if objective not in exact:
                losses = past.losses[:, objective]
                warp = Warp.of(losses) if warps else Warp(0.0, np.inf)
                kind = GPMixture if averages else GaussianProcess
                self._warps[objective] = warp
                self._models[objective] = kind(views=views).fit(columns, warp(losses))

    def conditioned(self, past: History) -> Surrogate:
        """The same after more measurements, with all settings as they were fitted.

        Args:
            past: What was measured: what the settings were fitted to, and more.
        """
        known = self._known(past.genes, past.losses[:, self._counted])
        columns = self._columns(past.genes, known)
        other = copy(self)
        other._quick = [m.conditioned(columns, known[:, i]) for i, m in enumerate(self._quick)]
        other._models = {
            objective: model.conditioned(columns, self._warps[objective](past.losses[:, objective]))
            for objective, model in self._models.items()
        }
        return other

    def _columns(self, rows: Genes, known: Losses) -> Losses:
        """All columns that the processes read."""
        return np.hstack([self._codes(rows), FEATURE_SPREAD * (known - self._low) / self._spread])

    def _known(self, rows: Genes, counted: Losses | None = None) -> Losses:
        """What need not be measured: the exact losses, then the features."""
        if counted is None:
            columns = [self.exact[i](rows) for i in self._counted]
            counted = np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))
        if self.features is None:
            return counted
        found = np.asarray(self.features(rows), dtype=np.float64).reshape(len(rows), -1)
        if not np.isfinite(found).all():
            raise SearchError(
                "the features of a config hold a value that is not finite.",
                why="A model cannot be fitted to it.",
                hint="give a number for every config, for instance the worst one seen.",
            )
        return np.hstack([counted, found])

    def mean(self, rows: Genes) -> Losses:
        """Predicted losses; what is known is predicted too, so that it is cheap."""
        return self._together(rows, self._guessed(rows), std=False)[0]

    def mean_and_std(self, rows: Genes) -> tuple[Losses, Losses]:
        """Predicted losses with the spread of each; exact ones as they are."""
        known = self._guessed(rows) if self.features is not None else self._known(rows)
        for place, objective in enumerate(self._counted):
            known[:, place] = self.exact[objective](rows)
        return self._together(rows, known, std=True)

    def _guessed(self, rows: Genes) -> Losses:
        plain = self._columns(rows, np.tile(self._low, (len(rows), 1)))
        guessed = [model.predict(plain) for model in self._quick]
        return np.stack(guessed, axis=1) if guessed else np.zeros((len(rows), 0))

    def _together(self, rows: Genes, known: Losses, *, std: bool) -> tuple[Losses, Losses]:
        columns = self._columns(rows, known)
        mean = np.zeros((len(rows), self.objectives))
        spread = np.zeros_like(mean)
        mean[:, self._counted] = known[:, : len(self._counted)]
        for objective, model in self._models.items():
            if std:
                middle, spread[:, objective] = model.predict(columns, return_std=True)
            else:
                middle = model.predict(columns)
            mean[:, objective] = self._warps[objective].undo(middle)
        return mean, spread

    def draws(self, rows: Genes, count: int, rng: np.random.Generator) -> Losses:
        """Losses that may be, shape (draws, rows, objectives); the mean alone for count 0."""
        known = self._known(rows)
        columns = self._columns(rows, known)
        found = np.zeros((max(count, 1), len(rows), self.objectives))
        found[:, :, self._counted] = known[:, : len(self._counted)]
        for objective, model in self._models.items():
            drawn = model.sample(columns, count, rng) if count else model.predict(columns)[None]
            found[:, :, objective] = self._warps[objective].undo(drawn)
        return found


Views = list[list[list[int]]]


def _encoding(space: Space) -> tuple[Callable[[Genes], Losses], Views, Views]:
    """Codes of genes in two ways side by side.

    Returns:
        The codes, the columns of each way as one group, and as one group for each choice.
    """
    widths = [len(choice.options) for choice in space.values()]
    is_number = np.array([choice.is_number for choice in space.values()])
    top = np.maximum(np.array(widths) - 1, 1)
    one_hot = np.repeat(~is_number, widths)
    alone = _groups(widths, 0)
    if not is_number.any():
        whole = [list(chain(*alone))]
        return lambda rows: space.encode_indices(rows, "onehot"), [whole], [alone]

    def codes(rows: Genes) -> Losses:
        columns = space.encode_indices(rows, "onehot")
        active = space.active_mask(rows)
        # A number that does not matter stands below the smallest option.
        ordinal = np.where(active, rows / top, -0.5)[:, is_number]
        return np.hstack([columns, ordinal, columns[:, one_hot]])

    names = [width for width, number in zip(widths, is_number, strict=True) if not number]
    mixed = _groups([1] * int(is_number.sum()) + names, sum(widths))
    return codes, [[list(chain(*alone))], [list(chain(*mixed))]], [alone, mixed]


def _groups(widths: list[int], first: int) -> list[list[int]]:
    """Neighbouring columns in groups of these widths."""
    edges = first + np.concatenate([[0], np.cumsum(widths)])
    return [list(range(a, b)) for a, b in pairwise(edges.tolist())]
