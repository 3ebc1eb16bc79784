"""The algebra of axes: what a tensor dimension is made of, and which dimensions must be cut alike.

Every dimension of every tensor carries an `Axis`. An axis is an *atom*, a *product* of axes
(row-major, outermost first: channels are heads times head size) or a *concatenation* of axes
(the output of ``cat``). `unify` says that two axes are the same; where one of them has more
structure, the other is refined to it. Atoms that end up the same are cut together.

The rule of the whole room is *never wrong, at worst less elastic*: whatever cannot be expressed
fixes the axes involved, with the reason. No torch is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["ONE", "Axis", "Reason", "concat", "fix", "pin", "product", "unify"]


@dataclass(frozen=True)
class Reason:
    """Why an axis is fixed: the operator, what it does to the axis, and the user's line."""

    operator: str
    text: str
    where: str = ""


class Axis:
    """One axis expression, a node of a union-find forest with refinement.

    Attributes:
        size: Number of indices in the full network.
        kind: ``"atom"``, ``"product"`` or ``"concat"`` (of the root; ask `find` first).
        parts: The factors or segments of a product or concatenation.
        reason: Why the atom is fixed, or None while it is free.
        is_runtime: The atom's size is only known at run time (the batch).
        is_stored: Some dimension of a parameter or buffer contains the atom.
        if_stored: Why the atom is fixed should it turn out to be a size of a stored tensor; it is
            numbered, so its indices may change in number (the batch) but not in order.
        role: What the atom is to the network, for naming: ``"width"``, ``"heads"``, …
        least: Fewest indices that the graph can do with (as many as a ``topk`` picks).
    """

    __slots__ = (
        "forward",
        "if_stored",
        "is_runtime",
        "is_stored",
        "kind",
        "least",
        "parts",
        "reason",
        "role",
        "size",
    )

    def __init__(
        self, size: int, *, reason: Reason | None = None, is_runtime: bool = False
    ) -> None:
        self.size = size
        self.kind: Literal["atom", "product", "concat"] = "atom"
        self.parts: tuple[Axis, ...] = ()
        self.forward: Axis | None = None
        self.reason = reason
        self.is_runtime = is_runtime
        self.is_stored = False
        self.if_stored: Reason | None = None
        self.role = ""
        self.least = 1

    def find(self) -> Axis:
        """The root that this axis stands for."""
        root = self
        while root.forward is not None:
            root = root.forward
        node = self
        while node.forward is not None:  # path compression
            node.forward, node = root, node.forward
        return root

    def factors(self) -> list[Axis]:
        """The axis as a flat list of atoms and concatenations whose product it is."""
        root = self.find()
        if root.kind == "product":
            return [f for part in root.parts for f in part.factors()]
        return [root]

    def segments(self) -> list[Axis]:
        """The axis as a flat list of axes that follow one another."""
        root = self.find()
        if root.kind == "concat":
            return [s for part in root.parts for s in part.segments()]
        return [root]

    def atoms(self) -> Iterator[Axis]:
        """All atoms the axis is made of, in order, repeated where they occur twice."""
        root = self.find()
        if root.kind == "atom":
            yield root
        for part in root.parts:
            yield from part.atoms()

    @property
    def is_fixed(self) -> bool:
        """No atom of the axis may be cut."""
        return all(atom.reason is not None for atom in self.atoms())

    @property
    def is_constant(self) -> bool:
        """The size never differs from ``size``: all atoms are fixed and none is the batch."""
        return all(atom.reason is not None and not atom.is_runtime for atom in self.atoms())

    def evaluate(
        self,
        atom: Callable[[Axis], int],
    ) -> int:
        """The number of indices when each atom has ``atom(axis)`` of them."""
        root = self.find()
        if root.kind == "atom":
            return atom(root)
        values = [part.evaluate(atom) for part in root.parts]
        if root.kind == "concat":
            return sum(values)
        result = 1
        for value in values:
            result *= value
        return result

    def __repr__(self) -> str:
        root = self.find()
        if root.kind == "atom":
            mark = "!" if root.reason else ("?" if root.is_runtime else "")
            return f"{root.size}{mark}"
        sign = "*" if root.kind == "product" else "|"
        return "(" + sign.join(map(repr, root.parts)) + ")" if root.parts else "1"


def _compose(kind: Literal["product", "concat"], parts: Sequence[Axis], size: int) -> Axis:
    axis = Axis(size)
    axis.kind = kind
    axis.parts = tuple(parts)
    return axis


ONE = _compose("product", (), 1)
"""The axis of every dimension of size one: the empty product."""


def product(parts: Iterable[Axis]) -> Axis:
    """The row-major product of axes, outermost first."""
    kept = [p for p in parts if not _is_one(p)]
    if not kept:
        return ONE
    if len(kept) == 1:
        return kept[0]
    size = 1
    for part in kept:
        size *= part.size
    return _compose("product", kept, size)


def concat(parts: Iterable[Axis]) -> Axis:
    """The axes one after another."""
    kept = list(parts)
    if len(kept) == 1:
        return kept[0]
    return _compose("concat", kept, sum(p.size for p in kept))


def _is_one(axis: Axis) -> bool:
    root = axis.find()
    return root.kind == "product" and not root.parts


def fix(axis: Axis, reason: Reason) -> None:
    """Forbids cutting any atom of the axis; the first reason is kept.

    The batch is left alone: it is never cut, and its size is whatever the input has.
    """
    for atom in axis.atoms():
        if atom.reason is None and not atom.is_runtime:
            atom.reason = reason


def pin(axis: Axis, reason: Reason) -> None:
    """Fixes all atoms, the batch included: its size is that of the example from now on."""
    for atom in axis.atoms():
        atom.is_runtime = False
    fix(axis, reason)


def unify(a: Axis, b: Axis, reason: Reason) -> None:
    """Makes two axes the same, refining whichever has less structure.

    Args:
        a: One axis.
        b: Another axis of the same size.
        reason: Used to fix both where they cannot be made the same.
    """
    a, b = a.find(), b.find()
    if a is b:
        return
    if a.size != b.size:
        _pin_all((a, b), reason)
    elif a.size == 1:
        for axis in (a, b):
            if axis.kind == "atom":
                axis.forward = ONE
    elif a.kind == "atom":
        _bind(a, b, reason)
    elif b.kind == "atom":
        _bind(b, a, reason)
    elif a.kind == "product" and b.kind == "product":
        _unify_factors(a.factors(), b.factors(), reason)
        _join(a, b)
    elif a.kind == "concat" and b.kind == "concat":
        _unify_segments(a.segments(), b.segments(), reason)
        _join(a, b)
    else:
        _unify_mixed(*((a, b) if a.kind == "product" else (b, a)), reason)


def _join(a: Axis, b: Axis) -> None:
    """Lets one composite stand for the other, unless unifying the parts already did."""
    a, b = a.find(), b.find()
    if a is not b and a.kind != "atom" and b.kind != "atom" and not _contains(b, a):
        a.forward = b


def _pin_all(axes: Iterable[Axis], reason: Reason) -> None:
    for axis in axes:
        pin(axis, reason)


def _contains(axis: Axis, target: Axis) -> bool:
    root = axis.find()
    return root is target or any(_contains(part, target) for part in root.parts)


def _bind(atom: Axis, other: Axis, reason: Reason) -> None:
    """Lets ``other`` stand for the atom."""
    if other.kind != "atom" and _contains(other, atom):
        _pin_all((atom, other), reason)
        return
    if other.kind == "atom":
        _merge_state(atom, other, reason)
    else:
        for part in other.atoms():
            _inherit(part, atom, reason)
    atom.forward = other


def _inherit(part: Axis, atom: Axis, reason: Reason) -> None:
    """What is known of an atom holds for the parts of what stands for it."""
    part.is_stored = part.is_stored or atom.is_stored
    part.role = part.role or atom.role
    part.least = min(part.size, max(part.least, atom.least))
    if atom.is_runtime or atom.reason is not None:
        pin(part, atom.reason or reason)
    elif part.is_runtime and part.is_stored:
        pin(part, reason)
    elif atom.if_stored is not None or (part.is_stored and part.if_stored is not None):
        fix(part, atom.if_stored or part.if_stored or reason)


def _merge_state(atom: Axis, other: Axis, reason: Reason) -> None:
    is_stored = atom.is_stored or other.is_stored
    fixed = atom.reason or other.reason
    is_runtime = atom.is_runtime or other.is_runtime
    if_stored = atom.if_stored or other.if_stored
    if is_stored and if_stored is not None:
        fixed = fixed or if_stored
    if is_runtime and (fixed is not None or is_stored):
        # The batch is tied to a size of the network, so it is no longer free to change.
        fixed, is_runtime = fixed or reason, False
    other.is_stored = is_stored
    other.if_stored = if_stored
    other.reason = fixed
    other.is_runtime = is_runtime
    other.role = other.role or atom.role
    other.least = max(other.least, atom.least)


def _refine(atom: Axis, kind: Literal["product", "concat"], sizes: Sequence[int]) -> list[Axis]:
    """Turns an atom into a product or concatenation of new atoms of the given sizes."""
    parts = []
    for size in sizes:
        if size == 1 and kind == "product":
            parts.append(ONE)
            continue
        part = Axis(size, reason=atom.reason or atom.if_stored)
        part.is_stored = atom.is_stored
        part.role = atom.role
        part.least = min(size, atom.least)
        if atom.is_runtime:
            part.reason = Reason("reshape", "the batch is split into factors")
        parts.append(part)
    atom.kind = kind
    atom.parts = tuple(p for p in parts if p is not ONE) if kind == "product" else tuple(parts)
    atom.is_runtime = False
    return parts


def split_product(axis: Axis, outer: int, reason: Reason) -> tuple[Axis, Axis] | None:
    """The axis as (outer of that size, inner), refined as needed; None if it cannot be."""
    axis = axis.find()
    if outer == 1:
        return ONE, axis
    if outer == axis.size:
        return axis, ONE
    if axis.size % outer:
        return None
    if axis.kind == "atom":
        left, right = _refine(axis, "product", (outer, axis.size // outer))
        return left, right
    if axis.kind == "product":
        return _split_factors(axis, outer, reason)
    return _split_concat_evenly(axis, outer, reason)


def _split_factors(axis: Axis, outer: int, reason: Reason) -> tuple[Axis, Axis] | None:
    taken: list[Axis] = []
    rest = axis.factors()
    remaining = outer
    while remaining > 1:
        factor = rest.pop(0)
        if remaining % factor.size == 0:
            taken.append(factor)
            remaining //= factor.size
            continue
        halves = split_product(factor, remaining, reason)
        if halves is None:
            return None
        taken.append(halves[0])
        rest.insert(0, halves[1])
        remaining = 1
    return product(taken), product(rest)


def _split_concat_evenly(axis: Axis, outer: int, reason: Reason) -> tuple[Axis, Axis] | None:
    """A concatenation whose segments all end in the same inner factor: fused q, k and v."""
    inner = axis.size // outer
    segments = axis.segments()
    if any(segment.size % inner for segment in segments):
        return None
    halves = [split_product(segment, segment.size // inner, reason) for segment in segments]
    if any(half is None for half in halves):
        return None
    pairs = [half for half in halves if half is not None]
    for _, right in pairs[1:]:
        unify(pairs[0][1], right, reason)
    left = concat(pair[0] for pair in pairs)
    right = pairs[0][1]
    axis.kind, axis.parts = "product", (left, right)
    return left, right


def split_concat(axis: Axis, first: int, reason: Reason) -> tuple[Axis, Axis] | None:
    """The axis as (segment of that size, the rest), refined as needed; None if it cannot be."""
    axis = axis.find()
    if axis.kind == "atom":
        left, right = _refine(axis, "concat", (first, axis.size - first))
        return left, right
    if axis.kind == "product":
        return _split_product_along_outermost(axis, first, reason)
    taken: list[Axis] = []
    rest = axis.segments()
    remaining = first
    while remaining:
        segment = rest.pop(0)
        if segment.size <= remaining:
            taken.append(segment)
            remaining -= segment.size
            continue
        halves = split_concat(segment, remaining, reason)
        if halves is None:
            return None
        taken.append(halves[0])
        rest.insert(0, halves[1])
        remaining = 0
    return concat(taken), concat(rest)


def _split_product_along_outermost(
    axis: Axis, first: int, reason: Reason
) -> tuple[Axis, Axis] | None:
    factors = axis.factors()
    if not factors:
        return None
    outermost, inner = factors[0], factors[1:]
    inner_size = axis.size // outermost.size
    if first % inner_size:
        return None
    halves = split_concat(outermost, first // inner_size, reason)
    if halves is None:
        return None
    left, right = (product((half, *inner)) for half in halves)
    axis.kind, axis.parts = "concat", (left, right)
    return left, right


def _unify_factors(a: list[Axis], b: list[Axis], reason: Reason) -> None:
    while a and b:
        first, second = a[0].find(), b[0].find()
        if first.kind == "product":
            a[0:1] = first.factors()
        elif second.kind == "product":
            b[0:1] = second.factors()
        elif first.size == second.size:
            unify(a.pop(0), b.pop(0), reason)
        elif first.size == 1 or second.size == 1:
            unify((a if first.size == 1 else b).pop(0), ONE, reason)
        else:
            larger, smaller = (b, first) if first.size < second.size else (a, second)
            halves = split_product(larger[0], smaller.size, reason)
            if halves is None:
                _pin_all((*a, *b), reason)
                return
            larger[0:1] = halves
    _pin_all((*a, *b), reason)  # only where sizes did not match in the first place


def _unify_segments(a: list[Axis], b: list[Axis], reason: Reason) -> None:
    while a and b:
        first, second = a[0].find(), b[0].find()
        if first.size == second.size:
            unify(a.pop(0), b.pop(0), reason)
            continue
        larger, smaller = (b, first) if first.size < second.size else (a, second)
        halves = split_concat(larger[0], smaller.size, reason)
        if halves is None:
            _pin_all((*a, *b), reason)
            return
        larger[0:1] = halves
    _pin_all((*a, *b), reason)


def _unify_mixed(multiplied: Axis, joined: Axis, reason: Reason) -> None:
    """A product and a concatenation: the product's outermost factor is cut into segments."""
    rest = multiplied
    segments = joined.segments()
    for segment in segments[:-1]:
        halves = split_concat(rest, segment.size, reason)
        if halves is None:
            _pin_all((multiplied, joined), reason)
            return
        unify(halves[0], segment, reason)
        rest = halves[1]
    unify(rest, segments[-1], reason)
    _join(multiplied, joined)
