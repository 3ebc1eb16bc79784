"""The deterministic loader, and the augmentation of whole batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from supple.elastic.training import Batches, CropFlip
from supple.elastic.training._batch import split_batch
from supple.errors import DataError


def same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True)
    )


@given(
    examples=st.integers(1, 40), size=st.integers(1, 12), epoch=st.integers(0, 5), data=st.data()
)
def test_an_epoch_can_be_entered_at_any_batch(
    examples: int, size: int, epoch: int, data: st.DataObject
) -> None:
    x = torch.rand(examples, 1, 5, 5)
    batches = Batches(x, torch.arange(examples), batch_size=size, augment=CropFlip(padding=1))
    whole = list(batches.epoch(epoch))
    start = data.draw(st.integers(0, len(batches)))
    assert same(list(batches.epoch(epoch, start=start)), whole[start:])
    seen = torch.cat([targets for _, targets in whole])
    assert torch.equal(seen.sort().values, torch.arange(examples))


def test_epochs_and_seeds_differ_and_repeat() -> None:
    x = torch.arange(50.0)
    a, b = (Batches(x, x, batch_size=50, seed=seed) for seed in (0, 1))
    assert same(list(a.epoch(0)), list(a))
    assert not same(list(a.epoch(0)), list(a.epoch(1)))
    assert not same(list(a), list(b))


def test_drop_last_leaves_out_what_is_not_full() -> None:
    batches = Batches(torch.arange(7), torch.arange(7), batch_size=3, drop_last=True)
    assert [len(y) for _, y in batches] == [3, 3]
    assert len(batches) == 2


def test_preparation_comes_after_augmentation() -> None:
    pixels = torch.full((4, 1, 3, 3), 255, dtype=torch.uint8)
    batches = Batches(
        pixels,
        torch.zeros(4),
        batch_size=4,
        augment=CropFlip(padding=2, fill=0),
        prepare=lambda x: x.float() / 255 - 1,
    )
    (x, _), *_ = list(batches)
    assert x.dtype == torch.float32
    assert set(x.unique().tolist()) == {-1.0, 0.0}


@pytest.mark.parametrize(
    ("inputs", "targets", "size", "message"),
    [
        (torch.ones(3), torch.ones(4), 2, "different numbers"),
        (torch.ones(0), torch.ones(0), 2, "no examples"),
        (torch.ones(3), torch.ones(3), 0, "batch size is 0"),
    ],
)
def test_data_that_gives_no_batch_is_refused(
    inputs: Any, targets: Any, size: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Batches(inputs, targets, batch_size=size)


@pytest.mark.parametrize("flip", [False, True])
def test_crops_equal_those_taken_one_by_one(flip: bool) -> None:
    x = torch.rand(64, 3, 6, 8)
    found = CropFlip(padding=2, flip=flip, fill=0.5)(x, torch.Generator().manual_seed(1))
    padded = F.pad(x, (2, 2, 2, 2), value=0.5)
    crops = set()
    for image in range(64):
        matching = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(
                found[image],
                (lambda w, m: w.flip(2) if m else w)(
                    padded[image, :, top : top + 6, left : left + 8], mirrored
                ),
            )
        ]
        assert matching
        crops |= set(matching)
    assert {top for top, _, _ in crops} == {left for _, left, _ in crops} == set(range(5))
    assert {mirrored for _, _, mirrored in crops} == ({False, True} if flip else {False})


def test_a_batch_is_cut_through_all_its_parts() -> None:
    batch = ({"x": torch.arange(5), "scale": torch.tensor(2.0)}, (torch.arange(5), "name"))
    parts = split_batch(batch, 2)
    assert [p[0]["x"].tolist() for p in parts] == [[0, 1, 2], [3, 4]]
    assert [p[1][0].tolist() for p in parts] == [[0, 1, 2], [3, 4]]
    assert all(p[0]["scale"] == 2 and p[1][1] == "name" for p in parts)
