"""What a ticket is compared with: the same structure anew, a random structure, a small network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from supple.compress.mask import (
    WeightMask,
    load_plain_state,
    masked_weights,
    plain_state,
    prunable,
    remove_masks,
    shuffled,
)
from supple.compress.prune._pruner import default_loss
from supple.compress.prune._structured import cut_structures
from supple.elastic import Elasticity
from supple.errors import CompressError
from supple.seeds import derived_seed

__all__ = ["redrawn", "rescaled_to_norm", "shuffled", "small_dense", "weight_norm"]


# Fine, so that a small network comes as near to a number of parameters as it can.
_EVERY_WIDTH = Elasticity(
    ratios=tuple(i / 512 for i in range(1, 513)), multiple_of=1, depths=False, kernels=False
)


def redrawn(model: nn.Module, seed: int) -> nn.Module:
    """A copy with weights drawn anew, as ``reset_parameters`` of every part draws them.

    Masks stay. Torch's random state is afterwards as it was.

    Raises:
        CompressError: A part has parameters of its own and no ``reset_parameters``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.tickets import redrawn
        >>> a, b = redrawn(nn.Linear(3, 2), 0), redrawn(nn.Linear(3, 2), 0)
        >>> torch.equal(a.weight, b.weight)
        True
    """
    twin = remove_masks(copy.deepcopy(model), keep_zeros=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "redrawn"))
        for name, part in twin.named_modules():
            reset: Callable[[], Any] | None = getattr(part, "reset_parameters", None)
            if reset is not None:
                reset()
            elif any(True for _ in part.parameters(recurse=False)):
                raise CompressError(
                    f"'{name}' ({type(part).__name__}) has parameters and no reset_parameters.",
                    why="How its weights are drawn is not known.",
                    hint="a method reset_parameters(), as torch.nn layers have",
                )
    fresh = copy.deepcopy(model)
    for part in fresh.modules():
        if isinstance(part, WeightMask):
            part.seen.copy_(part.mask)
    return load_plain_state(fresh, plain_state(twin))


def small_dense(model: nn.Module, parameters: int, example: Any, *, seed: int) -> nn.Module:
    """The model with every width cut alike to at most so many parameters, and weights drawn anew.

    Args:
        model: The dense model.
        parameters: How many the small one may have.
        example: Inputs of one call.
        seed: Of the weights.

    Raises:
        CompressError: Even the narrowest has more.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.tickets import small_dense
        >>> wide = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
        >>> small_dense(wide, 100, torch.ones(1, 4), seed=0)[0].out_features
        14
    """
    whole = sum(p.numel() for p in model.parameters())
    network, _, notes = cut_structures(
        model, max(0.0, 1 - parameters / whole), method="random", is_uniform=True, example=example,
        data=None, loss=default_loss, seed=seed, elasticity=_EVERY_WIDTH,
    )  # fmt: skip
    if notes:
        raise CompressError(
            f"no width of the model has as few as {parameters} parameters.",
            why=notes[0],
            hint="a lower sparsity, or a small network of another depth",
        )
    return redrawn(network, seed)


def rescaled_to_norm(model: nn.Module, norm: float, *, p: int = 2) -> nn.Module:
    """A copy whose weights that can be masked are scaled together to a p-norm.

    The norm is over all of them at once, as the network sees them: masked ones count zero.

    Args:
        model: Any module, masked or not.
        norm: The norm wanted.
        p: 1 or 2.

    Example:
        >>> from torch import nn
        >>> from supple.compress.tickets import rescaled_to_norm
        >>> from supple.compress.mask import masked_weights
        >>> found = rescaled_to_norm(nn.Linear(3, 2), 2.0)
        >>> round(masked_weights(found)["weight"].norm().item(), 4)
        2.0
    """
    twin = copy.deepcopy(model)
    now = weight_norm(twin, p=p)
    if not now > 0 or not norm > 0:
        raise CompressError(
            f"a network of norm {now} was to get norm {norm}.", hint="positive norms"
        )
    with torch.no_grad():
        for weight in prunable(twin).values():
            weight.mul_(norm / now)
    return twin


def weight_norm(model: nn.Module, *, p: int = 2) -> float:
    """The p-norm of all weights that can be masked, as the network sees them."""
    total = sum(
        float(w.detach().double().abs().pow(p).sum()) for w in masked_weights(model).values()
    )
    return float(total ** (1 / p))
