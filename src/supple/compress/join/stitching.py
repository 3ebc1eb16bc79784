"""Stitchable networks: the front of a small model joined to the back of a large one (2302.06586).

Z. Pan, J. Cai, B. Zhuang, "Stitchable Neural Networks", CVPR 2023. Between neighbouring sizes of a
family of trained models, a linear layer takes the stream of the small one behind some block to that
of the large one before some block. It is solved from activations by least squares; then all
networks are trained together, a random one in each step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from supple.compress.join.blocks import Joined, Stack, streams
from supple.errors import CompressError
from supple.papers import implements
from supple.space import Config, Option, Space, Swap

__all__ = ["Stitch", "StitchedNet", "StitchingLayer", "least_squares_stitch", "stitch_pairs"]


def least_squares_stitch(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The weight (out, in) and bias of the linear layer that maps x to y with the least error.

    Args:
        x: Shape (..., in); dimensions before the last are examples.
        y: Shape (..., out), with the same dimensions before the last.

    Raises:
        CompressError: The examples of the two are not the same.

    Example:
        >>> import torch
        >>> from supple.compress.join import least_squares_stitch
        >>> x = torch.randn(50, 3)
        >>> weight, bias = least_squares_stitch(x, 2 * x + 1)
        >>> torch.allclose(weight, 2 * torch.eye(3), atol=1e-4), torch.allclose(bias, torch.ones(3))
        (True, True)
    """
    if x.shape[:-1] != y.shape[:-1]:
        raise CompressError(
            f"streams of shape {tuple(x.shape)} and {tuple(y.shape)} cannot be stitched.",
            why="They have to hold the same examples and tokens.",
            hint="anchors of the same number of tokens, or a resize between them.",
        )
    flat = x.detach().reshape(-1, x.shape[-1]).double()
    ones = torch.ones(len(flat), 1, dtype=flat.dtype)
    target = y.detach().reshape(-1, y.shape[-1]).double()
    # gelsd takes streams whose features depend on one another: the solution of least norm.
    solved = torch.linalg.lstsq(torch.cat([flat, ones], 1), target, driver="gelsd").solution
    return solved[:-1].T.to(x), solved[-1].to(x)


@implements(54)
class StitchingLayer(nn.Linear):
    """A linear layer between the streams of two models, along the last or the channel dimension.

    Args:
        in_features: Width of the front's stream.
        out_features: Width of the back's.
        dim: Dimension of the features: -1 for tokens, 1 for images.

    Example:
        >>> import torch
        >>> from supple.compress.join import StitchingLayer
        >>> StitchingLayer(4, 6, dim=1)(torch.ones(2, 4, 3, 3)).shape
        torch.Size([2, 6, 3, 3])
    """

    def __init__(self, in_features: int, out_features: int, *, dim: int = -1) -> None:
        super().__init__(in_features, out_features)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """(…, in, …) -> (…, out, …)."""
        if self.dim == -1:
            return super().forward(x)
        return super().forward(x.movedim(self.dim, -1)).movedim(-1, self.dim)

    def become_identity(self) -> None:
        """The identity; widths have to agree."""
        with torch.no_grad():
            self.weight.copy_(torch.eye(self.in_features))
            self.bias.zero_()


def stitch_pairs(
    front: int, back: int, *, window: int = 2, stride: int = 1
) -> list[tuple[int, int, int]]:
    """Which block of the front may hand over to which of the back: (block, block, layer).

    A front's blocks 0 … j are followed by the back's k, k + 1, …. Equal depths: all pairs inside
    a sliding window share its layer. Unequal ones: each of the back's blocks has the front's
    block of the same relative place, and each of the front's has one layer.

    Args:
        front: Blocks of the front.
        back: Blocks of the back.
        window: Size of the window.
        stride: Of the window.

    Example:
        >>> from supple.compress.join import stitch_pairs
        >>> [len(stitch_pairs(depth, depth)) for depth in (6, 9, 12)]
        [16, 25, 34]
    """
    if min(front, back, window, stride) < 1:
        raise CompressError(
            f"{front} and {back} blocks with windows of {window}, stride {stride}, give no pair."
        )
    found: list[tuple[int, int, int]] = []
    if front == back:
        taken = set()
        for layer, start in enumerate(range(0, front - window + 1, stride)):
            inside = range(start, start + window)
            for pair in ((j, k) for j in inside for k in inside):
                if pair not in taken:
                    taken.add(pair)
                    found.append((*pair, layer))
        return found
    for k in range(1, back):
        j = min(front - 1, k * front // back)
        if j < k:
            found.append((j, k, j))
    return found


@dataclass(frozen=True, kw_only=True)
class Stitch:
    """One network of the family.

    Attributes:
        name: What a space calls it.
        anchor: The model it begins with.
        block: The last block of that model; -1 for a whole anchor.
        onto: The first block of the next model; -1 for a whole anchor.
        layer: Name of the stitching layer; empty for a whole anchor.
    """

    name: str
    anchor: int
    block: int = -1
    onto: int = -1
    layer: str = ""


@implements(54)
class StitchedNet(nn.Module):
    """Trained models of one family and all networks stitched between neighbours, as one.

    It has a space of one choice, so whatever trains or searches an elastic network can work on it;
    calling it runs the last (largest) model.

    Args:
        anchors: Models, from small to large; copied.
        stacks: Where the blocks of each are (`find_stack`).
        window: See `stitch_pairs`.
        stride: See `stitch_pairs`.
        dim: Dimension of the features in the streams.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.join import find_stack, StitchedNet
        >>> class Block(nn.Module):
        ...     def __init__(self, width):
        ...         super().__init__()
        ...         self.linear = nn.Linear(width, width)
        ...     def forward(self, x):
        ...         return x + self.linear(x).relu()
        >>> def model(width):
        ...     blocks = nn.Sequential(Block(width), Block(width))
        ...     return nn.Sequential(nn.Linear(3, width), blocks, nn.Linear(width, 2))
        >>> x = torch.randn(40, 3)
        >>> anchors = [model(4), model(8)]
        >>> net = StitchedNet(anchors, [find_stack(anchor, x) for anchor in anchors])
        >>> net.initialise(x)
        >>> len(net.space["network"].options), net.at({"network": "0.0-1.1"})(x).shape
        (6, torch.Size([40, 2]))
    """

    def __init__(
        self,
        anchors: Sequence[nn.Module],
        stacks: Sequence[Stack],
        *,
        window: int = 2,
        stride: int = 1,
        dim: int = -1,
    ) -> None:
        super().__init__()
        if not anchors or len(anchors) != len(stacks):
            raise CompressError(
                f"{len(anchors)} anchors and {len(stacks)} stacks were given.",
                hint="one stack for each anchor: [find_stack(anchor, example) for anchor in …].",
            )
        self.anchors = nn.ModuleList(copy.deepcopy(anchor) for anchor in anchors)
        self.stacks, self.dim = tuple(stacks), dim
        self.stitching = nn.ModuleDict()
        last = len(anchors) - 1
        found = [Stitch(name=f"anchor {last}", anchor=last)]
        found += [Stitch(name=f"anchor {i}", anchor=i) for i in range(last)]
        for i in range(last):
            for j, k, layer in stitch_pairs(
                len(stacks[i]), len(stacks[i + 1]), window=window, stride=stride
            ):
                found.append(
                    Stitch(
                        name=f"{i}.{j}-{i + 1}.{k}", anchor=i, block=j, onto=k,
                        layer=f"{i}-{i + 1}:{layer}",
                    )
                )  # fmt: skip
        self.stitches = {stitch.name: stitch for stitch in found}
        self._networks: dict[str, nn.Module] = {}
        self.space = Space({"network": Swap(options=tuple(self.stitches))})

    def initialise(self, inputs: Any, *, how: str = "least squares") -> None:
        """Makes the stitching layers, and solves them from the streams of one batch.

        Args:
            inputs: A batch, in the paper of about 100 images.
            how: ``least squares``, averaged over the pairs that share a layer; or ``random``.

        Raises:
            CompressError: Streams do not hold the same tokens.
        """
        flows = [
            [s.movedim(self.dim, -1) for s in streams(anchor, stack, inputs)]
            for anchor, stack in zip(self.anchors, self.stacks, strict=True)
        ]
        solved: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for stitch in self.stitches.values():
            if stitch.layer:
                x = flows[stitch.anchor][stitch.block + 1]
                y = flows[stitch.anchor + 1][stitch.onto]
                solved.setdefault(stitch.layer, []).append(least_squares_stitch(x, y))
        for name, pairs in solved.items():
            weight = torch.stack([w for w, _ in pairs]).mean(0)
            layer = StitchingLayer(weight.shape[1], weight.shape[0], dim=self.dim).to(weight)
            if how == "least squares":
                with torch.no_grad():
                    layer.weight.copy_(weight)
                    layer.bias.copy_(torch.stack([b for _, b in pairs]).mean(0))
            elif how != "random":
                raise CompressError(
                    f"there is no way {how!r} to begin.", hint='"least squares" or "random".'
                )
            self.stitching[name] = layer
        self._networks.clear()

    def at(self, config: Mapping[str, Option]) -> nn.Module:
        """The network of a config, on the shared weights.

        Raises:
            ConfigError: The config is not of this space.
            CompressError: `initialise` has not been called.
        """
        chosen = self.space.validate(config)
        name = str(chosen["network"])
        if name not in self._networks:
            self._networks[name] = self._built(self.stitches[name])
        return self._networks[name].train(self.training)

    def extract(self, config: Mapping[str, Option] | Config) -> nn.Module:
        """The network of a config with weights of its own."""
        return copy.deepcopy(self.at(config))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The largest model."""
        return self.anchors[-1](*args, **kwargs)

    def _built(self, stitch: Stitch) -> nn.Module:
        if not stitch.layer:
            return self.anchors[stitch.anchor]
        if stitch.layer not in self.stitching:
            raise CompressError(
                "the stitching layers are not there yet.",
                hint="net.initialise(batch) first.",
            )
        return Joined(
            self.anchors[stitch.anchor], self.anchors[stitch.anchor + 1],
            self.stacks[stitch.anchor], self.stacks[stitch.anchor + 1],
            front_blocks=stitch.block + 1, back_from=stitch.onto,
            between=self.stitching[stitch.layer],
        )  # fmt: skip

    def __deepcopy__(self, memo: dict[int, Any]) -> StitchedNet:
        twin = StitchedNet.__new__(StitchedNet)
        memo[id(self)] = twin
        state = {k: v for k, v in vars(self).items() if k != "_networks"}
        vars(twin).update(copy.deepcopy(state, memo))
        vars(twin)["_networks"] = {}
        return twin
