"""Kept positions that are the first ones are known without listing them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from supple.elastic._cutting import kept_positions, kept_prefix
from supple.trace._axis import Axis, concat, product

SIZES = st.integers(1, 4)
AXES = st.recursive(
    SIZES.map(Axis),
    lambda inner: st.builds(
        lambda parts, join: join(parts),
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from([product, concat]),
    ),
    max_leaves=6,
)


@given(AXES, st.data())
def test_a_prefix_is_what_the_positions_say(axis: Axis, data: st.DataObject) -> None:
    counts = {atom: data.draw(st.integers(1, atom.size)) for atom in dict.fromkeys(axis.atoms())}
    positions = kept_positions(axis, lambda atom: torch.arange(counts.get(atom, atom.size)))
    length = kept_prefix(axis, lambda atom: counts.get(atom, atom.size))
    if positions is None:
        assert length == axis.size
        return
    is_prefix = positions.tolist() == list(range(len(positions)))
    assert length == (len(positions) if is_prefix else None)
