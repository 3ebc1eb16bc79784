"""Latency as a sum over operators, each looked up in a table.

What an operator costs follows from the few choices that shape it: the widths before and behind it,
its kernel. The table holds one entry for each combination of these. Nobody times the operators:
the entries are fitted to whole networks, whose sum is what was measured. So fusion and the cost of
what lies between operators are in it too. The idea of such tables: Cai, Zhu, Han 2019,
"ProxylessNAS" (arXiv 1812.00332), who time each operator by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from supple.errors import SpaceError, near_misses
from supple.predict._cross_validation import Array
from supple.predict._held_out import HeldOut
from supple.space import Option, Space

__all__ = ["AdditiveLatency"]

ALPHAS = tuple(float(a) for a in np.geomspace(1e-6, 10.0, 15))


class AdditiveLatency(HeldOut):
    """A table per operator, fitted by ridge regression to the latencies of whole networks.

    An operator with a choice that is not active costs nothing. The penalty is the one with the
    smallest error of leaving one row out.

    Args:
        space: The space; rows are its genes.
        operators: The names of the choices that shape each operator; None takes each choice by
            itself and each with the next one, as in a chain of layers.
        alphas: Penalties to try.

    Attributes:
        alpha_: The chosen penalty.
        tables_: For each operator, its latency by the options of its choices: above that of the
            mean network, in the unit of the targets. What two operators share may be in either.

    Example:
        >>> import numpy as np
        >>> from supple.predict import AdditiveLatency
        >>> from supple.space import Space, Width
        >>> space = Space({name: Width(options=(8, 16, 32)) for name in "abc"})
        >>> rows = space.to_indices_many(space.configs())
        >>> widths = np.array([8, 16, 32])[rows]
        >>> latency = 0.1 + 1e-3 * (widths[:, :-1] * widths[:, 1:]).sum(axis=1)
        >>> model = AdditiveLatency(space=space).fit(rows[::2], latency[::2])
        >>> bool(np.abs(model.predict(rows) - latency).max() < 0.02)
        True
    """

    def __init__(
        self,
        *,
        space: Space,
        operators: Sequence[Sequence[str]] | None = None,
        alphas: Sequence[float] = ALPHAS,
    ) -> None:
        self.space = space
        self.operators = operators
        self.alphas = alphas

    def _groups(self) -> list[tuple[str, ...]]:
        names = list(self.space)
        if self.operators is None:
            return [*((name,) for name in names), *pairwise(names)]
        for operator in self.operators:
            for name in operator:
                if name not in self.space:
                    raise SpaceError(
                        f"an operator depends on '{name}', which the space does not have.",
                        hint=near_misses(name, names),
                    )
        return [tuple(operator) for operator in self.operators]

    def _columns(self, features: Array) -> list[Array]:
        """One-hot columns of the joint options of each operator."""
        rows = features.astype(np.int64)
        active = self.space.active_mask(rows)
        place = {name: column for column, name in enumerate(self.space)}
        found = []
        for group in self._groups():
            columns = [place[name] for name in group]
            sizes = [len(self.space[name].options) for name in group]
            joint = np.ravel_multi_index([rows[:, c] for c in columns], sizes)
            is_there: NDArray[np.bool_] = np.all(active[:, columns], axis=1)
            found.append(np.eye(int(np.prod(sizes)))[joint] * is_there[:, None])
        return found

    def _fit(self, features: Array, target: Array) -> Array:
        columns = self._columns(features)
        whole = np.hstack(columns)
        self.centre_ = whole.mean(axis=0)
        u, s, vt = np.linalg.svd(whole - self.centre_, full_matrices=False)
        best: tuple[float, Array, Array] | None = None
        for alpha in self.alphas:
            share = s**2 / (s**2 + alpha)
            fitted = u @ (share * (u.T @ target))
            # The mean takes one degree of freedom of its own.
            free: Array = np.maximum(1.0 - (u**2) @ share - 1.0 / len(target), 1e-9)
            left: Array = (fitted - target) / free
            error = float(np.mean(left**2))
            if best is None or error < best[0]:
                best = (error, vt.T @ (s / (s**2 + alpha) * (u.T @ target)), left)
                self.alpha_ = float(alpha)
        assert best is not None, "alphas is empty"
        self.weights_ = best[1]
        self.tables_ = self._tables([c.shape[1] for c in columns])
        return best[2]

    def _tables(
        self, widths: Sequence[int]
    ) -> dict[tuple[str, ...], dict[tuple[Option, ...], float]]:
        parts = np.split(self.scale_ * self.weights_, np.cumsum(widths)[:-1])
        tables = {}
        for group, entries in zip(self._groups(), parts, strict=True):
            options = [self.space[name].options for name in group]
            places = np.ndindex(*(len(each) for each in options))
            keys = [tuple(o[i] for o, i in zip(options, place, strict=True)) for place in places]
            tables[group] = dict(zip(keys, entries.tolist(), strict=True))
        return tables

    def _predict(self, features: Array) -> tuple[Array, Array]:
        whole: NDArray[np.float64] = np.hstack(self._columns(features)) - self.centre_
        return whole @ self.weights_, np.zeros(len(features))
