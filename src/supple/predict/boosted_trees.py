"""Gradient-boosted trees: steps and exceptions that smooth models miss.

Small trees, each fitted to what those before it left over. Friedman 2001, "Greedy Function
Approximation". One model per fold; their mean is the prediction.
"""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import GradientBoostingRegressor

from supple.predict._held_out import FoldEnsemble

__all__ = ["BoostedTrees"]


class BoostedTrees(FoldEnsemble):
    """Boosted trees of one model per fold.

    Args:
        trees: Trees of a model.
        depth: Depth of a tree: how many choices may interact.
        learning_rate: How much of each tree is added.
        share: Fraction of the rows that each tree sees.
        folds: Models; each is fitted to all folds but one.
        seed: Seed of folds and trees.

    Example:
        >>> import numpy as np
        >>> from supple.predict import BoostedTrees
        >>> rows = np.linspace(0, 1, 60)[:, None]
        >>> model = BoostedTrees(trees=50).fit(rows, rows[:, 0] > 0.5)
        >>> bool(model.predict([[0.9]])[0] - model.predict([[0.1]])[0] > 0.9)
        True
    """

    def __init__(
        self,
        *,
        trees: int = 150,
        depth: int = 3,
        learning_rate: float = 0.08,
        share: float = 0.7,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.trees = trees
        self.depth = depth
        self.learning_rate = learning_rate
        self.share = share
        self.folds = folds
        self.seed = seed

    def _member(self, number: int, rows: int) -> Any:
        return GradientBoostingRegressor(
            n_estimators=self.trees,
            max_depth=self.depth,
            learning_rate=self.learning_rate,
            subsample=self.share if rows * self.share >= 2 else 1.0,
            random_state=self.seed + number,
        )
