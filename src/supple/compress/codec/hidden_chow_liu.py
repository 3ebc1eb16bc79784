"""A hidden Chow-Liu tree: a probabilistic circuit whose conditionals are cheap (2111.11632).

A. Liu, S. Mandt, G. Van den Broeck, "Lossless Compression with Probabilistic Circuits", ICLR 2022.
The variables are joined by the tree of greatest mutual information; each gets a hidden state, the
states follow the tree, and each variable depends on its own state:

    p(x) = sum over z of prod P(z_i | z_parent(i)) P(x_i | z_i)

In the order of a depth-first walk, the probability of each next variable given all before it needs
two small products only, for what is not coded yet sums to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from supple.errors import DataError
from supple.papers import implements
from supple.seeds import generator

__all__ = ["HiddenChowLiuTree", "chow_liu_tree", "mutual_information"]

Array = np.ndarray
CHUNK = 4_000_000  # numbers of one messages array


def mutual_information(x: Array, categories: int, *, smoothing: float = 0.1) -> Array:
    """The mutual information of each two columns, in nats, shape (columns, columns).

    Args:
        x: Whole numbers from 0 to ``categories - 1``, shape (examples, columns).
        categories: How many values there are.
        smoothing: Added to every count of a pair of values, in all as if so many examples were
            seen.

    Example:
        >>> import numpy as np
        >>> from supple.compress.codec import mutual_information
        >>> x = np.array([[0, 0], [1, 1]] * 50)
        >>> round(float(mutual_information(x, 2, smoothing=0.0)[0, 1]), 4)
        0.6931
    """
    count, columns = x.shape
    found = np.zeros((columns, columns))
    prior = smoothing / categories**2
    one_hot = np.zeros((columns, categories, count), dtype=np.float32)
    one_hot[np.arange(columns)[:, None], x.T, np.arange(count)[None]] = 1
    flat = one_hot.reshape(columns * categories, count)
    for i in range(columns):
        pairs = (one_hot[i] @ flat.T).reshape(categories, columns, categories).transpose(1, 0, 2)
        joint = (pairs + prior) / (count + smoothing)
        product = joint.sum(2, keepdims=True) * joint.sum(1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(joint > 0, joint * np.log(joint / product), 0.0)
        found[i] = terms.sum((1, 2))
    return (found + found.T) / 2


def chow_liu_tree(x: Array, categories: int, *, smoothing: float = 0.1) -> list[int]:
    """The parent of each column in the tree of greatest mutual information; -1 for the root.

    The root is the middle of a longest path.

    Args:
        x: Whole numbers, shape (examples, columns).
        categories: How many values there are.
        smoothing: See `mutual_information`.

    Example:
        >>> import numpy as np
        >>> from supple.compress.codec import chow_liu_tree
        >>> rng = np.random.default_rng(0)
        >>> a = rng.integers(2, size=200)
        >>> x = np.stack([a ^ (rng.random(200) < 0.1), a, a ^ (rng.random(200) < 0.1)], 1)
        >>> chow_liu_tree(x, 2)
        [1, -1, 1]
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    information = mutual_information(x, categories, smoothing=smoothing)
    # Greatest information is least of its negative; one above the greatest, so that none is 0,
    # which scipy takes for a missing edge.
    cost = np.triu(information.max() - information + 1, 1)
    tree = minimum_spanning_tree(cost).tocoo()
    neighbours: list[list[int]] = [[] for _ in range(x.shape[1])]
    for a, b in zip(tree.row.tolist(), tree.col.tolist(), strict=True):
        neighbours[a].append(b)
        neighbours[b].append(a)
    end = _breadth_first(neighbours, 0)[0][-1]
    order, parents = _breadth_first(neighbours, end)
    path = [order[-1]]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    return _breadth_first(neighbours, path[len(path) // 2])[1]


def _breadth_first(neighbours: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    parents, order = [-1] * len(neighbours), [root]
    for node in order:
        for other in neighbours[node]:
            if other != parents[node]:
                parents[other] = node
                order.append(other)
    return order, parents


@dataclass
class _Counts:
    """What EM adds up over the examples."""

    root: Array
    edges: Array
    emissions: Array


@implements(57)
class HiddenChowLiuTree:
    """The model; `fit` learns tree and probabilities.

    Args:
        states: Hidden states of each variable; 1 makes all variables independent.
        categories: Values of each variable, 0 to ``categories - 1``; all columns share them.
        smoothing: Added to the counts of each distribution, in all as if so many examples were
            seen.
        seed: Of the first probabilities.

    Attributes:
        parents: The parent of each variable; -1 for the root.
        root: Probabilities of the root's states.
        edges: ``edges[i, p, z]`` = P(z_i = z | z_parent = p); the root's is not used.
        emissions: ``emissions[i, z, v]`` = P(x_i = v | z_i = z).

    Example:
        >>> import numpy as np
        >>> from supple.compress.codec import HiddenChowLiuTree
        >>> x = np.repeat([[0, 0, 0], [1, 1, 1]], 50, axis=0)
        >>> model = HiddenChowLiuTree(states=2, categories=2).fit(x)
        >>> model.log_prob(np.array([[0, 0, 0], [0, 1, 0]])).round(1).tolist()
        [-0.7, -6.9]
    """

    def __init__(
        self, *, states: int = 8, categories: int = 256, smoothing: float = 0.1, seed: int = 0
    ) -> None:
        if states < 1 or categories < 2 or smoothing < 0:
            raise DataError(
                f"a hidden Chow-Liu tree got states={states}, categories={categories}, "
                f"smoothing={smoothing}.",
                hint="one state or more, two categories or more, smoothing from 0 up.",
            )
        self.states, self.categories, self.smoothing = states, categories, smoothing
        self.seed = seed
        self.parents: list[int] = []
        self.root: Array = np.full(states, 1 / states)
        self.edges: Array = np.empty((0, states, states))
        self.emissions: Array = np.empty((0, states, categories))

    def fit(self, x: Any, *, rounds: int = 30) -> HiddenChowLiuTree:
        """Learns the tree and, by EM over all examples, the probabilities.

        Args:
            x: Whole numbers, shape (examples, variables).
            rounds: Of EM.

        Raises:
            DataError: x is not of that kind, or has values out of range.
        """
        x = self._checked(x)
        if len(x) < 1:
            raise DataError("a hidden Chow-Liu tree got no example to learn from.")
        self.parents = (
            [-1] if x.shape[1] == 1
            else chow_liu_tree(x, self.categories, smoothing=max(self.smoothing, 1e-9))
        )  # fmt: skip
        self._order_nodes()
        self._begin(x)
        for _ in range(rounds if self.states > 1 else 1):
            self.step(x)
        return self

    def step(self, x: Array) -> float:
        """One round of EM; gives the mean log-likelihood before it, in nats."""
        counts = _Counts(
            np.zeros_like(self.root), np.zeros_like(self.edges), np.zeros_like(self.emissions)
        )
        total = 0.0
        size = max(1, CHUNK // (x.shape[1] * self.states))
        for start in range(0, len(x), size):
            total += self._expect(x[start : start + size], counts)
        self.root = self._share(counts.root)
        self.edges = self._share(counts.edges)
        self.emissions = self._share(counts.emissions)
        return total / len(x)

    def log_prob(self, x: Any, *, observed: Any = None) -> Array:
        """The log-probability of each example, in nats.

        Args:
            x: Whole numbers, shape (examples, variables).
            observed: Which values count, same shape; the others are summed out. None: all.
        """
        x = self._checked(x)
        seen = None if observed is None else np.asarray(observed, bool)
        return self._upward(x, seen)[1]

    def code(self, count: int, choose: Callable[[int, Array], Array]) -> Array:
        """Walks the variables in coding order.

        Args:
            count: How many examples go side by side.
            choose: ``choose(variable, probabilities)`` gives the values of that variable, from
                probabilities of shape (count, categories) given all values before.

        Returns:
            The values, shape (count, variables).
        """
        x = np.zeros((count, len(self.parents)), dtype=np.int64)
        # own: evidence at and below a node so far; outer: the same times what came from above.
        own: dict[int, Array] = {}
        outer: dict[int, Array] = {}
        for node, is_entering in self._walk():
            parent = self.parents[node]
            if is_entering:
                above = (
                    np.broadcast_to(self.root, (count, self.states)) if parent < 0
                    else _product(outer[parent], self.edges[node])
                )  # fmt: skip
                chance = _normalised(_product(above, self.emissions[node]))
                x[:, node] = choose(node, chance)
                own[node] = self.emissions[node].T[x[:, node]]
                outer[node] = _normalised(above * own[node])
            elif parent >= 0:
                message = _product(own.pop(node), self.edges[node].T)
                del outer[node]
                own[parent] = _normalised(own[parent] * message)
                outer[parent] = _normalised(outer[parent] * message)
        return x

    def sample(self, count: int, *, seed: int = 0) -> Array:
        """Draws examples."""
        rng = generator(seed, "hidden chow-liu")

        def choose(node: int, chance: Array) -> Array:
            cumulative = chance.cumsum(1)
            drawn = rng.random((count, 1)) * cumulative[:, -1:] > cumulative
            return np.asarray(drawn.sum(1))

        return self.code(count, choose)

    # -- inside -------------------------------------------------------------------------------
    def _checked(self, x: Any) -> Array:
        x = np.asarray(x)
        if x.ndim != 2 or not np.issubdtype(x.dtype, np.integer):
            raise DataError(
                f"a table of whole numbers is needed, got shape {x.shape} of {x.dtype}.",
                hint="one row for each example; number the values of each column from 0.",
            )
        if self.parents and x.shape[1] != len(self.parents):
            raise DataError(
                f"the model is of {len(self.parents)} variables, the table has {x.shape[1]}."
            )
        if x.size and (x.min() < 0 or x.max() >= self.categories):
            raise DataError(
                f"values from {x.min()} to {x.max()} do not fit {self.categories} categories.",
                hint=f"categories={int(x.max()) + 1}, and values from 0.",
            )
        return np.asarray(x, dtype=np.int64)

    def _order_nodes(self) -> None:
        self._children: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                self._children[parent].append(node)
        self._downward = [node for node, is_entering in self._walk() if is_entering]

    def _walk(self) -> Iterator[tuple[int, bool]]:
        """Depth first: each node when it is entered and when it is left."""
        stack = [(self.parents.index(-1), True)]
        while stack:
            node, is_entering = stack.pop()
            yield node, is_entering
            if is_entering:
                stack.append((node, False))
                stack += [(child, True) for child in reversed(self._children[node])]

    def _begin(self, x: Array) -> None:
        """Marginals, bent at random so that the states differ."""
        rng = generator(self.seed, "hidden chow-liu", "begin")
        columns, states = x.shape[1], self.states
        marginal = np.stack(
            [np.bincount(x[:, i], minlength=self.categories) for i in range(columns)]
        )
        marginal = self._share(marginal.astype(float))
        bent = rng.gamma(2.0, size=(columns, states, self.categories))
        self.emissions = _shares(marginal[:, None] * bent if states > 1 else marginal[:, None])
        # Neighbours' states agree at first more often than not.
        self.edges = _shares(rng.gamma(2.0, size=(columns, states, states)) + 8 * np.eye(states))
        self.root = np.full(states, 1 / states)

    def _share(self, counts: Array) -> Array:
        """Counts as probabilities along the last axis, with the pseudo-counts."""
        return _shares(counts + self.smoothing / counts.shape[-1])

    def _upward(self, x: Array, observed: Array | None) -> tuple[dict[int, Array], Array]:
        """For each node the evidence at and below it, rows summing to one, and log p(x)."""
        logs = np.zeros(len(x))
        inside: dict[int, Array] = {}
        for node in reversed(self._downward):
            here = self.emissions[node].T[x[:, node]]
            if observed is not None:
                here = np.where(observed[:, node, None], here, 1.0)
            for child in self._children[node]:
                here = here * (inside[child] @ self.edges[child].T)
            total = here.sum(1)
            logs += np.log(np.maximum(total, 1e-300))
            inside[node] = here / np.maximum(total, 1e-300)[:, None]
        root = self._downward[0]
        logs += np.log(np.maximum(inside[root] @ self.root, 1e-300))
        return inside, logs

    def _expect(self, x: Array, counts: _Counts) -> float:
        """Adds the expected counts of a part of the examples; gives its log-likelihood."""
        inside, logs = self._upward(x, None)
        outside: dict[int, Array] = {}
        for node in self._downward:
            parent = self.parents[node]
            if parent < 0:
                belief = _normalised(inside[node] * self.root)
                counts.root += belief.sum(0)
            else:
                # All evidence that is not below this node, at the parent's state.
                message = inside[node] @ self.edges[node].T
                above = outside[parent] / np.maximum(message, 1e-300)
                joint = above[:, :, None] * self.edges[node][None] * inside[node][:, None, :]
                joint /= np.maximum(joint.sum((1, 2), keepdims=True), 1e-300)
                counts.edges[node] += joint.sum(0)
                belief = joint.sum(1)
            outside[node] = belief
            np.add.at(counts.emissions[node].T, x[:, node], belief)
        return float(logs.sum())


def _product(rows: Array, matrix: Array) -> Array:
    """Rows @ matrix by plain sums: BLAS may add in another order with other threads."""
    return np.asarray(np.einsum("nm,mk->nk", rows, matrix, optimize=False))


def _normalised(rows: Array) -> Array:
    return np.asarray(rows / rows.sum(-1, keepdims=True))


def _shares(counts: Array) -> Array:
    total = counts.sum(-1, keepdims=True)
    even = np.full_like(counts, 1 / counts.shape[-1])
    return np.where(total > 0, counts / np.where(total > 0, total, 1), even)
