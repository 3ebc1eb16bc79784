"""Swap: which block stands in a place becomes a choice, beside width and depth.

`swap` puts a `SwapPoint` where a pattern matches, with the module that was there and blocks built
to its sizes. An `Elastic` network of the result has a choice ``<name>.swap`` for each, and runs
and extracts each combination from one set of weights.
"""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import functools
import inspect
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supple.elastic._fit_to import fit_to, relative_error
from supple.errors import SpaceError, SuppleError, near_misses
from supple.trace import SwapPoint

__all__ = ["Swapped", "swap", "swapped"]

Block = type[nn.Module] | nn.Module | Callable[..., nn.Module | None]
Match = Literal["parameters", "latency"]

# Settings that make a block larger without changing what it takes and gives.
_SIZES = ("hidden_features", "num_features", "kernel_count", "grid_size", "degree", "num_basis")
_LARGEST = 1024
_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.Identity,
)  # fmt: skip
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """What one alternative of a swap point is like, compared with the module that was there.

    Attributes:
        place: Qualified name of the swap point.
        name: Name of the alternative.
        parameters: How many it has.
        original_parameters: How many the original has.
        error: Relative error of its output against the original's, on inputs it was not fitted
            on; None without inputs.
        start: ``"fitted"`` to the original's outputs, or ``"fresh"``.
    """

    place: str
    name: str
    parameters: int
    original_parameters: int
    error: float | None
    start: Literal["fitted", "fresh"]

    def __str__(self) -> str:
        error = "" if self.error is None else f", relative error {self.error:.3g}"
        return (
            f"{self.place}: {self.name}, {self.parameters:,} parameters "
            f"(original {self.original_parameters:,}), {self.start}{error}"
        )


def swap(
    model: nn.Module,
    blocks: Mapping[str, Sequence[Block] | Mapping[str, Block]],
    *,
    inputs: tuple[Any, ...] | None = None,
    match: Match | None = None,
    warm_start: bool = True,
) -> nn.Module:
    """A copy of a model in which the choice of block is open where a pattern matches.

    A block is a class (built with the sizes of the module that it stands in for:
    ``in_features`` and ``out_features``, ``in_channels`` and ``out_channels``, or
    ``num_features``), a ``functools.partial`` of one with further settings, a module to be copied
    as it is, or a function of the module that returns another one or None. Blocks of another kind
    than the module (a convolution for a linear layer) are passed over.

    Args:
        model: Any module; it is not changed.
        blocks: For each pattern of names (``*`` and ``?``) the blocks, in a list or by name.
        inputs: Arguments of one call with many samples. With them alternatives start as near to
            the original's outputs as they come (three Gauss-Newton steps, on three quarters of
            the samples), and how near is told on the rest.
        match: Blocks with a size of their own (``num_features``, ``kernel_count``, …) get the one
            nearest to the original's parameters or latency; None leaves the block's default, and
            goes by parameters where it has none.
        warm_start: Whether alternatives are fitted at all.

    Returns:
        The model with a `SwapPoint` at each place, set to the original. `swapped` tells about the
        alternatives.

    Raises:
        SpaceError: A pattern leads to no alternative, or a block cannot be built.

    Example:
        >>> from supple.blocks.snnk import SNNKLinear
        >>> from supple.elastic import Elastic
        >>> x = torch.randn(64, 8)
        >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> open_net = swap(net, {"0": {"snnk": functools.partial(SNNKLinear, num_features=9)}})
        >>> elastic = Elastic(open_net, (x,))
        >>> elastic.space["0.swap"].options
        ('original', 'snnk')
    """
    if match is not None and inputs is None and match == "latency":
        raise SpaceError(
            "swap was asked to match latency without inputs.",
            why="The time of a block depends on what it is given.",
            hint="pass inputs=(x,), or match='parameters'.",
        )
    twin = copy.deepcopy(model)
    places = _places(twin, blocks)
    seen = _recorded(twin, places, inputs) if inputs is not None else {}
    made: dict[int, SwapPoint] = {}
    for name, wanted in places.items():
        module = twin.get_submodule(name)
        if id(module) not in made:
            made[id(module)] = _open(name, module, wanted, seen.get(name), match, warm_start)
    for name in sorted(places, key=lambda n: n.count("."), reverse=True):  # inner ones first
        parent, _, leaf = name.rpartition(".")
        setattr(twin.get_submodule(parent), leaf, made[id(twin.get_submodule(name))])
    return twin


def swapped(model: nn.Module) -> list[Swapped]:
    """What is known of every alternative of every swap point of a model.

    Example:
        >>> net = swap(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), {"1": [nn.Tanh]})
        >>> print(*swapped(net))
        1: Tanh, 0 parameters (original 0), fresh
    """
    points = [m for m in model.modules() if isinstance(m, SwapPoint)]
    return [fact for point in points for fact in getattr(point, "facts", ())]


# -- places and what stands there -----------------------------------------------------------------
def _places(
    model: nn.Module, blocks: Mapping[str, Sequence[Block] | Mapping[str, Block]]
) -> dict[str, dict[str, Block]]:
    """The blocks that fit, by the name of the place."""
    places: dict[str, dict[str, Block]] = {}
    names = [name for name, _ in model.named_modules() if name]
    for pattern, given in blocks.items():
        wanted = dict(given) if isinstance(given, Mapping) else _named(given)
        hits = [n for n in names if fnmatch.fnmatchcase(n, pattern)]
        found = 0
        for name in hits:
            module = model.get_submodule(name)
            fitting = {k: b for k, b in wanted.items() if _fits(b, module)}
            if fitting:
                places.setdefault(name, {}).update(fitting)
                found += 1
        if not found:
            kinds = sorted({type(model.get_submodule(n)).__name__ for n in hits})
            raise SpaceError(
                f"the pattern '{pattern}' of swap leads to no alternative.",
                why=f"It matches {', '.join(kinds)}, which none of the blocks fits."
                if hits
                else "No module has such a name.",
                hint=near_misses(pattern, names),
                pattern=pattern,
            )
    return places


def _named(blocks: Sequence[Block]) -> dict[str, Block]:
    named: dict[str, Block] = {}
    for block in blocks:
        name = _name(block)
        while name in named:
            name += "_"
        named[name] = block
    return named


def _name(block: Block) -> str:
    """A name that may be part of a Python name: ``KANLinear_basis_rbf``."""
    if isinstance(block, functools.partial):
        settings = [f"{k}_{v}" for k, v in block.keywords.items()]
        return re.sub(r"\W+", "_", "_".join([_name(block.func), *settings]))
    if isinstance(block, nn.Module):
        return type(block).__name__
    return str(getattr(block, "__name__", type(block).__name__)).strip("<>")


def _signature(block: Block) -> Mapping[str, inspect.Parameter] | None:
    """The settings of a class or a partial of one; None for modules and functions."""
    of = block.func if isinstance(block, functools.partial) else block
    if not (isinstance(of, type) and issubclass(of, nn.Module)):
        return None
    return inspect.signature(block).parameters


def _fits(block: Block, module: nn.Module) -> bool:
    """The block is of the same kind as the module."""
    if isinstance(block, nn.Module):
        return not list(module.children())
    settings = _signature(block)
    if settings is None:
        return block(module) is not None
    if isinstance(module, nn.Linear):
        return {"in_features", "out_features"} <= set(settings)
    if isinstance(module, nn.modules.conv._ConvNd):
        return {"in_channels", "out_channels"} <= set(settings)
    required = {
        n
        for n, p in settings.items()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    if isinstance(module, _NORMS):
        return required <= {"num_features"}
    return isinstance(module, _ACTIVATIONS) and required <= {"num_features"}


def _recorded(
    model: nn.Module, places: Mapping[str, object], inputs: tuple[Any, ...]
) -> dict[str, tuple[Tensor, Tensor]]:
    """What each place takes and gives, from one call in evaluation mode."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    modes = {module: module.training for module in model.modules()}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            if len(given) == 1 and isinstance(given[0], Tensor) and isinstance(result, Tensor):
                seen[name] = given[0].detach().clone(), result.detach().clone()

        return hook

    handles = []
    for name in places:
        module = model.get_submodule(name)
        if getattr(module, "inplace", False):
            module.__dict__["inplace"] = False  # its alternatives take the same input
        handles.append(module.register_forward_hook(keep(name)))
    try:
        model.eval()
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return seen


# -- building alternatives ------------------------------------------------------------------------
def _open(
    place: str,
    module: nn.Module,
    blocks: Mapping[str, Block],
    seen: tuple[Tensor, Tensor] | None,
    match: Match | None,
    warm_start: bool,
) -> SwapPoint:
    if getattr(module, "inplace", False):
        module.__dict__["inplace"] = False
    alternatives: dict[str, nn.Module] = {"original": module}
    facts = []
    for name, block in blocks.items():
        made = _built(place, block, module, seen, match)
        like = next(iter(module.parameters()), None if seen is None else seen[0])
        if like is not None:
            made = made.to(device=like.device, dtype=like.dtype)
        error, start = _warmed(made, seen, warm_start)
        alternatives[name] = made.train(module.training)
        facts.append(
            Swapped(
                place=place,
                name=name,
                parameters=_count(made),
                original_parameters=_count(module),
                error=error,
                start=start,
            )
        )
    point = SwapPoint(alternatives).train(module.training)
    point.facts = facts  # type: ignore[assignment]
    return point


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _built(
    place: str,
    block: Block,
    module: nn.Module,
    seen: tuple[Tensor, Tensor] | None,
    match: Match | None,
) -> nn.Module:
    if isinstance(block, nn.Module):
        return copy.deepcopy(block)
    settings = _signature(block)
    if settings is None:
        found = block(module)
        assert found is not None, "asked before"
        return found
    given = _settings(module, settings, seen)
    size = next((n for n in _SIZES if n in settings and n not in given), None)
    fixed = block.keywords if isinstance(block, functools.partial) else {}
    try:
        if size is not None and settings[size].default is inspect.Parameter.empty:
            match = match or "parameters"  # it has no default
        if match is None or size is None or size in fixed:
            return _called(block, given)
        return _matched(lambda n: _called(block, {**given, size: n}), module, seen, match)
    except SuppleError as problem:
        raise SpaceError(
            f"{_name(block)} cannot stand in '{place}': {problem.message}",
            why=problem.why,
            hint=problem.hint or "leave this place out of the pattern.",
        ) from problem


def _called(block: Callable[..., nn.Module | None], settings: Mapping[str, Any]) -> nn.Module:
    made = block(**settings)
    assert isinstance(made, nn.Module)
    return made


def _settings(
    module: nn.Module,
    settings: Mapping[str, inspect.Parameter],
    seen: tuple[Tensor, Tensor] | None,
) -> dict[str, Any]:
    """What of the module's own settings the block takes too."""
    own: dict[str, Any] = {}
    if isinstance(module, nn.Linear):
        own = {"in_features": module.in_features, "out_features": module.out_features}
        own["bias"] = module.bias is not None
    elif isinstance(module, nn.modules.conv._ConvNd):
        own = {n: getattr(module, n) for n in ("in_channels", "out_channels", "groups")}
        for name in ("kernel_size", "stride", "padding", "dilation"):
            value = getattr(module, name)
            is_even = isinstance(value, tuple) and len(set(value)) == 1
            own[name] = value[0] if is_even else value
        own["bias"] = module.bias is not None
    elif isinstance(module, nn.GroupNorm):
        own = {"num_features": module.num_channels}
    elif isinstance(module, _NORMS):
        own = {"num_features": module.num_features}
    elif "num_features" in settings:
        if seen is None:
            raise SpaceError(
                "this activation has weights for each channel.",
                hint="pass inputs=(x,) to swap, which show how many there are.",
            )
        own = {"num_features": seen[0].shape[1]}
    takes = {n for n in own if n in settings}
    return {name: own[name] for name in own if name in takes}


def _matched(
    build: Callable[[int], nn.Module],
    module: nn.Module,
    seen: tuple[Tensor, Tensor] | None,
    match: Match,
) -> nn.Module:
    """The block whose size brings it nearest to the original, by bisection."""
    if match == "latency":
        assert seen is not None
        x = seen[0]

        def cost(m: nn.Module) -> float:
            return _seconds(m.to(device=x.device, dtype=x.dtype).eval(), x)

    else:

        def cost(m: nn.Module) -> float:
            return float(_count(m))

    was_training = module.training
    goal = cost(module)
    module.train(was_training)
    low, high = 1, _LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        try:
            is_large = cost(build(middle)) > goal
        except SuppleError:  # sizes that do not exist for this block
            is_large = True
        low, high = (low, middle) if is_large else (middle, high)
    nearest = [build(low)]
    with contextlib.suppress(SuppleError):
        nearest.append(build(high))
    return min(nearest, key=lambda m: abs(cost(m) - goal)).train()


def _seconds(module: nn.Module, x: Tensor) -> float:
    """The shortest of a few runs."""
    times = []
    with torch.no_grad():
        for _ in range(7):
            start = time.perf_counter()
            module(x)
            times.append(time.perf_counter() - start)
    return min(times[2:])


def _warmed(
    made: nn.Module, seen: tuple[Tensor, Tensor] | None, warm_start: bool
) -> tuple[float | None, Literal["fitted", "fresh"]]:
    """Fits on three quarters of the samples; the relative error on the rest."""
    if seen is None:
        return None, "fresh"
    x, y = seen
    made.eval()
    with torch.no_grad():
        shape = made(x[:1]).shape
    if shape != y[:1].shape:
        raise SpaceError(
            f"{type(made).__name__} gives {tuple(shape[1:])}, the original {tuple(y.shape[1:])}.",
            why="Alternatives must give the same shape.",
            hint="give the block the missing settings with functools.partial.",
        )
    cut = max(1, len(x) * 3 // 4) if len(x) > 1 else 1
    rest = slice(cut, None) if len(x) > cut else slice(None)
    start: Literal["fitted", "fresh"] = "fresh"
    if warm_start and any(p.requires_grad for p in made.parameters()):
        fit_to(made, x[:cut], y[:cut])
        start = "fitted"
    return relative_error(made, x[rest], y[rest]), start
