"""One call to prune a model: by single weights, by patterns of them, or by whole structures."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from supple.compress.mask import Masks, apply_masks, masks_of, prunable, remove_masks
from supple.compress.prune._find import find_masks
from supple.compress.prune._pruner import Batch, Loss, Pruner, batches_of, default_loss
from supple.compress.prune._registry import pruner
from supple.compress.prune._structured import cut_structures
from supple.compress.report import SparsityReport, sparsity_report
from supple.compress.sparsity import Allocation, block_masks, check_ratio, nm_masks
from supple.elastic import Elasticity
from supple.errors import CompressError
from supple.space import Config

__all__ = ["Pruned", "prune"]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A pruned network and what it is.

    Attributes:
        network: A copy of the model: with masks on it, so that training it further keeps the zeros,
            or (structured) a smaller plain module.
        report: What is left of its weights.
        parameters_before: Parameters of the model.
        parameters_after: Parameters of the network that are stored as numbers.
        config: The structure that was kept; None for masks.
        notes: What a user should know.
    """

    network: nn.Module = field(repr=False)
    report: SparsityReport = field(repr=False)
    parameters_before: int
    parameters_after: int
    config: Config | None = None
    notes: tuple[str, ...] = ()

    @property
    def masks(self) -> dict[str, Tensor]:
        """The masks; empty for a smaller plain module."""
        return masks_of(self.network)

    def finished(self) -> nn.Module:
        """A copy without masks, zeros in their places: it loads without supple."""
        return remove_masks(copy.deepcopy(self.network))


def prune(
    model: nn.Module,
    ratio: float,
    *,
    method: str | Pruner = "magnitude",
    structured: bool = False,
    scope: Allocation | Mapping[str, float] = "global",
    pattern: str | None = None,
    protect: Sequence[str] = (),
    example: Any = None,
    data: Iterable[Batch] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    elasticity: Elasticity | None = None,
) -> Pruned:
    """Remove a share of a model's weights. The model is not changed, and nothing is trained.

    Args:
        model: Any module; masks it has are kept, and the share is of what they leave.
        ratio: Share to remove, from 0 to 1: of the weights that can be masked or, structured, of
            all parameters.
        method: Name of a score (`pruner_names`), or a pruner; structured, a name of
            `supple.elastic.importance.scorer_names`.
        structured: Cut widths, heads and groups instead of single weights: the network gets
            smaller and faster as it is.
        scope: How the share is allocated to layers, see `Allocation`; structured: ``global`` or
            ``uniform``.
        pattern: None for single weights; ``"2:4"`` keeps two of every four inputs in a row and
            ``"4x4"`` whole blocks of 4 outputs by 4 inputs. A pattern n:m fixes the share, and
            ``ratio`` must be that share or 0.
        protect: Patterns of names that are left whole, such as the last layer.
        example: Inputs of one call; needed for structured pruning and SynFlow, and to count
            operations.
        data: ``(inputs, targets)`` batches, for methods that look at data.
        loss: ``loss(outputs, targets)``; by default cross-entropy or squared error.
        seed: For methods that draw.
        elasticity: Structured: how finely widths may vary.

    Raises:
        CompressError: The ratio is not in 0 to 1, or a name, pattern or mask does not fit.
        DataError: The method needs data that is not given, or it holds NaN.

    Example:
        >>> from supple.compress.prune import prune
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
        >>> prune(model, 0.9).report.kept
        77
        >>> small = prune(model, 0.5, structured=True, example=torch.ones(1, 8))
        >>> small.network[0]
        Linear(in_features=8, out_features=30, bias=True)
    """
    check_ratio(ratio)
    lossy = loss or default_loss
    if structured:
        if pattern is not None or protect:
            raise CompressError(
                "structured pruning was asked for with a pattern or protected weights.",
                why="Structures are whole axes.",
                hint="elasticity=Elasticity(fixed=(…,)) to leave axes whole",
            )
        return _structured(model, ratio, method, scope, example, data, lossy, seed, elasticity)
    chosen = pruner(method, seed=seed)
    if chosen.needs_data:
        batches = batches_of(data, chosen.name)
    else:
        batches = [(example, None)] if example is not None else list(data or ())[:1]
    known = masks_of(model)
    names = prunable(model, protect=protect)
    among = None
    if known:  # weights that have no mask yet are all there
        among = {n: known.get(n, torch.ones_like(w, dtype=torch.bool)) for n, w in names.items()}
    if pattern is not None:
        scores = chosen.scores(model, batches, lossy, list(names))
        masks = _patterned(scores, ratio, pattern, scope, among)
    else:
        masks = find_masks(
            model, chosen, ratio, scope=scope, among=among, batches=batches, loss=lossy,
            protect=protect,
        )  # fmt: skip
    network = apply_masks(copy.deepcopy(model), masks)
    report = sparsity_report(network, example)
    return Pruned(
        network=network,
        report=report,
        parameters_before=sum(p.numel() for p in model.parameters()),
        parameters_after=report.parameters,
        notes=report.notes,
    )


def _patterned(
    scores: Mapping[str, Tensor],
    ratio: float,
    pattern: str,
    scope: Allocation | Mapping[str, float],
    among: Masks | None,
) -> dict[str, Tensor]:
    if among:
        raise CompressError(
            f"the pattern '{pattern}' was asked for on a model that has masks.",
            why="A pattern holds for all weights of a layer.",
            hint="remove_masks(model) first",
        )
    for sign in (":", "x"):
        first, found, second = pattern.partition(sign)
        if found and first.isdigit() and second.isdigit():
            a, b = int(first), int(second)
            if sign == "x":
                return block_masks(scores, ratio, block=(a, b), scope=scope)
            if ratio not in (0, 1 - a / b):
                raise CompressError(
                    f"the pattern '{pattern}' was asked for with ratio {ratio}.",
                    why=f"It removes the share {1 - a / b:g}.",
                    hint=f"ratio={1 - a / b:g}",
                )
            return nm_masks(scores, a, b)
    raise CompressError(
        f"there is no pattern '{pattern}'.", hint="'2:4' (n of m), '4x4' (blocks), or None"
    )


def _structured(
    model: nn.Module,
    ratio: float,
    method: str | Pruner,
    scope: Allocation | Mapping[str, float],
    example: Any,
    data: Iterable[Batch] | None,
    loss: Loss,
    seed: int,
    elasticity: Elasticity | None,
) -> Pruned:
    if example is None or scope not in ("global", "uniform") or not isinstance(method, str):
        raise CompressError(
            f"structured pruning got example={type(example).__name__}, scope={scope!r} and "
            f"method={method!r}.",
            why="It needs an example to trace the model, one ratio for all layers, and a scorer "
            "of indices by name.",
            hint="prune(model, 0.5, structured=True, example=x, method='magnitude')",
        )
    network, config, notes = cut_structures(
        model, ratio, method=method, is_uniform=scope == "uniform", example=example, data=data,
        loss=loss, seed=seed, elasticity=elasticity,
    )  # fmt: skip
    after = sum(p.numel() for p in network.parameters())
    return Pruned(
        network=network,
        report=sparsity_report(network, example),
        parameters_before=sum(p.numel() for p in model.parameters()),
        parameters_after=after,
        config=config,
        notes=notes,
    )
