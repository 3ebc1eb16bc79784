"""Is a pruner better than chance (paper 86)? Its masks and random ones, trained alike."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from supple.compress.mask import apply_masks, shuffled
from supple.compress.prune._find import find_masks
from supple.compress.prune._pruner import Batch, Loss, Pruner, batches_of, default_loss
from supple.compress.prune.magnitude import Magnitude
from supple.errors import CompressError
from supple.papers import implements
from supple.seeds import derived_seed

__all__ = ["AgainstRandom", "LuckyMasks", "compare_to_random", "lucky_masks"]


@dataclass(frozen=True, kw_only=True)
class AgainstRandom:
    """One sparsity.

    Attributes:
        ratio: Share of the weights removed.
        pruner: Scores of networks with the pruner's masks, by seed.
        random: Scores with random masks of the same densities in every layer, by seed.
    """

    ratio: float
    pruner: tuple[float, ...]
    random: tuple[float, ...]

    @property
    def gain(self) -> float:
        """Mean difference, positive where the pruner is better."""
        return statistics.fmean(self._differences())

    @property
    def error(self) -> float:
        """Standard error of the gain; infinite for one seed."""
        found = self._differences()
        return statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.inf

    def _differences(self) -> list[float]:
        return [a - b for a, b in zip(self.pruner, self.random, strict=True)]


@implements(86)
def compare_to_random(
    pruner: Pruner,
    build: Callable[[int], nn.Module],
    ratios: Sequence[float],
    train: Callable[[nn.Module, int], object],
    score: Callable[[nn.Module], float],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    data: Iterable[Batch] | None = None,
    loss: Loss = default_loss,
) -> tuple[AgainstRandom, ...]:
    """Train a network with a pruner's masks and with random ones of the same densities.

    Both begin with the same weights and are trained with the same seed, so that differences are
    paired. Random masks keep as many weights in every layer: what is compared is which, not where.

    Args:
        pruner: What finds masks.
        build: ``build(seed)``, the network before it is pruned.
        ratios: Shares of the weights to remove.
        train: ``train(network, seed)``, in place.
        score: Quality of a trained network, larger is better.
        seeds: Of networks, masks and trainings.
        data: Batches for pruners that look at data.
        loss: Their loss.

    Example:
        >>> from torch import nn
        >>> from supple.compress.prune import compare_to_random
        >>> from supple.compress.prune import Magnitude
        >>> found = compare_to_random(
        ...     Magnitude(), lambda seed: nn.Linear(8, 4), [0.5], lambda net, seed: None,
        ...     lambda net: net.weight.detach().abs().sum().item())
        >>> found[0].gain > 0
        True
    """
    if not seeds or not ratios:
        raise CompressError("a comparison without seeds or ratios was asked for.", hint="one each")
    batches = batches_of(data, pruner.name) if pruner.needs_data else []
    results = []
    for ratio in ratios:
        values: dict[str, list[float]] = {"pruner": [], "random": []}
        for seed in seeds:
            model = build(seed)
            masks = find_masks(model, pruner, ratio, batches=batches, loss=loss)
            for arm, chosen in (("pruner", masks), ("random", shuffled(masks, seed))):
                network = apply_masks(copy.deepcopy(model), chosen)
                train(network, seed)
                values[arm].append(float(score(network)))
        results.append(
            AgainstRandom(
                ratio=ratio, pruner=tuple(values["pruner"]), random=tuple(values["random"])
            )
        )
    return tuple(results)


@dataclass(frozen=True, kw_only=True)
class LuckyMasks:
    """The best of many random masks.

    Attributes:
        masks: The masks with the lowest loss.
        losses: The loss of each draw before any training, in order.
    """

    masks: Mapping[str, Tensor] = field(repr=False)
    losses: tuple[float, ...]


@implements(86)
def lucky_masks(
    model: nn.Module,
    ratio: float,
    loss: Callable[[nn.Module], float],
    *,
    trials: int = 100,
    seed: int = 0,
) -> LuckyMasks:
    """Draw many random masks and keep the one with the lowest loss before training.

    The paper finds that it trains to nothing better than one that was not picked.

    Args:
        model: The network before training; it is not changed.
        ratio: Share of the weights to remove, the same in every layer.
        loss: Of a masked network, on data that is not for test.
        trials: Draws.
        seed: Of the draws.

    Example:
        >>> from torch import nn
        >>> from supple.compress.prune import lucky_masks
        >>> from supple.compress.mask import density
        >>> found = lucky_masks(nn.Linear(4, 4), 0.5, lambda net: float(net.weight.detach().sum()),
        ...                     trials=9)
        >>> len(found.losses), density(found.masks)
        (9, 0.5)
    """
    if trials < 1:
        raise CompressError(f"{trials} random masks were asked for.", hint="1 or more")
    whole = find_masks(model, Magnitude(), ratio, scope="uniform")
    best: dict[str, Tensor] = {}
    losses: list[float] = []
    for draw in range(trials):
        masks = shuffled(whole, derived_seed(seed, "lucky masks", draw))
        value = float(loss(apply_masks(copy.deepcopy(model), masks)))
        if not losses or value < min(losses):
            best = masks
        losses.append(value)
    return LuckyMasks(masks=best, losses=tuple(losses))
