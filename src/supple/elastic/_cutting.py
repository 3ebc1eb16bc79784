"""Which indices of every stored tensor a sub-network keeps.

The indices of an atom are stored in order of importance, so a narrower axis is a prefix and most
cuts are views. Where an axis is a product or a concatenation, the kept indices of the whole
dimension are worked out from those of its atoms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supple.trace import Axis, Structure

__all__ = ["Cut", "Cutter", "Selection", "kept_positions", "kept_prefix", "owners"]

Selection = Callable[[Axis], "Tensor | None"]
"""For an atom, the kept positions in order, or None for all of them."""


def kept_positions(axis: Axis, selection: Selection) -> Tensor | None:
    """The kept positions along a dimension, or None for all of them.

    Args:
        axis: The axis of the dimension.
        selection: What is kept of each atom.
    """
    root = axis.find()
    if root.kind == "atom":
        return selection(root)
    parts = [kept_positions(part, selection) for part in root.parts]
    if all(part is None for part in parts):
        return None
    full = [
        torch.arange(part.size) if kept is None else kept
        for part, kept in zip(root.parts, parts, strict=True)
    ]
    if root.kind == "concat":
        offsets = torch.tensor([0, *(p.size for p in root.parts)]).cumsum(0)
        return torch.cat([kept + offsets[i] for i, kept in enumerate(full)])
    positions = full[0]
    for part, kept in zip(root.parts[1:], full[1:], strict=True):
        positions = (positions[:, None] * part.size + kept).reshape(-1)
    return positions


def kept_prefix(axis: Axis, count: Callable[[Axis], int]) -> int | None:
    """How many positions are kept where they are the first ones of a dimension, else None.

    Args:
        axis: The axis of the dimension.
        count: How many of the first indices of each atom are kept.
    """
    root = axis.find()
    if root.kind == "atom":
        return count(root)
    sizes = [part.size for part in root.parts]
    kept = [kept_prefix(part, count) for part in root.parts]
    first = 0  # the part that may be cut, with all behind it whole
    if root.kind == "concat":
        first = len(kept) - 1
        if kept[:first] != sizes[:first]:
            return None
    while root.kind != "concat" and first < len(kept) - 1 and kept[first] == 1:
        first += 1
    if None in kept or kept[first + 1 :] != sizes[first + 1 :]:
        return None
    numbers = [n for n in kept if n is not None]
    return sum(numbers) if root.kind == "concat" else math.prod(numbers)


def owners(axis: Axis, atom: Axis) -> list[Tensor]:
    """For every position of a dimension the index of the atom there, or -1; one map a mention."""
    root = axis.find()
    if root is atom:
        return [torch.arange(root.size)]
    maps = []
    for i, part in enumerate(root.parts):
        for inner in owners(part, atom):
            maps.append(_lifted(root, i, inner))
    return maps


def _lifted(root: Axis, i: int, inner: Tensor) -> Tensor:
    before = [part.size for part in root.parts[:i]]
    after = [part.size for part in root.parts[i + 1 :]]
    if root.kind == "concat":
        head, tail = (torch.full((sum(n),), -1) for n in (before, after))
        return torch.cat([head, inner, tail])
    outer = torch.tensor([1, *before]).prod().item()
    rest = torch.tensor([1, *after]).prod().item()
    return inner.repeat_interleave(int(rest)).repeat(int(outer))


@dataclass(frozen=True)
class Cut:
    """How one stored tensor is cut.

    Attributes:
        slices: A prefix (or, for a kernel, the centre) of each dimension; None keeps all.
        selects: Dimensions whose kept positions are not a prefix, with the positions.
    """

    slices: tuple[slice, ...] | None
    selects: tuple[tuple[int, Tensor], ...] = ()

    def __call__(self, tensor: Tensor) -> Tensor:
        """The cut tensor: a view where ``selects`` is empty."""
        if self.slices is not None:
            tensor = tensor[self.slices]
        for dim, positions in self.selects:
            tensor = tensor.index_select(dim, positions)
        return tensor

    @property
    def is_whole(self) -> bool:
        """Nothing is cut."""
        return self.slices is None and not self.selects


WHOLE = Cut(None)


class Cutter:
    """Works out cuts, and remembers them: a tensor has few different ones.

    Args:
        structure: The elastic axes.
        device: Where the tensors are.
    """

    _MOST_KNOWN = 20_000

    def __init__(self, structure: Structure, device: torch.device) -> None:
        self._structure = structure
        self.device = device
        self._atoms: dict[str, tuple[int, ...]] = {}
        for name, axes in structure.analysis.stored.items():
            found = {
                structure.index[a] for axis in axes for a in axis.atoms() if a in structure.index
            }
            self._atoms[name] = tuple(sorted(found))
        self._kernel_of = {kernel.weight: i for i, kernel in enumerate(structure.kernels)}
        self._known: dict[tuple[str, tuple[int, ...], int], Cut] = {}

    def cut(self, name: str, counts: Sequence[int], windows: Sequence[int]) -> Cut:
        """The cut of a stored tensor that keeps the first ``counts[i]`` indices of axis i."""
        atoms = self._atoms[name]
        kernel = self._kernel_of.get(name)
        key = (name, tuple(counts[i] for i in atoms), -1 if kernel is None else windows[kernel])
        if key not in self._known:
            if len(self._known) >= self._MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._work_out(
                name, counts, windows, self._prefix(counts), is_in_order=True
            )
        return self._known[key]

    def cut_in_order(
        self,
        name: str,
        counts: Sequence[int],
        windows: Sequence[int],
        orders: Sequence[Tensor | None],
    ) -> Cut:
        """The same indices as `cut`, in the order they have in the model that was brought."""
        if all(orders[i] is None for i in self._atoms[name]):
            return self.cut(name, counts, windows)

        def selection(atom: Axis) -> Tensor | None:
            index = self._structure.index.get(atom)
            if index is None:
                return None
            order = orders[index]
            if order is None:
                return self._prefix(counts)(atom)
            return torch.argsort(order[: counts[index]])

        return self._work_out(name, counts, windows, selection, is_in_order=False)

    def own(
        self,
        tensors: Mapping[str, Tensor],
        counts: Sequence[int],
        windows: Sequence[int],
        orders: Sequence[Tensor | None],
    ) -> dict[str, Tensor]:
        """Copies of what is kept, as `cut_in_order` takes it; parameters are parameters again."""
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            cut = self.cut_in_order(name, counts, windows, orders)
            value = cut(tensor.detach()).clone(memory_format=torch.contiguous_format)
            if isinstance(tensor, nn.Parameter):
                value = nn.Parameter(value, requires_grad=tensor.requires_grad)
            found[name] = value
        return found

    def _prefix(self, counts: Sequence[int]) -> Selection:
        def selection(atom: Axis) -> Tensor | None:
            index = self._structure.index.get(atom)
            if index is None or counts[index] == atom.size:
                return None
            return torch.arange(counts[index])

        return selection

    def _work_out(
        self,
        name: str,
        counts: Sequence[int],
        windows: Sequence[int],
        selection: Selection,
        *,
        is_in_order: bool,
    ) -> Cut:
        def count(atom: Axis) -> int:
            index = self._structure.index.get(atom)
            return atom.size if index is None else counts[index]

        slices: list[slice] = []
        selects: list[tuple[int, Tensor]] = []
        for dim, axis in enumerate(self._structure.analysis.stored[name]):
            if is_in_order and (length := kept_prefix(axis, count)) is not None:
                slices.append(slice(length) if length < axis.size else slice(None))
                continue
            positions = kept_positions(axis, selection)
            if positions is None:
                slices.append(slice(None))
            elif torch.equal(positions, torch.arange(len(positions))):
                slices.append(slice(len(positions)) if len(positions) < axis.size else slice(None))
            else:
                slices.append(slice(None))
                selects.append((dim, positions.to(self.device)))
        kernel = self._kernel_of.get(name)
        if kernel is not None:
            full = self._structure.kernels[kernel].size
            margin = (full - windows[kernel]) // 2
            if margin:
                slices[2:] = [slice(margin, full - margin)] * (len(slices) - 2)
        if all(s == slice(None) for s in slices):
            return Cut(None, tuple(selects)) if selects else WHOLE
        return Cut(tuple(slices), tuple(selects))
