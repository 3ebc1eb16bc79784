"""Binary layers computed along a minimum spanning tree of their channels (2308.13735).

Q. H. Vo et al., "MST-compression: Compressing and Accelerating Binary Neural Networks with Minimum
Spanning Tree", ICCV 2023. Two channels whose signs differ in d places have outputs that differ by
d terms: y_j = y_i + 2 sum over those places of w_j x. A tree of few differences computes one
channel in full and corrects it along the edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.compress.quantize._quantizer import straight_through
from supple.compress.quantize.binary import signs
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["MSTConv2d", "MSTLinear", "MSTPlan", "MSTRegularizer", "hamming_matrix"]


def hamming_matrix(weight: Tensor) -> Tensor:
    """In how many places the signs of each two channels differ: (n - w_i · w_j) / 2.

    Args:
        weight: ±1, shape (channels, ...).

    Raises:
        CompressError: A weight is not -1 or 1.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import hamming_matrix
        >>> hamming_matrix(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])).tolist()
        [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    """
    if not bool((weight.abs() == 1).all()):
        raise CompressError(
            "a weight other than -1 and 1 was found.",
            why="Only the signs of binary layers can be corrected into each other.",
            hint="signs(weight), or layer.binary_weight() of a binary layer.",
        )
    rows = weight.detach().flatten(1).double()
    return ((rows.shape[1] - rows @ rows.T) / 2).round().long()


@implements(20)
@dataclass(frozen=True)
class MSTPlan:
    """In which order to compute channels, each from which other one.

    Attributes:
        parents: For each channel the one it is computed from; -1 for the root.
        order: Channels, parents before children.
        places: For each channel the flat places where it differs from its parent; none for the
            root.
        negated: For each channel whether it is computed from minus its parent's output.
        inputs: n, the places of one channel.
        depth: Edges from the root to the farthest channel.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import MSTPlan
        >>> weight = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0], [1.0, 1.0, 1.0]])
        >>> plan = MSTPlan.of(weight)
        >>> plan.total, plan.operations, weight.numel()
        (1, 4, 9)
    """

    parents: tuple[int, ...]
    order: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    negated: tuple[bool, ...]
    inputs: int
    depth: int

    @classmethod
    def of(cls, weight: Tensor, *, negate: bool = False) -> MSTPlan:
        """The plan with the fewest corrections; among roots the one with the least depth.

        Args:
            weight: ±1, shape (channels, ...).
            negate: Whether a channel may also come from minus another's output (not in the paper).

        Raises:
            CompressError: A weight is not -1 or 1.
        """
        differ = hamming_matrix(weight).numpy()
        inputs = weight[0].numel()
        distance = np.minimum(differ, inputs - differ) if negate else differ
        neighbours = _tree(distance)
        root, depth = _centre(neighbours)
        parents, order = [-1] * len(differ), [root]
        for channel in order:
            for other in neighbours[channel]:
                if other != parents[channel]:
                    parents[other] = channel
                    order.append(other)
        flat = weight.detach().flatten(1)
        negated, places = [], []
        for channel, parent in enumerate(parents):
            flip = negate and parent >= 0 and 2 * differ[channel, parent] > inputs
            sign = -1 if flip else 1
            where = (flat[channel] != sign * flat[parent]).nonzero()[:, 0].tolist()
            negated.append(bool(flip))
            places.append(tuple(where if parent >= 0 else ()))
        return cls(tuple(parents), tuple(order), tuple(places), tuple(negated), inputs, depth)

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return len(self.parents)

    @property
    def total(self) -> int:
        """Corrections over all edges of the tree."""
        return sum(len(where) for where in self.places)

    @property
    def operations(self) -> int:
        """Products of signs for each output position: one whole channel and all corrections."""
        return self.inputs + self.total

    @property
    def ratio(self) -> float:
        """Operations over those without reuse."""
        return self.operations / (self.channels * self.inputs)

    def stored_bits(self, index: Literal["mask", "index"] = "index") -> int:
        """Bits of the stored layer: the root's signs, the parents, and where each differs.

        Signs at those places need no bits: they are the parent's, turned over.

        Args:
            index: ``mask`` stores n bits for a channel, ``index`` log2(n) bits for a place.
        """
        parent_bits = max(1, math.ceil(math.log2(max(2, self.channels)))) + any(self.negated)
        edges = self.channels - 1
        if index == "mask":
            where = edges * self.inputs
        else:  # a count for each channel, then the places
            place_bits = math.ceil(math.log2(max(2, self.inputs)))
            where = edges * math.ceil(math.log2(self.inputs + 1)) + self.total * place_bits
        return self.inputs + edges * parent_bits + where


def _tree(distance: np.ndarray) -> list[list[int]]:
    """The neighbours of each channel in a minimum spanning tree."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    # scipy takes zeros for missing edges: all distances are one more.
    tree = minimum_spanning_tree(np.triu(distance + 1, 1)).tocoo()
    neighbours: list[list[int]] = [[] for _ in distance]
    for a, b in zip(tree.row.tolist(), tree.col.tolist(), strict=True):
        neighbours[a].append(b)
        neighbours[b].append(a)
    return [sorted(n) for n in neighbours]


def _centre(neighbours: list[list[int]]) -> tuple[int, int]:
    """The node whose farthest node is nearest, and how far that is: halfway of a longest path."""
    far, _ = _farthest(neighbours, 0)
    end, parents = _farthest(neighbours, far)
    path = [end]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    return path[(len(path) - 1) // 2], len(path) // 2


def _farthest(neighbours: list[list[int]], start: int) -> tuple[int, list[int]]:
    parents, queue = [-1] * len(neighbours), [start]
    for node in queue:
        for other in neighbours[node]:
            if other != parents[node]:
                parents[other] = node
                queue.append(other)
    return queue[-1], parents


def _run(plan: MSTPlan, weight: Tensor, patches: Tensor) -> Tensor:
    """``weight @ patches`` by the plan; patches are (batch, n, positions)."""
    outputs: list[Tensor] = [patches[:, 0]] * plan.channels
    for channel in plan.order:
        parent = plan.parents[channel]
        if parent < 0:
            outputs[channel] = weight[channel] @ patches
            continue
        start = -outputs[parent] if plan.negated[channel] else outputs[parent]
        where = list(plan.places[channel])
        outputs[channel] = start + 2 * (weight[channel, where] @ patches[:, where])
    return torch.stack(outputs, 1)


@implements(20)
class MSTLinear(nn.Module):
    """A linear layer of ±1 weights computed along its tree, exactly for whole-number inputs.

    It shows that the plan is right and what it saves in operations; as written here in torch it is
    slower than one product.

    Args:
        weight: ±1, shape (out, in).
        negate: See `MSTPlan.of`.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import MSTLinear
        >>> weight = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
        >>> MSTLinear(weight)(torch.tensor([[3.0, 2.0]]))
        tensor([[1., 5.]])
    """

    weight: Tensor

    def __init__(self, weight: Tensor, *, negate: bool = False) -> None:
        super().__init__()
        self.plan = MSTPlan.of(weight, negate=negate)
        self.register_buffer("weight", weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        flat = x.reshape(1, -1, x.shape[-1]).transpose(1, 2)
        y = _run(self.plan, self.weight.to(x), flat)[0].T
        return y.reshape(*x.shape[:-1], -1)


@implements(20)
class MSTConv2d(nn.Module):
    """A convolution of ±1 weights computed along its tree; see `MSTLinear`.

    Args:
        weight: ±1, shape (out, in / groups, height, width).
        stride: Step.
        padding: Zeros on each side.
        groups: Each has a tree of its own.
        negate: See `MSTPlan.of`.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import MSTConv2d, signs
        >>> weight = signs(torch.randn(4, 2, 3, 3))
        >>> x = signs(torch.randn(1, 2, 5, 5))
        >>> torch.equal(MSTConv2d(weight)(x), torch.nn.functional.conv2d(x, weight))
        True
    """

    weight: Tensor

    def __init__(
        self,
        weight: Tensor,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        negate: bool = False,
    ) -> None:
        super().__init__()
        if weight.dim() != 4 or weight.shape[0] % groups:
            raise CompressError(
                f"a weight of shape {tuple(weight.shape)} is not a convolution of {groups} groups."
            )
        self.plans = [MSTPlan.of(part, negate=negate) for part in weight.chunk(groups)]
        self.stride, self.padding, self.groups = stride, padding, groups
        self.register_buffer("weight", weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, height, width) -> (batch, out, height', width')."""
        size = self.weight.shape[-2:]
        outputs = []
        for plan, part, inputs in zip(
            self.plans, self.weight.chunk(self.groups), x.chunk(self.groups, 1), strict=True
        ):
            patches = F.unfold(inputs, size, padding=self.padding, stride=self.stride)
            outputs.append(_run(plan, part.flatten(1).to(x), patches))
        height, width = (
            (n + 2 * self.padding - k) // self.stride + 1
            for n, k in zip(x.shape[-2:], size, strict=True)
        )
        return torch.cat(outputs, 1).reshape(len(x), -1, height, width)


@implements(20)
class MSTRegularizer:
    """A penalty that pulls channels together along their tree, so that it gets shorter.

    The share of places that differ over the tree's edges, with a straight-through gradient, times
    ``strength``. The trees are found anew every ``every`` calls and are fixed in between.

    Args:
        weights: Real-valued weights whose signs are the layers', shape (channels, ...).
        strength: Of the penalty, for each layer.
        every: Calls between new trees.
        mode: ``tree``, or ``center``: every channel to the one nearest to all.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import MSTRegularizer
        >>> weight = torch.randn(8, 20, requires_grad=True)
        >>> penalty = MSTRegularizer([weight], strength=1.0)()
        >>> 0 < float(penalty.detach()) < 0.5
        True
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        *,
        strength: float,
        every: int = 100,
        mode: Literal["tree", "center"] = "tree",
    ) -> None:
        self.weights = list(weights)
        if not self.weights or strength < 0 or every < 1 or mode not in ("tree", "center"):
            raise CompressError(
                f"MSTRegularizer got {len(self.weights)} weights, strength={strength!r}, "
                f"every={every!r}, mode={mode!r}.",
                hint='one weight or more, strength=0.1, every=100, mode="tree".',
            )
        self.strength, self.every, self.mode = strength, every, mode
        self._calls = 0
        self._edges: list[tuple[Tensor, Tensor]] = []

    def __call__(self) -> Tensor:
        """The penalty for the present weights."""
        if self._calls % self.every == 0:
            self._edges = [self._edges_of(signs(w.detach())) for w in self.weights]
        self._calls += 1
        total = self.weights[0].new_zeros(())
        for weight, (one, other) in zip(self.weights, self._edges, strict=True):
            if len(one):
                flat = weight.flatten(1)
                binary = straight_through(signs(flat.detach()), flat.clamp(-1, 1))
                total = total + ((1 - binary[one] * binary[other]) / 2).mean()
        return self.strength * total

    def _edges_of(self, binary: Tensor) -> tuple[Tensor, Tensor]:
        if self.mode == "tree":
            parents: Any = torch.tensor(MSTPlan.of(binary).parents)
        else:
            centre = int(hamming_matrix(binary).sum(1).argmin())
            parents = torch.full((len(binary),), centre)
            parents[centre] = -1
        children = (parents >= 0).nonzero()[:, 0]
        return children, parents[children]
