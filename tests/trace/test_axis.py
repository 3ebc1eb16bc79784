"""The algebra against brute force: index tensors that go through torch's own views."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from supple.elastic._cutting import kept_positions, owners
from supple.trace import ONE, Axis, Reason
from supple.trace._axis import concat, fix, pin, product, split_concat, split_product, unify

WHY = Reason("test", "because")


def atoms_of(*axes: Axis) -> list[Axis]:
    """The different atoms, in order."""
    return list(dict.fromkeys(atom for axis in axes for atom in axis.atoms()))


@st.composite
def axis_of(draw: st.DrawFn, size: int, depth: int = 3) -> Axis:
    """A random expression of a size: an atom, a product or a concatenation."""
    if size == 1:
        return draw(st.sampled_from((ONE, Axis(1))))
    divisors = [n for n in range(2, size) if size % n == 0]
    kinds = ["atom"] + ["product"] * bool(divisors and depth) + ["concat"] * bool(depth)
    kind = draw(st.sampled_from(kinds))
    if kind == "atom":
        return Axis(size)
    if kind == "product":
        outer = draw(st.sampled_from(divisors))
        parts = (outer, size // outer)
    else:
        first = draw(st.integers(1, size - 1))
        parts = (first, size - first)
    left, right = (draw(axis_of(part, depth - 1)) for part in parts)
    return product((left, right)) if kind == "product" else concat((left, right))


@st.composite
def keeps(draw: st.DrawFn, *axes: Axis) -> dict[Axis, Tensor]:
    """For every free atom some of its indices, at least one, in order."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    kept = {}
    for atom in atoms_of(*axes):
        kept[atom] = torch.arange(atom.size)
        if atom.reason is None and not atom.is_runtime and atom.size:
            some = torch.randperm(atom.size, generator=generator)
            most = int(torch.randint(1, atom.size + 1, (), generator=generator))
            kept[atom] = some[:most].sort().values
    return kept


sizes = st.integers(1, 36)


def count(axis: Axis, kept: dict[Axis, Tensor]) -> int:
    return axis.evaluate(lambda atom: len(kept[atom]))


def positions(axis: Axis, kept: dict[Axis, Tensor]) -> Tensor:
    found = kept_positions(axis, kept.__getitem__)
    return torch.arange(axis.size) if found is None else found


# -- laws of unification ----------------------------------------------------------------------
@given(st.data(), sizes)
def test_unified_axes_have_the_same_size_and_positions_whatever_is_cut(
    data: st.DataObject, size: int
) -> None:
    a, b = data.draw(axis_of(size)), data.draw(axis_of(size))
    unify(a, b, WHY)
    assert a.size == b.size == size
    assert a.evaluate(lambda atom: atom.size) == size
    kept = data.draw(keeps(a, b))
    assert count(a, kept) == count(b, kept)
    assert torch.equal(positions(a, kept), positions(b, kept))


@given(st.permutations((1, 2, 3)), st.permutations((1, 2, 3)), st.booleans())
def test_factors_of_one_are_no_obstacle(
    a_sizes: list[int], b_sizes: list[int], joined: bool
) -> None:
    def built(sizes: list[int]) -> Axis:
        one, *rest = (concat((Axis(0), Axis(n))) if joined and n == 1 else Axis(n) for n in sizes)
        return product((one, *rest))

    a, b = built(a_sizes), built(b_sizes)
    unify(a, b, WHY)
    assert a.size == b.size == 6
    assert positions(a, {x: torch.arange(x.size) for x in atoms_of(a, b)}).tolist() == list(
        range(6)
    )


@given(st.data(), sizes)
def test_unification_is_transitive_and_idempotent(data: st.DataObject, size: int) -> None:
    a, b, c = (data.draw(axis_of(size)) for _ in range(3))
    unify(a, b, WHY)
    unify(c, b, WHY)
    kept = data.draw(keeps(a, b, c))
    assert torch.equal(positions(a, kept), positions(c, kept))
    free = [atom for atom in atoms_of(a) if atom.reason is None]
    unify(a, c, WHY)
    unify(b, a, WHY)
    assert [atom for atom in atoms_of(a) if atom.reason is None] == free


@given(st.data(), st.integers(2, 36))
def test_what_meets_a_fixed_axis_is_fixed(data: st.DataObject, size: int) -> None:
    a, b = data.draw(axis_of(size)), data.draw(axis_of(size))
    fix(b, WHY)
    unify(a, b, WHY)
    assert a.is_fixed
    assert a.is_constant


@given(st.data(), st.integers(2, 36))
def test_the_batch_is_pinned_by_whatever_has_a_size_of_its_own(
    data: st.DataObject, size: int
) -> None:
    batch, other = Axis(size, is_runtime=True), data.draw(axis_of(size))
    for atom in other.atoms():
        atom.is_stored = True
    for a, b in [(batch, other), (other, batch)]:
        unify(a, b, WHY)
        assert batch.is_constant


def test_a_batch_inside_a_product_is_pinned_too() -> None:
    batch, steps = Axis(2, is_runtime=True), Axis(3)
    stored = Axis(6)
    stored.is_stored = True
    unify(product((batch, steps)), stored, WHY)
    assert batch.is_constant
    batch = Axis(2, is_runtime=True)
    constant = Axis(6, reason=WHY)
    unify(constant, product((batch, Axis(3))), WHY)
    assert batch.is_constant


def test_a_numbered_axis_is_fixed_once_it_meets_a_stored_one() -> None:
    for wrap in (lambda axis: axis, lambda axis: product((Axis(2), axis))):
        numbered = Axis(6)
        numbered.if_stored = WHY
        whole = wrap(numbered)
        stored = Axis(whole.size)
        stored.is_stored = True
        unify(whole, stored, WHY)
        assert numbered.is_fixed


def test_unequal_sizes_and_cycles_fix_instead_of_failing() -> None:
    a, b = Axis(4), Axis(6)
    unify(a, b, WHY)
    assert a.is_fixed
    assert b.is_fixed
    inner = Axis(4)
    outer = concat((inner, Axis(0)))
    unify(inner, outer, WHY)
    assert inner.is_fixed


# -- laws of splitting ------------------------------------------------------------------------
@given(st.data(), st.integers(2, 36))
def test_a_split_product_is_a_view(data: st.DataObject, size: int) -> None:
    axis = data.draw(axis_of(size))
    outer = data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
    halves = split_product(axis, outer, WHY)
    assume(halves is not None)
    assert halves is not None
    assert [half.size for half in halves] == [outer, size // outer]
    kept = data.draw(keeps(axis, *halves))
    full = torch.arange(size)
    left, right = (positions(half, kept) for half in halves)
    grid = full.view(outer, size // outer)[left][:, right]
    assert torch.equal(grid.flatten(), positions(axis, kept))


@given(st.data(), st.integers(2, 36))
def test_a_split_concatenation_is_a_split(data: st.DataObject, size: int) -> None:
    axis = data.draw(axis_of(size))
    first = data.draw(st.integers(1, size - 1))
    halves = split_concat(axis, first, WHY)
    assume(halves is not None)
    assert halves is not None
    assert [half.size for half in halves] == [first, size - first]
    kept = data.draw(keeps(axis, *halves))
    segments = torch.arange(size).split([first, size - first])
    cut = [s[positions(h, kept)] for s, h in zip(segments, halves, strict=True)]
    assert torch.equal(torch.cat(cut), positions(axis, kept))


@given(st.data())
def test_chains_of_views_agree_with_index_tensors(data: st.DataObject) -> None:
    """Flatten, regroup, permute, cat and split at random, full and cut: the same elements."""
    shape = data.draw(st.lists(st.sampled_from((1, 2, 3, 4)), min_size=1, max_size=3))
    axes = [Axis(n) for n in shape]
    sources = list(axes)
    steps: list[tuple[str, object]] = []
    for _ in range(data.draw(st.integers(1, 4))):
        axes, step = data.draw(a_view(axes))
        steps.append(step)
    kept = data.draw(keeps(*sources, *axes))
    full = torch.arange(math.prod(shape)).view(shape)
    cut = full
    for dim, source in enumerate(sources):
        cut = cut.index_select(dim, positions(source, kept))
    for step in steps:
        full, cut = apply(step, full, None), apply(step, cut, kept)
    for dim, axis in enumerate(axes):
        full = full.index_select(dim, positions(axis, kept))
    assert torch.equal(full, cut)


@st.composite
def a_view(draw: st.DrawFn, axes: list[Axis]) -> tuple[list[Axis], tuple[str, object]]:
    """The axes after one step, and the step as torch does it, its sizes as axes."""
    kind = draw(st.sampled_from(("reshape", "permute", "twice", "split")))
    if kind == "permute":
        order = draw(st.permutations(range(len(axes))))
        return [axes[i] for i in order], (kind, order)
    if kind == "twice":
        return [concat((axes[0], axes[0])), *axes[1:]], (kind, None)
    if kind == "split" and axes[0].size > 1:
        at = draw(st.integers(1, axes[0].size - 1))
        halves = split_concat(axes[0], at, WHY)
        if halves is not None:
            which = draw(st.sampled_from((0, 1)))
            return [halves[which], *axes[1:]], (kind, (halves, which))
    whole = product(axes)
    size = whole.size
    assume(size < 200)
    outer = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
    halves = split_product(whole, outer, WHY)
    result = [whole] if halves is None else list(halves)
    return result, ("reshape", result)


def apply(step: tuple[str, object], tensor: Tensor, kept: dict[Axis, Tensor] | None) -> Tensor:
    kind, what = step

    def size(axis: Axis) -> int:
        return axis.size if kept is None else count(axis, kept)

    if kind == "permute":
        return tensor.permute(what)
    if kind == "twice":
        return torch.cat((tensor, tensor))
    if kind == "split":
        halves, which = what
        return tensor.split([size(half) for half in halves])[which]
    return tensor.reshape([size(axis) for axis in what])


# -- single facts -----------------------------------------------------------------------------
def test_fused_queries_keys_and_values_share_heads_when_viewed_as_three() -> None:
    parts = [Axis(8) for _ in range(3)]
    halves = split_product(concat(parts), 3, WHY)
    assert halves is not None
    assert halves[0].size == 3
    assert len(atoms_of(*parts)) == 1


def test_what_cannot_be_split_says_so() -> None:
    assert split_product(Axis(6), 4, WHY) is None
    assert split_product(concat((Axis(3), Axis(5))), 4, WHY) is None
    assert split_concat(product((Axis(3), Axis(2))), 3, WHY) is None


def test_owners_name_every_position_for_every_mention() -> None:
    a, b = Axis(2), Axis(3)
    axis = concat((product((a, b)), a))
    found = [m.tolist() for m in owners(axis, a)]
    assert found == [[0, 0, 0, 1, 1, 1, -1, -1], [-1] * 6 + [0, 1]]
    assert [m.tolist() for m in owners(axis, b)] == [[0, 1, 2, 0, 1, 2, -1, -1]]


@given(st.data(), sizes)
def test_owners_are_the_positions_of_single_indices(data: st.DataObject, size: int) -> None:
    axis = data.draw(axis_of(size))
    for atom in atoms_of(axis):
        maps = owners(axis, atom)
        for index in range(atom.size):
            kept = {other: torch.arange(other.size) for other in atoms_of(axis)}
            kept[atom] = torch.tensor([i for i in range(atom.size) if i != index])
            gone = set(range(size)) - set(positions(axis, kept).tolist())
            assert gone == {p for m in maps for p in torch.where(m == index)[0].tolist()}


def test_fix_leaves_the_batch_and_pin_does_not() -> None:
    batch, width = Axis(2, is_runtime=True), Axis(3)
    fix(product((batch, width)), WHY)
    assert width.is_fixed
    assert not batch.is_fixed
    pin(batch, WHY)
    assert batch.is_constant


def test_the_first_reason_is_kept_and_roles_survive_refinement() -> None:
    axis = Axis(6)
    axis.role = "heads"
    fix(axis, Reason("first", "one"))
    fix(axis, Reason("second", "two"))
    split_product(axis, 2, WHY)
    assert {a.reason.operator for a in axis.atoms() if a.reason} == {"first"}
    assert {a.role for a in axis.atoms()} == {"heads"}


@pytest.mark.parametrize("size", [1, 6])
def test_axes_are_shown_as_expressions(size: int) -> None:
    axis = concat((product((Axis(2), Axis(3, reason=WHY))), Axis(size, is_runtime=True)))
    assert repr(axis) == f"((2*3!)|{size}?)"
    assert repr(ONE) == "1"


def test_products_leave_out_ones_and_concatenations_keep_them() -> None:
    axis = Axis(4)
    assert product((ONE, axis, ONE)) is axis
    assert product(()) is ONE
    assert concat((ONE, ONE)).size == 2
    assert list(itertools.chain(concat((ONE, ONE)).atoms())) == []
