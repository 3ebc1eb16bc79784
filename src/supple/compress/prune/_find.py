"""Masks of a pruner: in one step, or in several with scores computed anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from supple.compress.mask import Masks, apply_masks, density, prunable
from supple.compress.prune._pruner import Batch, Loss, Pruner, default_loss
from supple.compress.sparsity import Allocation, check_ratio, masks_from_scores

__all__ = ["find_masks"]


def find_masks(
    model: nn.Module,
    pruner: Pruner,
    ratio: float,
    *,
    scope: Allocation | Mapping[str, float] = "global",
    among: Masks | None = None,
    batches: Sequence[Batch] = (),
    loss: Loss = default_loss,
    protect: Sequence[str] = (),
) -> dict[str, Tensor]:
    """The masks with which a pruner removes a share of the weights; the model is not changed.

    Where the pruner has ``rounds`` over 1, the density falls along ``(1 - ratio) ** (i / rounds)``
    and the scores are those of the network masked so far.

    Args:
        model: Any module, masked or not.
        pruner: What scores the weights.
        ratio: Share to remove: of the weights of ``among``, or of all.
        scope: How the share is allocated to layers.
        among: Weights that are still there; no other comes back.
        batches: ``(inputs, targets)``, for pruners that need data.
        loss: ``loss(outputs, targets)``.
        protect: Patterns of weights that are left whole and not counted.

    Example:
        >>> from supple.compress.prune import find_masks
        >>> from torch import nn
        >>> from supple.compress.prune import Magnitude
        >>> masks = find_masks(nn.Linear(10, 10), Magnitude(), 0.9)
        >>> masks["weight"].sum().item()
        10
    """
    check_ratio(ratio)
    names = list(prunable(model, protect=protect))
    current = None if among is None else {name: among[name] for name in names}
    whole = 1.0 if current is None else density(current)
    total = sum(weight.numel() for name, weight in prunable(model).items() if name in names)
    twin = model
    for i in range(1, pruner.rounds + 1):
        target = whole * (1 - ratio) ** (i / pruner.rounds)
        scores = pruner.scores(twin, batches, loss, names)
        # The share of what is left that brings it to the target, so that rounding does not add up.
        alive = total if current is None else sum(int(mask.sum()) for mask in current.values())
        keep = total * whole - round(total * whole - total * target)
        step = min(1.0, max(0.0, 1 - keep / alive)) if pruner.rounds > 1 else ratio
        current = masks_from_scores(scores, step, scope=scope, among=current)
        if i < pruner.rounds:
            twin = apply_masks(copy.deepcopy(model) if twin is model else twin, current)
    assert current is not None
    return current
