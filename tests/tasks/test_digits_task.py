"""The task that is trained on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from supple.errors import TaskError
from supple.measure.accuracy import Accuracy
from supple.progress import Event
from supple.tasks import load


def labels(loader: object) -> torch.Tensor:
    return torch.cat([targets for _, targets in loader])  # type: ignore[attr-defined]


def test_the_split_is_fixed_disjoint_whole_and_stratified() -> None:
    from supple.tasks.digits import _split

    parts = _split()
    assert [len(part) for part in parts] == [1000, 297, 500]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797))
    assert [int(part[:50].sum()) for part in parts] == [2209, 5700, 5520]
    target = load_digits().target
    counts = [np.bincount(target[part], minlength=10) for part in parts]
    shares = [c / c.sum() for c in counts]
    assert np.abs(shares[1] - shares[0]).max() < 0.005
    assert np.abs(shares[2] - shares[0]).max() < 0.005


def test_training_images_are_normalised_and_only_they_are_shuffled() -> None:
    from supple.tasks.digits import _images

    images, _ = _images(0)
    assert abs(float(images.mean())) < 0.01
    assert abs(float(images.std()) - 1) < 0.01
    task = load("digits")
    assert task.test is not None
    assert task.train_on_all is not None
    assert torch.equal(labels(task.valid()), labels(task.valid()))
    assert len(labels(task.train())) == 1000
    assert len(labels(task.train_on_all())) == 1297
    assert len(labels(task.test())) == 500


def test_a_small_network_learns_and_repeats_to_the_bit(tmp_path: Path) -> None:
    task = load("digits", width=4, blocks=1, epochs=2)
    network = task.model()
    value = Accuracy(loader=task.valid(), metric=task.metric).measure(network).value
    assert value > 0.6
    assert task.untrained is not None
    assert task.pretrain is not None
    again, events = task.untrained(), list[Event]()
    task.pretrain(again, progress=events.append, checkpoint=tmp_path / "net")
    assert events[-1].is_finished
    read = task.untrained()
    task.pretrain(read, checkpoint=tmp_path / "net")
    for a, b, c in zip(
        network.state_dict().values(),
        again.state_dict().values(),
        read.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_making_the_network_touches_no_global_seed() -> None:
    before = torch.get_rng_state()
    task = load("digits", width=2, blocks=1, epochs=1)
    task.model()
    assert torch.equal(torch.get_rng_state(), before)


def test_sizes_that_mean_nothing_are_refused() -> None:
    with pytest.raises(TaskError, match="width=0"):
        load("digits", width=0)


@pytest.mark.slow
def test_the_baseline_is_right_in_98_and_a_half_percent() -> None:
    task = load("digits")
    network = task.model()
    assert task.test is not None
    assert sum(p.numel() for p in network.parameters()) == 696_042
    assert Accuracy(loader=task.test(), metric=task.metric).measure(network).value >= 0.985
