"""Accuracy: the mean over samples, its interval, and bad metrics and loaders."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score
from torch import nn

from supple.elastic import Elastic
from supple.errors import DataError, MeasureError
from supple.measure import Accuracy, Measure, Measurement


def batches(sizes=(4, 4, 3), classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(n, classes, generator=generator),
         torch.randint(0, classes, (n,), generator=generator))
        for n in sizes
    ]  # fmt: skip


def test_top1_equals_sklearn_with_uneven_batches():
    loader = batches((7, 7, 1), seed=3)
    found = Accuracy(loader=loader).measure(nn.Identity())
    outputs = torch.cat([x for x, _ in loader]).argmax(1).numpy()
    targets = torch.cat([y for _, y in loader]).numpy()
    assert found.value == pytest.approx(accuracy_score(targets, outputs), abs=1e-12)
    ci = binomtest(round(found.value * 15), 15).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((ci.low, ci.high))
    assert (found.count, found.unit, found.details["interval"]) == (15, "fraction", "Wilson")


def test_top1_takes_class_scores_and_one_class_per_position():
    outputs = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    soft = torch.tensor([[0.0, 1.0], [0.4, 0.6], [0.2, 0.8]])
    assert Accuracy(loader=[(outputs, soft)]).measure(nn.Identity()).value == pytest.approx(2 / 3)
    maps = torch.zeros(2, 3, 2)  # N, classes, positions
    maps[:, 1] = 1.0
    targets = torch.tensor([[1, 1], [1, 0]])
    assert Accuracy(loader=[(maps, targets)]).measure(nn.Identity()).value == pytest.approx(0.75)


def test_a_per_sample_metric_gets_a_normal_interval():
    loader = batches((40, 24), classes=1, seed=1)

    def square(outputs, targets):
        return (outputs[:, 0] - targets) ** 2

    found = Accuracy(loader=loader, metric=square, name="mse", direction="min").measure(
        nn.Identity()
    )
    scores = np.concatenate([square(x, y).numpy() for x, y in loader]).astype(float)
    half = 1.959963984540054 * scores.std(ddof=1) / 8
    assert found.value == pytest.approx(scores.mean())
    assert found.high - found.value == pytest.approx(half)
    assert found.value - found.low == pytest.approx(half)


def test_a_number_per_batch_is_weighted_by_the_samples():
    loader = [(torch.zeros(3, 2), 1.0), (torch.zeros(1, 2), 5.0)]
    found = Accuracy(loader=loader, metric=lambda out, target: target).measure(nn.Identity())
    assert found.value == pytest.approx((3 * 1 + 5) / 4)
    assert found.count == 4
    assert found.low < found.value < found.high


def test_inputs_may_be_a_tuple_or_a_dict():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a + b

    a, b, y = torch.eye(3), torch.zeros(3, 3), torch.tensor([0, 1, 1])
    for inputs in ((a, b), [a, b], {"b": b, "a": a}):
        assert Accuracy(loader=[(inputs, y)]).measure(Sum()).value == pytest.approx(2 / 3)


def test_mode_of_every_part_gradients_and_random_state_are_as_before():
    class Probe(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.norm, self.seen = nn.Dropout(0.5), nn.BatchNorm1d(5), []
            self.norm.eval()

        def forward(self, x):
            self.seen.append((self.training, self.drop.training, torch.is_grad_enabled()))
            return self.norm(self.drop(x))

    network = Probe().train()
    network.norm.eval()
    data = torch.utils.data.TensorDataset(torch.randn(8, 5), torch.randint(0, 5, (8,)))
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    state = torch.get_rng_state()
    measure = Accuracy(loader=loader)
    first, second = measure.measure(network), measure.measure(network)
    assert first == second
    assert set(network.seen) == {(False, False, False)}
    assert (network.training, network.drop.training, network.norm.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network.norm.running_mean, torch.zeros(5))
    assert torch.is_grad_enabled()


def test_the_mode_returns_when_the_network_fails():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no")

    network = Broken().train()
    with pytest.raises(RuntimeError):
        Accuracy(loader=batches()).measure(network)
    assert network.training


def test_a_sub_network_is_scored_like_its_extraction():
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    net = Elastic(model, (torch.randn(4, 6),)).train()
    x, y = torch.randn(64, 6), torch.randint(0, 3, (64,))
    measure, config = Accuracy(loader=[(x, y)]), net.space.smallest
    assert measure.measure(net.at(config)).value == measure.measure(net.extract(config)).value
    assert net.training


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (float("nan"), "is nan"),
        (float("inf"), "is inf"),
        (torch.tensor([0.5, float("nan"), 0.1]), "is nan"),
        (1 + 2j, "is complex"),
        (torch.ones(3, dtype=torch.complex64), "is complex"),
        ("good", "is a str"),
        (None, "is a NoneType"),
        (torch.ones(2), r"shape \(2,\) for 3 samples"),
        (torch.ones(3, 1), r"shape \(3, 1\) for 3 samples"),
    ],
)
def test_a_metric_that_is_no_finite_number_names_the_batch(score, says):
    loader = batches((3, 3))
    scores = iter([torch.ones(3), score])
    measure = Accuracy(loader=loader, metric=lambda out, target: next(scores), name="mine")
    with pytest.raises(MeasureError, match=f"'mine' on batch 1 .*{says}") as caught:
        measure.measure(nn.Identity())
    assert caught.value.data["batch"] == 1


def test_a_metric_that_raises_keeps_the_cause():
    def metric(outputs, targets):
        raise KeyError("label")

    with pytest.raises(MeasureError, match="failed on batch 0") as caught:
        Accuracy(loader=batches(), metric=metric).measure(nn.Identity())
    assert isinstance(caught.value.__cause__, KeyError)


def test_numbers_and_arrays_of_other_libraries_are_scores():
    for score in (np.float32(0.5), np.full(4, 0.5), 0.5, torch.tensor(0.5), torch.full((4,), 0.5)):
        found = Accuracy(loader=batches((4,)), metric=lambda out, t, score=score: score)
        assert found.measure(nn.Identity()).value == 0.5


def test_mixed_kinds_of_scores_are_refused():
    scores = iter([torch.ones(3), 1.0])
    with pytest.raises(MeasureError, match="per sample for some batches"):
        Accuracy(loader=batches((3, 3)), metric=lambda out, t: next(scores)).measure(nn.Identity())


@pytest.mark.parametrize("loader", [[], iter(()), [(torch.zeros(0, 5), torch.zeros(0).long())]])
def test_an_empty_loader_is_a_data_error(loader):
    with pytest.raises(DataError, match="gave no sample"):
        Accuracy(loader=loader).measure(nn.Identity())


def test_a_batch_that_is_no_pair_is_a_data_error():
    with pytest.raises(DataError, match="Batch 0 .* not a pair"):
        Accuracy(loader=[torch.zeros(3, 2)]).measure(nn.Identity())


@pytest.mark.parametrize(
    ("outputs", "targets", "says"),
    [
        (torch.zeros(3, 1), torch.zeros(3).long(), "Batch 0: .*needs outputs of shape"),
        (torch.zeros(3), torch.zeros(3).long(), "Batch 0: .*needs outputs of shape"),
        (torch.zeros(3, 2), torch.zeros(3), "one class number per sample"),
        (torch.zeros(3, 2), torch.zeros(4).long(), "one class number per sample"),
        (torch.full((3, 2), float("nan")), torch.zeros(3).long(), "not finite"),
    ],
)
def test_top1_of_what_is_no_classification_says_so(outputs, targets, says):
    with pytest.raises(MeasureError, match=says):
        Accuracy(loader=[(outputs, targets)]).measure(nn.Identity())


def test_a_measure_is_a_value_with_a_direction():
    first, second = Accuracy(loader=batches()), Accuracy(loader=batches())
    assert first == second
    assert hash(first) == hash(second)
    assert first != Accuracy(loader=batches(), name="f1")
    assert isinstance(first, Measure)
    with pytest.raises(MeasureError, match="direction 'up'"):
        Accuracy(loader=[], direction="up")


def test_a_measurement_is_finite():
    with pytest.raises(MeasureError, match="not a finite number"):
        Measurement.exact(float("nan"), "ms")
    assert str(Measurement.exact(3, "ms")) == "3 ms"
