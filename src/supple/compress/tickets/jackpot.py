"""Lottery jackpots (paper 100): masks in a trained network, whose weights never change.

A score is trained for every weight and the best-scored ones are kept. Beginning with the mask of
the largest weights, and letting fewer and fewer positions swap as the search goes on, makes it
short.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supple.compress.mask import ScoreMask, apply_masks, mask_parts, prunable, put_mask
from supple.compress.prune import Magnitude, Random, find_masks
from supple.compress.prune._pruner import Loss
from supple.compress.sparsity import Allocation, check_ratio, masks_from_scores
from supple.elastic.training import Plain, Recipe, TrainingLog, train
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["Jackpot", "JackpotResult"]


@dataclass(frozen=True, kw_only=True)
class JackpotResult:
    """What a search found.

    Attributes:
        network: A copy of the model with the masks found.
        masks: The masks.
        first: The masks it began with.
        swaps: Positions that were swapped, by step.
        log: Of the training of the scores.
    """

    network: nn.Module = field(repr=False)
    masks: dict[str, Tensor] = field(repr=False)
    first: dict[str, Tensor] = field(repr=False)
    swaps: tuple[int, ...] = field(repr=False)
    log: TrainingLog = field(repr=False)


@implements(100)
@dataclass(frozen=True, kw_only=True)
class Jackpot:
    """Search for a mask in a trained network.

    Scores begin at 1 for weights the first mask keeps and 0.99 for the others, and get the
    gradient ``weight * d loss / d masked weight``. After each step, positions off whose score has
    come among the layer's best may swap with positions on that have fallen out: only the share
    ``restriction`` of them, those first that differ most. The number kept in every layer never
    changes. Weights, biases and scales of norms are frozen; running statistics of batch norms
    follow.

    Attributes:
        ratio: Share of the weights that is masked.
        first: Begin with the ``magnitude`` mask or a ``random`` one of the same densities.
        scope: How the share is allocated to layers, by magnitude.
        restriction: ``short``: the share that may swap falls as ``(1 - step/steps) ** 4``.
            ``none``: all of them swap. The paper says the first; its released code does the
            second until the last epoch.
        protect: Patterns of weights that stay whole, such as the last layer.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.tickets import Jackpot
        >>> from supple.elastic.training import Recipe
        >>> from supple.elastic.training import Batches
        >>> x = torch.randn(64, 8)
        >>> data = Batches(x, (x[:, 0] > 0).long(), batch_size=16)
        >>> search = Jackpot(ratio=0.5)
        >>> found = search.fit(nn.Linear(8, 2), data, nn.CrossEntropyLoss(), Recipe(epochs=2))
        >>> found.masks["weight"].sum().item()
        8
    """

    ratio: float = 0.9
    first: Literal["magnitude", "random"] = "magnitude"
    scope: Allocation = "global"
    restriction: Literal["short", "none"] = "short"
    protect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if self.first not in ("magnitude", "random") or self.restriction not in ("short", "none"):
            raise CompressError(
                f"a jackpot search got first={self.first!r}, restriction={self.restriction!r}.",
                hint="'magnitude' or 'random'; 'short' or 'none'",
            )

    def fit(
        self, model: nn.Module, data: Any, loss: Loss, recipe: Recipe, *, seed: int = 0
    ) -> JackpotResult:
        """Search in a trained model, which is not changed.

        Args:
            model: The trained network.
            data: A loader as `supple.elastic.training.train` takes it.
            loss: ``loss(outputs, targets)``.
            recipe: Of the scores; SGD at lr 0.1 in the paper.
            seed: Of the data's order and of random first masks.
        """
        first = self.first_masks(model, seed)
        network = copy.deepcopy(model)
        frozen = [p for p in network.parameters() if p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(False)
        for name, mask in first.items():
            put_mask(network, name, ScoreMask(mask, 0.99 + 0.01 * mask.float()))
        parts = {n: p for n, p in mask_parts(network).items() if isinstance(p, ScoreMask)}
        swaps: list[int] = []

        def swap(now: Any) -> None:
            share = 1.0 if self.restriction == "none" else (1 - now.step / now.steps) ** 4
            swaps.append(sum(_swap(part, share) for part in parts.values()))

        log = train(network, data, loss, Plain(), recipe, seed=seed, progress=swap)
        masks = {name: part.mask.clone() for name, part in parts.items()}
        plain = _with_buffers_of(copy.deepcopy(model), network)
        return JackpotResult(
            network=apply_masks(plain, masks), masks=masks, first=first, swaps=tuple(swaps), log=log
        )

    def first_masks(self, model: nn.Module, seed: int = 0) -> dict[str, Tensor]:
        """What the search begins with; random masks have the densities of the magnitude mask."""
        largest = find_masks(model, Magnitude(), self.ratio, scope=self.scope, protect=self.protect)
        if self.first == "magnitude":
            return largest
        shares = {name: float(mask.double().mean()) for name, mask in largest.items()}
        names = list(prunable(model, protect=self.protect))
        scores = Random(seed=seed).scores(model, [], _no_loss, names)
        return masks_from_scores(scores, self.ratio, scope=shares)


def _no_loss(*_: Any) -> Tensor:
    raise AssertionError("random scores need no loss")


def _swap(part: ScoreMask, share: float) -> int:
    """Swap positions whose scores crossed; how many."""
    score, mask = part.score.detach().flatten(), part.mask.flatten()
    kept = int(mask.sum())
    best = torch.zeros_like(mask)
    best[torch.sort(score, descending=True, stable=True).indices[:kept]] = True
    revive, drop = best & ~mask, mask & ~best
    count = int(revive.sum())
    count = min(count, -int(-(share * count) // 1))
    if not count:
        return 0
    off = torch.topk(score.masked_fill(~revive, -torch.inf), count).indices
    on = torch.topk(score.masked_fill(~drop, torch.inf), count, largest=False).indices
    after = mask.clone()
    after[off], after[on] = True, False
    part.set(after.reshape(part.mask.shape))
    return count


def _with_buffers_of(plain: nn.Module, trained: nn.Module) -> nn.Module:
    found = dict(trained.named_buffers())
    with torch.no_grad():
        for name, buffer in plain.named_buffers():
            if name in found:
                buffer.copy_(found[name])
    return plain
