"""Rooms whose papers are all there: implemented, claimed and measured."""

import pytest

from supple.claims import entries, load_evidence
from supple.papers import catalogue, implementations

BLOCKS = [paper.id for paper in catalogue() if paper.room == "blocks"]
# Papers of other rooms of which this one holds a part: activations of 2, heads in a layer of 119.
WITH_BLOCKS = (2, 119)


def test_the_room_of_blocks_is_this_large():
    assert {9, 14, 23, 24, 27, 29, 38, 40, 44, 45, 49, 50, 62, 79, 80, 92, 110, 112, 114, 120} <= {
        *BLOCKS
    }


@pytest.mark.parametrize("number", [*BLOCKS, *WITH_BLOCKS])
def test_a_paper_of_blocks_is_implemented_claimed_and_measured(number):
    assert [found for found in implementations(number) if found.path.startswith("supple.blocks")]
    own = [entry.name for entry in entries() if entry.paper == number]
    assert own
    assert all(load_evidence(name) is not None for name in own)


@pytest.mark.parametrize(
    ("number", "part"), [(28, "supple.blocks.MaxMin"), (48, "supple.blocks.Dice")]
)
def test_activations_of_papers_of_other_rooms_are_there(number, part):
    assert part in [found.path for found in implementations(number)]
