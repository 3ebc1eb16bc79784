"""From scores to masks: which weights are kept, how many in each layer, and in what pattern.

A score is one number for each weight, larger is more important. All functions keep the best of
equals in the order of the layers and places, so the same scores always give the same masks, and
keep at least one weight in every layer: a network that is cut in two learns nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from supple.compress.mask import Masks
from supple.elastic import Elastic
from supple.elastic._cutting import kept_positions
from supple.errors import CompressError, near_misses
from supple.papers import implements
from supple.space import Config
from supple.trace import Axis

__all__ = [
    "Allocation",
    "Scores",
    "axis_masks",
    "block_masks",
    "check_ratio",
    "gradual_ratio",
    "layer_densities",
    "masks_from_scores",
    "nm_masks",
]

Scores = Mapping[str, Tensor]
"""For each weight, by name, one number for every element; larger is more important."""

Allocation = Literal["global", "uniform", "er", "erk"]
"""How sparsity is shared out over layers.

``global``: one threshold for all scores. ``uniform``: the same ratio everywhere. ``er``: density
proportional to (out + in) / (out * in) (Erdős–Rényi). ``erk``: the same with the sizes of the
kernel added above and below.
"""


def masks_from_scores(
    scores: Scores,
    ratio: float,
    *,
    scope: Allocation | Mapping[str, float] = "global",
    among: Masks | None = None,
) -> dict[str, Tensor]:
    """Masks that remove the share ``ratio`` of the weights with the lowest scores.

    The number removed is ``round(ratio * weights)``, of all or of each layer as the scope says. A
    layer that would lose everything keeps its best weight; with ``global`` another layer loses one
    more for it.

    Args:
        scores: By weight; what is not among them is not counted.
        ratio: Share of the weights to remove, from 0 to 1.
        scope: How the share is allocated to layers, or the density of each layer by name.
        among: Weights that are still there; the ratio is of these, and no other comes back.

    Raises:
        CompressError: The ratio is not in 0 to 1, a score is NaN, or the scope is unknown.

    Example:
        >>> from supple.compress.sparsity import masks_from_scores
        >>> import torch
        >>> scores = {"a": torch.tensor([[1.0, 4.0]]), "b": torch.tensor([[2.0, 3.0]])}
        >>> masks_from_scores(scores, 0.5)["a"]
        tensor([[False,  True]])
    """
    check_ratio(ratio)
    _check_scores(scores, among)
    ranked = {
        name: score.detach().double().flatten() if among is None
        else score.detach().double().flatten().masked_fill(~among[name].flatten(), -math.inf)
        for name, score in scores.items()
    }  # fmt: skip
    alive = {
        name: score.numel() if among is None else int(among[name].sum())
        for name, score in scores.items()
    }
    if scope == "global":
        kept = _global(ranked, alive, ratio)
    else:
        kept = {
            name: _best(ranked[name], count)
            for name, count in _counts(scores, alive, ratio, scope, among is not None).items()
        }
    return {name: kept[name].reshape(scores[name].shape) for name in scores}


def _global(ranked: Scores, alive: Mapping[str, int], ratio: float) -> dict[str, Tensor]:
    total = sum(alive.values())
    keep = total - round(ratio * total)
    # The best of each layer comes first, and cannot be lost while any weight is kept.
    flat = torch.cat([_with_best_first(ranked[name], alive[name]) for name in ranked])
    picked = _best(flat, max(keep, sum(count > 0 for count in alive.values())))
    parts = torch.split(picked, [len(score) for score in ranked.values()])
    return dict(zip(ranked, parts, strict=True))


def _with_best_first(score: Tensor, alive: int) -> Tensor:
    if not alive:
        return score
    lifted = score.clone()
    lifted[score.argmax()] = math.inf
    return lifted


def _counts(
    scores: Scores,
    alive: Mapping[str, int],
    ratio: float,
    scope: Allocation | Mapping[str, float],
    is_partial: bool,
) -> dict[str, int]:
    """How many weights each layer keeps."""
    if scope == "uniform":
        kept = {name: count - round(ratio * count) for name, count in alive.items()}
    else:
        density = 1 - ratio
        if is_partial:  # the ratio is of what is still there
            density *= sum(alive.values()) / sum(score.numel() for score in scores.values())
        shapes = {name: tuple(score.shape) for name, score in scores.items()}
        shares = layer_densities(shapes, density, scope)
        kept = {name: round(shares[name] * scores[name].numel()) for name in scores}
    return {name: min(alive[name], max(1, count)) for name, count in kept.items()}


def _best(scores: Tensor, count: int) -> Tensor:
    """True for the ``count`` largest; of equals the first."""
    mask = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    mask[torch.sort(scores, descending=True, stable=True).indices[:count]] = True
    return mask & (scores > -math.inf)


@implements(116)
def layer_densities(
    shapes: Mapping[str, tuple[int, ...]],
    density: float,
    scope: Allocation | Mapping[str, float] = "erk",
) -> dict[str, float]:
    """The share of weights that every layer keeps, such that ``density`` of all are kept.

    Erdős–Rényi densities are ``eps * (out + in) / (out * in)``, with the sizes of the kernel added
    to both sums for ``erk`` (Evci et al., 1911.11134). A layer whose share would pass 1 becomes
    dense, and ``eps`` is solved again for the others.

    Args:
        shapes: Shape of every weight by name, ``(out, in, *kernel)``.
        density: Share of all weights that are kept.
        scope: ``uniform``, ``er``, ``erk``, or densities by name, which are checked and returned.

    Raises:
        CompressError: A density is not in 0 to 1, or the scope is unknown or names other weights.

    Example:
        >>> from supple.compress.sparsity import layer_densities
        >>> shapes = {"1": (300, 784), "2": (100, 300), "3": (10, 100)}
        >>> {name: round(share, 3) for name, share in layer_densities(shapes, 0.1).items()}
        {'1': 0.08, '2': 0.23, '3': 1.0}
    """
    if not isinstance(scope, str):
        return _given_densities(shapes, scope)
    check_ratio(density, "density")
    if scope == "uniform":
        return dict.fromkeys(shapes, density)
    if scope not in ("er", "erk"):
        known = get_args(Allocation)
        raise CompressError(
            f"there is no way '{scope}' to allocate sparsity to layers by shape.",
            hint=near_misses(scope, known),
        )
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: _erdos_renyi(shape, scope) for name, shape in shapes.items()}
    dense: set[str] = set()
    while len(dense) < len(shapes):
        free = density * sum(sizes.values()) - sum(sizes[name] for name in dense)
        eps = free / sum(raw[name] * sizes[name] for name in shapes if name not in dense)
        over = {name for name in shapes if name not in dense and eps * raw[name] > 1}
        if not over:
            return {name: 1.0 if name in dense else eps * raw[name] for name in shapes}
        dense |= over
    return dict.fromkeys(shapes, 1.0)


def _erdos_renyi(shape: tuple[int, ...], scope: str) -> float:
    sides = shape if scope == "erk" else shape[:2]
    return sum(sides) / math.prod(sides)


def _given_densities(
    shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, float]
) -> dict[str, float]:
    if {*given} != {*shapes}:
        odd = sorted({*given} ^ {*shapes})[0]
        raise CompressError(
            f"densities are given for {len(given)} of {len(shapes)} weights; '{odd}' differs.",
            hint="one density for every weight, by name",
        )
    for share in given.values():
        check_ratio(share, "density")
    return {name: float(given[name]) for name in shapes}


def nm_masks(scores: Scores, n: int = 2, m: int = 4) -> dict[str, Tensor]:
    """Masks that keep the ``n`` best of every ``m`` weights in a row along the inputs.

    Args:
        scores: By weight; the inputs are dimension 1.
        n: How many are kept.
        m: Of how many.

    Raises:
        CompressError: A layer's inputs are no multiple of ``m``, or n is not in 1 to m.

    Example:
        >>> from supple.compress.sparsity import nm_masks
        >>> import torch
        >>> nm_masks({"w": torch.tensor([[1.0, 5.0, 2.0, 3.0]])})["w"]
        tensor([[False,  True, False,  True]])
    """
    _check_scores(scores, None)
    if not 1 <= n <= m:
        raise CompressError(f"a pattern {n}:{m} was asked for.", hint="n of m with 1 <= n <= m")
    masks = {}
    for name, score in scores.items():
        if score.shape[1] % m:
            raise CompressError(
                f"'{name}' has {score.shape[1]} inputs, which is no multiple of {m}.",
                why=f"A pattern {n}:{m} is kept in every {m} inputs in a row.",
                hint=f"leave it out with protect=('{name}',), or another m",
            )
        rows = score.detach().double().movedim(1, -1)
        groups = rows.reshape(-1, m)
        order = torch.sort(groups, dim=1, descending=True, stable=True).indices[:, :n]
        mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, True)
        masks[name] = mask.reshape(rows.shape).movedim(-1, 1).contiguous()
    return masks


def block_masks(
    scores: Scores,
    ratio: float,
    *,
    block: tuple[int, int] = (4, 4),
    scope: Allocation | Mapping[str, float] = "global",
) -> dict[str, Tensor]:
    """Masks that keep or remove whole blocks, by the sum of the scores in each.

    Args:
        scores: By weight, read as matrices (outputs, everything else).
        ratio: Share of the weights to remove.
        block: Rows and columns of a block.
        scope: As in `masks_from_scores`, over blocks.

    Raises:
        CompressError: A matrix cannot be cut into such blocks.

    Example:
        >>> from supple.compress.sparsity import block_masks
        >>> import torch
        >>> scores = {"w": torch.arange(8.0).reshape(2, 4)}
        >>> block_masks(scores, 0.5, block=(2, 2))["w"].int().tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    rows, columns = block
    sums = {}
    for name, score in scores.items():
        matrix = score.detach().double().flatten(1)
        if matrix.shape[0] % rows or matrix.shape[1] % columns:
            raise CompressError(
                f"'{name}' is a matrix of {tuple(matrix.shape)}, which is not made of blocks of "
                f"{rows}x{columns}.",
                hint=f"leave it out with protect=('{name}',), or another block",
            )
        cells = matrix.reshape(matrix.shape[0] // rows, rows, -1, columns)
        sums[name] = cells.sum((1, 3))
    kept = masks_from_scores(sums, ratio, scope=scope)
    return {
        name: mask.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
        .reshape(scores[name].shape)
        for name, mask in kept.items()
    }  # fmt: skip


def axis_masks(net: Elastic, config: Config) -> dict[str, Tensor]:
    """Masks of everything that a config of an elastic network leaves out: a structure as masks.

    Masked, the network computes what ``net.extract(config)`` does wherever that removes widths
    whose outputs are zero without their weights; biases and norms keep no masks.

    Args:
        net: The elastic network.
        config: One of its space.

    Returns:
        For every parameter with two or more dimensions, True where the sub-network has it, under
        the name and in the order of the model that was brought.

    Example:
        >>> from supple.elastic import Elastic
        >>> from supple.compress.sparsity import axis_masks
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> net = Elastic(model, (torch.ones(3, 2),))
        >>> axis_masks(net, net.space.at_ratio(0.5))["0.weight"].sum().item()
        8
    """
    plan = net.plan(net.space.validate(config))
    masks = {}
    for name, weight in net.named_weights():
        if weight.dim() < 2:
            continue
        cut = net._cutter.cut(name, plan.counts, plan.windows)
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        mask[cut(_original_places(net, name, weight)).reshape(-1).cpu()] = True
        masks[name] = mask.reshape(weight.shape)
    return masks


def _original_places(net: Elastic, name: str, weight: Tensor) -> Tensor:
    """For every stored element its place in the model that was brought."""
    index = net.structure.index

    def stored_order(atom: Axis) -> Tensor | None:
        return net._orders[index[atom]] if atom in index else None

    places = torch.arange(weight.numel()).reshape(weight.shape)
    for dim, axis in enumerate(net.structure.analysis.stored[name]):
        order = kept_positions(axis, stored_order)
        if order is not None:
            places = places.index_select(dim, order)
    return places.to(weight.device)


def gradual_ratio(step: int, *, begin: int, end: int, final: float, initial: float = 0.0) -> float:
    """The ratio at a step of gradual pruning (Zhu and Gupta, 1710.01878).

    ``final + (initial - final) * (1 - (step - begin) / (end - begin))**3``: fast at first, slow at
    the end; ``initial`` before ``begin`` and ``final`` after ``end``.

    Example:
        >>> from supple.compress.sparsity import gradual_ratio
        >>> [round(gradual_ratio(s, begin=0, end=4, final=0.8), 2) for s in range(5)]
        [0.0, 0.46, 0.7, 0.79, 0.8]
    """
    check_ratio(final)
    check_ratio(initial)
    if end <= begin:
        return initial if step < begin else final
    left = 1 - min(1.0, max(0.0, (step - begin) / (end - begin)))
    return final + (initial - final) * left**3


def check_ratio(ratio: float, what: str = "ratio") -> None:
    """Refuse what is not a share from 0 to 1.

    Raises:
        CompressError: It is not.
    """
    is_number = isinstance(ratio, (int, float)) and not isinstance(ratio, bool)
    if not is_number or not 0 <= ratio <= 1:
        raise CompressError(
            f"the {what} is {ratio!r}.",
            why="It is a share of the weights.",
            hint="a number from 0 to 1, such as 0.5 for half of them",
        )


def _check_scores(scores: Scores, among: Masks | None) -> None:
    if not scores:
        raise CompressError("there are no scores.", hint="scores of at least one weight")
    for name, score in scores.items():
        if bool(torch.isnan(score).any()):
            raise CompressError(
                f"the scores of '{name}' hold NaN.",
                why="They cannot be ordered.",
                hint="look at the weights and at the data the scores were computed from",
            )
        if among is not None and (name not in among or among[name].shape != score.shape):
            raise CompressError(
                f"the masks given do not fit the scores of '{name}'.", hint="masks of this model"
            )
