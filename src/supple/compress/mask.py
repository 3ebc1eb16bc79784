"""Masks: which weights of a network exist.

A mask is kept as a parametrisation of the weight (``torch.nn.utils.parametrize``): the module sees
the weight with zeros where the mask is off, and the optimiser the stored one behind it. A masked
weight gets no gradient and stays exactly zero through momentum and weight decay. Masks are buffers,
so a ``state_dict`` holds them and a training checkpoint goes on with them.

Masks are passed around as ``{name of the weight: boolean tensor}``, under the names the weights had
before they were masked.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from supple.errors import CompressError, near_misses
from supple.seeds import torch_generator

__all__ = [
    "Masks",
    "ScoreMask",
    "WeightMask",
    "apply_masks",
    "density",
    "full_masks",
    "intersected",
    "load_plain_state",
    "mask_overlap",
    "mask_parts",
    "masked_weights",
    "masks_of",
    "plain_state",
    "prunable",
    "put_mask",
    "remove_masks",
    "shuffled",
]

Masks = Mapping[str, Tensor]
"""For each weight, by name, True where it is kept."""

# Rows of an embedding are looked up, not multiplied; scales of a norm are no connections.
_NOT_PRUNED = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)


class WeightMask(nn.Module):
    """Gives a weight with zeros where the mask is off.

    Args:
        mask: True where the weight is kept; of the weight's shape.

    Example:
        >>> from supple.compress.mask import WeightMask
        >>> import torch
        >>> WeightMask(torch.tensor([True, False]))(torch.tensor([2.0, 3.0]))
        tensor([2., 0.])
    """

    mask: Tensor
    seen: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.detach().bool().clone())
        # Which weights were ever on: what dynamic sparse training has explored.
        self.register_buffer("seen", self.mask.clone())

    def set(self, mask: Tensor) -> None:
        """Replace the mask."""
        self.mask.copy_(mask)
        self.seen.logical_or_(self.mask)

    def forward(self, weight: Tensor) -> Tensor:
        """The masked weight."""
        # Not a product: a masked weight that has run to infinity must not give NaN.
        return torch.where(self.mask, weight, torch.zeros((), dtype=weight.dtype).to(weight.device))


class ScoreMask(WeightMask):
    """A mask with a trained score for every weight, by a straight-through gradient.

    Forward, it is `WeightMask`. Backward, the score gets the gradient it would have if the mask
    were the score itself: the weight times the gradient at the masked weight, also where the mask
    is off. What turns scores into a new mask is up to the method.

    Args:
        mask: True where the weight is kept.
        score: Start of the score, of the same shape.
    """

    def __init__(self, mask: Tensor, score: Tensor) -> None:
        super().__init__(mask)
        self.score = nn.Parameter(score.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The masked weight; the score gets a gradient."""
        masked: Tensor = _StraightThrough.apply(weight, self.score, self.mask)  # type: ignore[no-untyped-call]
        return masked


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, score: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(weight, mask)
        return torch.where(mask, weight, torch.zeros_like(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        weight, mask = ctx.saved_tensors
        return torch.where(mask, grad, torch.zeros_like(grad)), grad * weight, None


def prunable(model: nn.Module, *, protect: Sequence[str] = ()) -> dict[str, Tensor]:
    """The weights a mask can be put on, by name, as they are stored (without their mask).

    These are the parameters with two or more dimensions, other than embeddings and norms; biases
    are never masked. A weight that several modules share counts once.

    Args:
        model: Any module, masked or not.
        protect: Patterns (``*``) of names that are left out.

    Raises:
        CompressError: There is none, or a pattern matches nothing.

    Example:
        >>> from supple.compress.mask import prunable
        >>> from torch import nn
        >>> list(prunable(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))))
        ['0.weight', '2.weight']
    """
    found: dict[str, Tensor] = {}
    for name, _, _, weight in _places(model):
        if not any(weight is other for other in found.values()):
            found[name] = weight
    for pattern in protect:
        if not fnmatch.filter(found, pattern):
            raise CompressError(
                f"the pattern {pattern!r} of weights to protect matches no weight.",
                hint=near_misses(pattern, found),
            )
    kept = {n: w for n, w in found.items() if not any(fnmatch.fnmatch(n, p) for p in protect)}
    if not kept:
        raise CompressError(
            f"{type(model).__name__} has no weights that can be pruned.",
            why="Masks are for parameters with two or more dimensions; embeddings, norms and "
            "protected weights do not count.",
            hint="another model, or fewer patterns in protect",
        )
    return kept


def full_masks(model: nn.Module, *, protect: Sequence[str] = ()) -> dict[str, Tensor]:
    """Masks that keep everything: what training that prunes as it goes begins with.

    Example:
        >>> from torch import nn
        >>> from supple.compress.mask import density, full_masks
        >>> density(full_masks(nn.Linear(3, 2)))
        1.0
    """
    weights = prunable(model, protect=protect)
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}


def masked_weights(model: nn.Module, *, protect: Sequence[str] = ()) -> dict[str, Tensor]:
    """The weights as the network sees them: zero where a mask is off. Differentiable."""
    names = prunable(model, protect=protect)
    return {name: getattr(owner, leaf) for name, owner, leaf, _ in _places(model) if name in names}


def apply_masks(model: nn.Module, masks: Masks) -> nn.Module:
    """Put masks on weights of ``model``, in place; what had one gets the new one.

    Returns:
        The model.

    Raises:
        CompressError: A name or a shape is not of this model.

    Example:
        >>> from supple.compress.mask import apply_masks, density, masks_of
        >>> import torch
        >>> from torch import nn
        >>> model = apply_masks(nn.Linear(2, 1), {"weight": torch.tensor([[True, False]])})
        >>> (model.weight[0, 1] == 0).item(), density(masks_of(model))
        (True, 0.5)
    """
    weights = prunable(model)
    _check_masks(masks, weights)
    for name, mask in masks.items():
        weight = weights[name]
        for _, owner, leaf, stored in list(_places(model)):
            if stored is weight:
                _put(owner, leaf, WeightMask(mask.to(stored.device)))
    return model


def put_mask(model: nn.Module, name: str, part: WeightMask) -> None:
    """Put a mask with a part of its own, such as a `ScoreMask`, on one weight."""
    for other, owner, leaf, _ in list(_places(model)):
        if other == name:
            _put(owner, leaf, part, replace=True)


def _put(owner: nn.Module, leaf: str, part: WeightMask, *, replace: bool = False) -> None:
    old = _part(owner, leaf)
    if old is not None and not replace:
        old.set(part.mask)
        return
    if old is not None:
        _take_off(owner, leaf, keep_zeros=False)
    if parametrize.is_parametrized(owner):
        _give_own_class(owner)
    training = owner.training
    parametrize.register_parametrization(owner, leaf, part, unsafe=True)
    part.train(training)
    if isinstance(owner, nn.RNNBase):
        _attach_recurrent(owner)


def mask_parts(model: nn.Module) -> dict[str, WeightMask]:
    """The mask modules of a masked model, by name of the weight."""
    found = {name: _part(owner, leaf) for name, owner, leaf, _ in _places(model)}
    return {name: part for name, part in found.items() if part is not None}


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """The masks of a masked model, as copies; empty for one without."""
    return {name: part.mask.clone() for name, part in mask_parts(model).items()}


def remove_masks(model: nn.Module, *, keep_zeros: bool = True) -> nn.Module:
    """Take all masks off, in place.

    Args:
        model: A masked model.
        keep_zeros: The weights stay as the masks left them; otherwise as they are stored behind.

    Returns:
        The model, of the classes it had before it was masked.
    """
    for _, owner, leaf, _ in list(_places(model)):
        if _part(owner, leaf) is not None:
            _take_off(owner, leaf, keep_zeros=keep_zeros)
    return model


def _take_off(owner: nn.Module, leaf: str, *, keep_zeros: bool) -> None:
    part, chain = _part(owner, leaf), _chain(owner, leaf)
    assert part is not None
    if keep_zeros:
        with torch.no_grad():
            chain.original.masked_fill_(~part.mask, 0.0)
    _give_own_class(owner)
    parametrize.remove_parametrizations(owner, leaf, leave_parametrized=False)
    if isinstance(owner, nn.RNNBase):
        _detach_recurrent(owner)


def density(masks: Masks) -> float:
    """The share of weights that masks keep; 1 for no masks."""
    total = sum(mask.numel() for mask in masks.values())
    return sum(int(mask.sum()) for mask in masks.values()) / total if total else 1.0


def intersected(first: Masks, second: Masks) -> dict[str, Tensor]:
    """What both keep; a weight that one of them does not name is kept by it."""
    return {
        name: first[name] & second[name] if name in first and name in second
        else (first[name] if name in first else second[name]).clone()
        for name in {**first, **second}
    }  # fmt: skip


def mask_overlap(first: Masks, second: Masks) -> float:
    """The share of what ``first`` keeps that ``second`` keeps too.

    For two random masks this is about the density of the second, for equal ones 1.

    Raises:
        CompressError: They are masks of different weights.
    """
    _check_masks(first, second)
    _check_masks(second, first)
    both = sum(int((first[name] & second[name]).sum()) for name in first)
    return both / max(1, sum(int(mask.sum()) for mask in first.values()))


def _give_own_class(owner: nn.Module) -> None:
    """Undo that copies of a parametrised module share its class.

    torch takes a parametrisation off by deleting a property of the class, and would take it off
    the module this one was copied from as well.
    """
    shared = type(owner)
    body = {k: v for k, v in vars(shared).items() if k not in ("__dict__", "__weakref__")}
    owner.__class__ = type(shared.__name__, shared.__bases__, body)


def shuffled(masks: Masks, seed: int) -> dict[str, Tensor]:
    """Random masks with as many weights in every layer: a random ticket of the same densities.

    Example:
        >>> import torch
        >>> from supple.compress.tickets import shuffled
        >>> found = shuffled({"w": torch.tensor([[True, False, False, False]])}, 1)
        >>> found["w"].sum().item()
        1
    """
    found = {}
    for name, mask in masks.items():
        order = torch.randperm(mask.numel(), generator=torch_generator(seed, "shuffled", name))
        found[name] = mask.flatten()[order.to(mask.device)].reshape(mask.shape)
    return found


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers under the names they have without masks.

    Masked weights are the stored ones, so ``load_plain_state(model, plain_state(model))`` changes
    nothing, with masks or without. Scores and masks are left out.
    """
    state = model.state_dict()
    return {name: state[key].detach().clone() for name, key in _plain_names(state).items()}


def load_plain_state(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Copy weights and buffers given by `plain_state` into a model, masked or not, in place.

    Raises:
        CompressError: A name or shape differs.
    """
    own = model.state_dict()
    names = _plain_names(own)
    missing = sorted({*names} ^ {*state})
    unlike = [n for n in names if n in state and own[names[n]].shape != state[n].shape]
    if missing or unlike:
        raise CompressError(
            f"a state of {len(state)} tensors does not fit {type(model).__name__}: "
            f"'{(missing or unlike)[0]}' differs.",
            why="It is of another model.",
            hint="plain_state(model) of a model of the same class and sizes",
        )
    with torch.no_grad():
        for name, key in names.items():
            own[key].copy_(state[name])
    return model


def _plain_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Name without masks -> key in the state dict of a model that may be masked."""
    names = {}
    for key in state:
        head, found, tail = key.rpartition("parametrizations.")
        if not found:
            names[key] = key
        elif tail.endswith(".original"):
            names[head + tail.removesuffix(".original")] = key
    return names


def _check_masks(masks: Masks, weights: Mapping[str, Tensor]) -> None:
    for name, mask in masks.items():
        if name not in weights:
            raise CompressError(
                f"there is a mask for '{name}', which is no weight of this model.",
                why="The masks are of another model.",
                hint=near_misses(name, weights),
            )
        if mask.shape != weights[name].shape or mask.dtype != torch.bool:
            raise CompressError(
                f"the mask of '{name}' is {tuple(mask.shape)} of {mask.dtype}, the weight is "
                f"{tuple(weights[name].shape)}.",
                why="The masks are of another model.",
                hint="boolean tensors of the weights' shapes",
            )


def _places(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Every place of a weight: name, module, attribute, stored tensor."""
    for prefix, owner in model.named_modules():
        if isinstance(owner, (WeightMask, parametrize.ParametrizationList, *_NOT_PRUNED)):
            continue
        for leaf, weight in owner._parameters.items():
            if weight is not None and weight.dim() >= 2:
                yield f"{prefix}.{leaf}".lstrip("."), owner, leaf, weight
        if not parametrize.is_parametrized(owner):
            continue
        for leaf in owner.parametrizations:
            if _part(owner, leaf) is not None:
                yield f"{prefix}.{leaf}".lstrip("."), owner, leaf, _chain(owner, leaf).original


def _chain(owner: nn.Module, leaf: str) -> Any:
    return owner.parametrizations[leaf]  # type: ignore[index]


def _part(owner: nn.Module, leaf: str) -> WeightMask | None:
    if not parametrize.is_parametrized(owner, leaf):
        return None
    return next((p for p in _chain(owner, leaf) if isinstance(p, WeightMask)), None)


# Recurrent layers keep a list of their weights; it is renewed around every call. Between calls it
# is empty: a masked weight is no leaf of the graph and could not be copied with the layer.
def _fill_weights(owner: Any, _: Any) -> None:
    owner._flat_weights = [getattr(owner, leaf) for leaf in owner._flat_weights_names]


def _empty_weights(owner: Any, *_: Any) -> None:
    owner._flat_weights = [None for _ in owner._flat_weights_names]


def _attach_recurrent(owner: nn.RNNBase) -> None:
    if _fill_weights not in owner._forward_pre_hooks.values():
        owner.register_forward_pre_hook(_fill_weights)
        owner.register_forward_hook(_empty_weights, always_call=True)
    _empty_weights(owner)


def _detach_recurrent(owner: nn.RNNBase) -> None:
    if any(_part(owner, leaf) for leaf in owner._flat_weights_names):
        return
    for hooks, ours in (
        (owner._forward_pre_hooks, _fill_weights),
        (owner._forward_hooks, _empty_weights),
    ):
        for key in [key for key, hook in hooks.items() if hook is ours]:
            del hooks[key]
    owner._forward_hooks_always_called.clear()
    _fill_weights(owner, None)
