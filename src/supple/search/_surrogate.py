"""What the measured configs tell of the others: one Gaussian process per unknown loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supple.predict import GaussianProcess
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
    """Gaussian processes for the losses that are not exact.

    Numbers are tried as ordinal codes and one-hot, with and without the exact losses as
    features; each loss takes the encoding of the largest marginal likelihood.

    Args:
        space: The space.
        past: What was measured.
        exact: Losses known without measuring, by their place.
        warps: Whether far losses are drawn in.
    """

    def __init__(
        self,
        space: Space,
        past: History,
        exact: Mapping[int, Callable[[Genes], Losses]],
        *,
        warps: bool,
    ) -> None:
        self.space, self.exact = space, exact
        self.objectives = past.objectives
        self._counted = [i for i in range(past.objectives) if i in exact]
        known = past.losses[:, self._counted]
        self._low = known.min(axis=0)
        spread = known.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        codes, views = _encoding(space)
        self._codes = codes
        width = sum(len(group) for view in views for group in view)
        features = [[width + i] for i in range(len(self._counted))]
        if features:
            views = [[*view, *features] for view in views] + views
        full = self._features(past.genes, known)
        self._warps: dict[int, Warp] = {}
        self._models: dict[int, GaussianProcess] = {}
        self._cost_models: dict[int, GaussianProcess] = {}
        plain = [view for view in views if all(g not in features for g in view)]
        for objective in range(past.objectives):
            losses = past.losses[:, objective]
            if objective in exact:
                model = GaussianProcess(views=plain, steps=25)
                self._cost_models[objective] = model.fit(full, losses)
                continue
            warp = Warp.of(losses) if warps else Warp(0.0, np.inf)
            self._warps[objective] = warp
            self._models[objective] = GaussianProcess(views=views).fit(full, warp(losses))

    def _features(self, rows: Genes, known: Losses) -> Losses:
        counted = FEATURE_SPREAD * (known - self._low) / self._spread
        return np.hstack([self._codes(rows), counted])

    def _known(self, rows: Genes) -> Losses:
        columns = [self.exact[i](rows) for i in self._counted]
        return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))

    def mean(self, rows: Genes) -> Losses:
        """Predicted losses; the exact ones predicted too, so that it is cheap."""
        plain = self._features(rows, np.tile(self._low, (len(rows), 1)))
        known = [self._cost_models[i].predict(plain) for i in self._counted]
        guessed = np.stack(known, axis=1) if known else np.zeros((len(rows), 0))
        return self._together(rows, self._features(rows, guessed), guessed, std=False)[0]

    def mean_and_std(self, rows: Genes) -> tuple[Losses, Losses]:
        """Predicted losses with the spread of each; exact ones as they are."""
        known = self._known(rows)
        return self._together(rows, self._features(rows, known), known, std=True)

    def _together(
        self, rows: Genes, features: Losses, known: Losses, *, std: bool
    ) -> tuple[Losses, Losses]:
        mean = np.zeros((len(rows), self.objectives))
        spread = np.zeros_like(mean)
        for place, objective in enumerate(self._counted):
            mean[:, objective] = known[:, place]
        for objective, model in self._models.items():
            if std:
                middle, spread[:, objective] = model.predict(features, return_std=True)
            else:
                middle = model.predict(features)
            mean[:, objective] = self._warps[objective].undo(middle)
        return mean, spread

    def draws(self, rows: Genes, count: int, rng: np.random.Generator) -> Losses:
        """Losses that may be, shape (draws, rows, objectives); the mean alone for count 0."""
        known = self._known(rows)
        features = self._features(rows, known)
        found = np.zeros((max(count, 1), len(rows), self.objectives))
        for place, objective in enumerate(self._counted):
            found[:, :, objective] = known[:, place]
        for objective, model in self._models.items():
            drawn = model.sample(features, count, rng) if count else model.predict(features)[None]
            found[:, :, objective] = self._warps[objective].undo(drawn)
        return found


def _encoding(space: Space) -> tuple[Callable[[Genes], Losses], list[list[list[int]]]]:
    """Codes of genes in two ways side by side, and the columns of each way as one group."""
    ways: tuple[str, ...] = ("onehot",)
    if any(choice.is_number for choice in space.values()):
        ways = ("onehot", "mixed")
    top = np.array([max(len(c.options) - 1, 1) for c in space.values()])
    names = np.array([not choice.is_number for choice in space.values()])
    one_hot = np.repeat(names, [len(choice.options) for choice in space.values()])
    width = len(one_hot)

    def codes(rows: Genes) -> Losses:
        columns = space.encode_indices(rows, "onehot")
        if len(ways) == 1:
            return columns
        active = space.active_mask(rows)
        # A number that does not matter stands below the smallest option.
        ordinal = np.where(active, rows / top, -0.5)[:, ~names]
        return np.hstack([columns, ordinal, columns[:, one_hot]])

    views = [[list(range(width))]]
    if len(ways) == 2:
        count = int(np.count_nonzero(~names)) + int(np.count_nonzero(one_hot))
        views.append([list(range(width, width + count))])
    return codes, views
