"""Transformable architecture search (paper 10): widths and depths by gradient.

Every forward pass runs each layer at two of its widths, drawn by chance, and mixes them; the mixing
weights carry the gradient to a distribution over widths. The most likely sizes give the small
network, which is then trained with the full one as teacher (`supple.elastic.training.Distil`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.errors import CompressError
from supple.papers import implements

__all__ = [
    "ConvSizes",
    "SearchableConvNet",
    "WidthDepthSearch",
    "channel_interpolate",
    "cost_loss",
    "width_candidates",
]


@implements(10)
def channel_interpolate(x: Tensor, channels: int) -> Tensor:
    """Bring a feature map to a number of channels, each the mean of a run of neighbours.

    Adaptive average pooling along the channels: the identity for equal numbers.

    Example:
        >>> import torch
        >>> from supple.compress.prune.transformable import channel_interpolate
        >>> channel_interpolate(torch.tensor([[1.0, 3.0, 5.0, 7.0]])[..., None, None], 2).flatten()
        tensor([2., 6.])
    """
    if x.shape[1] == channels:
        return x
    flat = x.flatten(2).transpose(1, 2)
    return (
        F.adaptive_avg_pool1d(flat, channels)
        .transpose(1, 2)
        .reshape(x.shape[0], channels, *x.shape[2:])
    )


@implements(10)
def width_candidates(
    channels: int, ratios: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
) -> tuple[int, ...]:
    """The widths of a layer that are searched.

    Example:
        >>> from supple.compress.prune.transformable import width_candidates
        >>> width_candidates(16)
        (4, 6, 8, 9, 11, 12, 14, 16)
    """
    return tuple(sorted({max(1, int(channels * ratio + 1e-9)) for ratio in ratios}))


def _depth_candidates(blocks: int) -> tuple[int, ...]:
    if blocks <= 3:
        return tuple(range(1, blocks + 1))
    return tuple(sorted({*range(1, blocks + 1, 2), blocks}))


@dataclass(frozen=True, kw_only=True)
class ConvSizes:
    """The sizes of a plain convolutional network.

    Attributes:
        widths: Channels of each convolution, by stage.
    """

    widths: tuple[tuple[int, ...], ...]


class _MixedConv(nn.Module):
    """One convolution at several widths, each with a batch norm of its own."""

    def __init__(self, into: int, out: int, candidates: Sequence[int]) -> None:
        super().__init__()
        self.candidates = tuple(candidates)
        self.conv = nn.Conv2d(into, out, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in self.candidates)

    def forward(self, x: Tensor, places: Sequence[int], weights: Tensor) -> Tensor:
        """The widths at ``places``, interpolated to the largest of them and mixed."""
        missing = self.conv.in_channels - x.shape[1]
        full = self.conv(F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x)
        most = max(self.candidates[place] for place in places)
        parts = [
            channel_interpolate(self.norms[p](full[:, : self.candidates[p]]), most) for p in places
        ]
        mixed = torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum(0)
        return mixed.relu()


@implements(10)
class SearchableConvNet(nn.Module):
    """A convolutional network whose widths and depths are searched.

    Stages of convolutions with batch norm and ReLU, each stage followed by a pooling by two but
    the last, then a mean over positions and a linear layer.

    Args:
        stages: For each stage the largest width and number of convolutions.
        in_channels: Channels of the images.
        classes: Numbers that come out.
        size: Side of the images.

    Example:
        >>> from supple.compress.prune.transformable import SearchableConvNet
        >>> net = SearchableConvNet(stages=((8, 1), (16, 2)), classes=3, size=8)
        >>> net.chosen().widths
        ((8,), (16, 16))
    """

    def __init__(
        self, *, stages: Sequence[tuple[int, int]], in_channels: int = 1, classes: int = 10,
        size: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        if not stages or any(width < 1 or blocks < 1 for width, blocks in stages):
            raise CompressError(
                f"a searchable network got stages {stages}.",
                hint="(width, convolutions) of 1 or more for each stage",
            )
        self.stages = tuple((int(width), int(blocks)) for width, blocks in stages)
        self.in_channels, self.classes, self.size = in_channels, classes, size
        self.convs = nn.ModuleList()
        channels = in_channels
        for width, blocks in self.stages:
            for _ in range(blocks):
                self.convs.append(_MixedConv(channels, width, width_candidates(width)))
                channels = width
        self.head = nn.Linear(channels, classes)
        self.depths = tuple(_depth_candidates(blocks) for _, blocks in self.stages)
        # Rising by a hair, so that before any search the most likely sizes are the largest.
        self.width_logits = nn.ParameterList(
            nn.Parameter(1e-3 * torch.arange(len(conv.candidates)).float())
            for conv in self._convs()
        )
        self.depth_logits = nn.ParameterList(
            nn.Parameter(1e-3 * torch.arange(len(depths)).float()) for depths in self.depths
        )

    def _convs(self) -> list[_MixedConv]:
        return [conv for conv in self.convs if isinstance(conv, _MixedConv)]

    def sizes_parameters(self) -> list[nn.Parameter]:
        """The distributions over sizes."""
        return [*self.width_logits, *self.depth_logits]

    def weight_parameters(self) -> list[nn.Parameter]:
        """Everything else."""
        sizes = {id(p) for p in self.sizes_parameters()}
        return [p for p in self.parameters() if id(p) not in sizes]

    def forward(
        self, x: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Scores of the classes, at sizes drawn by chance."""
        place = 0
        convs = self._convs()
        for stage, (width, blocks) in enumerate(self.stages):
            outputs = []
            for _ in range(blocks):
                logits = self.width_logits[place]
                x = convs[place](x, *_two_of(logits, temperature, generator))
                outputs.append(x)
                place += 1
            shares = F.softmax(_gumbel(self.depth_logits[stage], temperature, generator), 0)
            ends = [channel_interpolate(outputs[depth - 1], width) for depth in self.depths[stage]]
            x = torch.stack([s * end for s, end in zip(shares, ends, strict=True)]).sum(0)
            x = F.max_pool2d(x, 2) if stage < len(self.stages) - 1 else x
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores

    def chosen(self) -> ConvSizes:
        """The most likely sizes."""
        widths, place = [], 0
        convs = self._convs()
        for stage, (_, blocks) in enumerate(self.stages):
            depth = self.depths[stage][int(self.depth_logits[stage].argmax())]
            widths.append(tuple(
                convs[place + i].candidates[int(self.width_logits[place + i].argmax())]
                for i in range(depth)
            ))  # fmt: skip
            place += blocks
        return ConvSizes(widths=tuple(widths))

    def expected_macs(self) -> Tensor:
        """The expected multiplications of a sample, by the plain probabilities of the sizes."""
        total = torch.zeros(())
        channels: Tensor | float = float(self.in_channels)
        side, place = self.size, 0
        for stage, (_, blocks) in enumerate(self.stages):
            depth_shares = F.softmax(self.depth_logits[stage], 0)
            ends: list[Tensor] = []
            for i in range(blocks):
                candidates = torch.tensor(self._convs()[place].candidates).float()
                out = (F.softmax(self.width_logits[place], 0) * candidates).sum()
                there = torch.stack([
                    share for share, depth in zip(depth_shares, self.depths[stage], strict=True)
                    if depth > i
                ]).sum()  # fmt: skip
                total = total + there * 9 * side * side * channels * out
                channels = out
                ends.append(out)
                place += 1
            channels = torch.stack([
                share * ends[depth - 1]
                for share, depth in zip(depth_shares, self.depths[stage], strict=True)
            ]).sum()  # fmt: skip
            side = side // 2 if stage < len(self.stages) - 1 else side
        return total + channels * self.classes

    def macs(self, sizes: ConvSizes) -> int:
        """The multiplications of a plain network of these sizes."""
        total, channels, side = 0, self.in_channels, self.size
        for stage, widths in enumerate(sizes.widths):
            for out in widths:
                total += 9 * side * side * channels * out
                channels = out
            side = side // 2 if stage < len(sizes.widths) - 1 else side
        return total + channels * self.classes

    def largest(self) -> ConvSizes:
        """All widths and depths at their largest."""
        return ConvSizes(widths=tuple((width,) * blocks for width, blocks in self.stages))

    def smallest(self) -> ConvSizes:
        """All at their smallest."""
        return ConvSizes(widths=tuple((width_candidates(width)[0],) for width, _ in self.stages))

    def plain(self, sizes: ConvSizes) -> nn.Sequential:
        """An ordinary network of these sizes, with weights of its own.

        Example:
            >>> import torch
            >>> from supple.compress.prune.transformable import SearchableConvNet
            >>> net = SearchableConvNet(stages=((8, 1), (16, 1)), classes=3)
            >>> net.plain(net.largest())(torch.ones(2, 1, 8, 8)).shape
            torch.Size([2, 3])
        """
        layers: list[nn.Module] = []
        channels = self.in_channels
        for stage, widths in enumerate(sizes.widths):
            for out in widths:
                layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)]
                layers += [nn.ReLU()]
                channels = out
            layers += [nn.MaxPool2d(2)] if stage < len(sizes.widths) - 1 else []
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, self.classes)]
        return nn.Sequential(*layers)


def _gumbel(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    draws = torch.rand(logits.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    return (F.log_softmax(logits, 0) - torch.log(-torch.log(draws))) / temperature


def _two_of(
    logits: Tensor, temperature: float, generator: torch.Generator | None
) -> tuple[list[int], Tensor]:
    """Two different places and their mixing weights; the draw itself has no gradient."""
    z = _gumbel(logits, temperature, generator)
    count = min(2, len(z))
    shares = F.softmax(z.detach(), 0) + 1e-7
    places = torch.multinomial(shares, count, generator=generator)
    return [int(place) for place in places], F.softmax(z[places], 0)


@implements(10)
def cost_loss(expected: Tensor, found: float, target: float, tolerance: float) -> Tensor:
    """Push the expected cost down where the chosen network costs too much, up where too little.

    Args:
        expected: Expected cost.
        found: Cost of the most likely sizes.
        target: What it should be.
        tolerance: How far below the target is near enough, in the same unit.

    Example:
        >>> import torch
        >>> from supple.compress.prune.transformable import cost_loss
        >>> cost_loss(torch.tensor(math.e), 10.0, 5.0, 1.0).item()
        1.0
    """
    if found > target:
        return expected.log()
    if found < target - tolerance:
        return -expected.log()
    return expected * 0.0


@implements(10)
@dataclass(frozen=True, kw_only=True)
class WidthDepthSearch:
    """Search the sizes of a `SearchableConvNet` for a cost.

    Weights learn on one half of the training data and sizes on the other, in turns.

    Attributes:
        target: Multiplications to reach, as a share of the largest network's.
        tolerance: How far below is near enough, as a share of the largest network's.
        cost_weight: Weight of `cost_loss`.
        epochs: Passes over the halves.
        lr: Of the weights (SGD with momentum, cosine).
        size_lr: Of the sizes (Adam).
        temperatures: At the start and at the end of the search; falls along half a cosine.
        batch_size: Examples per step.

    Example:
        >>> import torch
        >>> from supple.compress.prune.transformable import SearchableConvNet, WidthDepthSearch
        >>> net = SearchableConvNet(stages=((8, 1), (16, 1)), classes=2)
        >>> x = torch.randn(64, 1, 8, 8)
        >>> search = WidthDepthSearch(target=0.5, epochs=1)
        >>> sizes = search.fit(net, x, (x.mean((1, 2, 3)) > 0).long(), seed=0)
        >>> len(sizes.widths)
        2
    """

    target: float = 0.5
    tolerance: float = 0.05
    cost_weight: float = 2.0
    epochs: int = 20
    lr: float = 0.1
    size_lr: float = 1e-3
    temperatures: tuple[float, float] = (5.0, 0.1)
    batch_size: int = 64

    def fit(self, net: SearchableConvNet, x: Tensor, y: Tensor, *, seed: int = 0) -> ConvSizes:
        """Search in place; the sizes found.

        The most likely sizes go up and down around the target: those of the last step that meets it
        are given, or those of the last step if none does.

        Args:
            net: The network, trained by the search.
            x: Images.
            y: Class numbers.
            seed: Of the halves, batches and draws.

        Raises:
            CompressError: No sizes reach the target.
        """
        whole = net.macs(net.largest())
        least = net.macs(net.smallest()) / whole
        if not least <= self.target <= 1:
            raise CompressError(
                f"a target of {self.target} of the multiplications was asked for.",
                why=f"What can be reached is {least:.3f} to 1.",
                hint=f"target={max(0.5, least):.2f}",
            )
        draws = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(x), generator=draws)
        halves = order.chunk(2)
        weights = torch.optim.SGD(
            net.weight_parameters(), lr=self.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        sizes = torch.optim.Adam(
            net.sizes_parameters(), lr=self.size_lr, betas=(0.5, 0.999), weight_decay=1e-3
        )
        steps = max(1, self.epochs * len(halves[0]) // self.batch_size)
        fitting: ConvSizes | None = None
        was_training = net.training
        net.train()
        for step in range(steps):
            cosine = (1 + math.cos(math.pi * step / steps)) / 2
            high, low = self.temperatures
            temperature = low + (high - low) * cosine
            for group in weights.param_groups:
                group["lr"] = self.lr * cosine
            for half, optimizer in zip(halves, (weights, sizes), strict=True):
                rows = half[torch.randint(len(half), (self.batch_size,), generator=draws)]
                loss = F.cross_entropy(net(x[rows], temperature, draws), y[rows])
                if optimizer is sizes:
                    loss = loss + self.cost_weight * self._cost(net, whole)
                net.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            now = net.chosen()
            if self.target - self.tolerance <= net.macs(now) / whole <= self.target:
                fitting = now
        net.zero_grad(set_to_none=True)
        net.train(was_training)
        return fitting or net.chosen()

    def _cost(self, net: SearchableConvNet, whole: int) -> Tensor:
        found = float(net.macs(net.chosen()))
        return cost_loss(net.expected_macs(), found, self.target * whole, self.tolerance * whole)
