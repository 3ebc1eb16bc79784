"""What claims are made with: data sets, the training loop, fair baselines."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LinearRegression
from torch import nn

from supple.claims import (
    accuracy,
    best_lr,
    digits,
    equal_time_epochs,
    fit,
    made,
    match_width,
    parameters,
    score,
    seeded,
    spirals,
    squared_error,
    table,
)
from supple.claims._residual_mlp import ResidualMLP
from supple.elastic.training import SortedNet
from supple.errors import ClaimError, DataError, TrainingError

TABLES = ["breast_cancer", "diabetes", "digits", "iris", "wine"]


def linear(inputs=64, outputs=10, seed=0):
    with seeded(seed, "test"):
        return nn.Linear(inputs, outputs)


# Data


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_split_by_seed_and_standardised(name):
    data, again, other = table(name, 0), table(name, 0), table(name, 1)
    assert torch.equal(data.train_x, again.train_x)
    assert torch.equal(data.test_y, again.test_y)
    assert not torch.equal(data.train_x, other.train_x)
    assert data.train_x.dtype == torch.float32
    assert data.features == data.train_x.shape[1]
    assert data.train_x.mean().abs() < 1e-4
    assert len(data.train_x) == pytest.approx(0.7 * (len(data.train_x) + len(data.test_x)), abs=1)
    if name == "diabetes":
        assert (data.classes, data.outputs, data.train_y.shape[1]) == (0, 1, 1)
        assert data.train_y.std(unbiased=False) == pytest.approx(1, abs=1e-4)
    else:
        assert data.outputs == data.classes == len(data.train_y.unique())
        shares = [y.bincount() / len(y) for y in (data.train_y, data.test_y)]
        assert (shares[0] - shares[1]).abs().max() < 0.02


def test_standardising_looks_at_the_training_part_alone():
    data = table("wine", 0)
    raw = load_wine().data
    # Undone with the training part's mean and spread, every row is one of the table.
    whole = torch.cat([data.train_x, data.test_x]).double().numpy()
    assert np.abs(whole[: len(data.train_x)].std(0) - 1).max() < 1e-5
    scale = raw.std(0).mean()
    assert whole.std(0).max() != pytest.approx(1, abs=1e-6)
    assert scale > 0


def test_digits_keep_one_scale_for_all_pixels():
    data = digits(0, images=True)
    assert data.train_x.shape == (1200, 1, 8, 8)
    assert data.test_x.shape == (597, 1, 8, 8)
    pixels = torch.cat([data.train_x, data.test_x])
    steps = torch.diff(pixels.unique())
    assert len(pixels.unique()) == len(np.unique(load_digits().data)) == 17
    assert steps.std() < 1e-5


def test_an_unknown_table_names_near_misses():
    with pytest.raises(DataError, match="'wine'"):
        table("wines", 0)


def test_made_values_are_those_of_the_function():
    data = made(lambda x: 3 * x[:, 0] - x[:, 1], 0, features=2, noise=0.0)
    found = LinearRegression().fit(data.train_x, data.train_y)
    assert found.score(data.test_x, data.test_y) == pytest.approx(1)
    assert found.coef_[0, 0] / found.coef_[0, 1] == pytest.approx(-3, rel=0.05)


def test_noise_is_in_the_training_part_alone():
    data = made(lambda x: x[:, 0], 0, features=1, noise=0.5, train=4000)
    found = LinearRegression().fit(data.train_x, data.train_y)
    off = [(y - torch.from_numpy(found.predict(x))).std() for x, y in
           ((data.train_x, data.train_y), (data.test_x, data.test_y))]  # fmt: skip
    # 0.5 of what then has a spread of sqrt(1 + 0.25).
    assert off[0] == pytest.approx(0.5 / np.sqrt(1.25), rel=0.05)
    assert off[1] < 0.03


def test_spirals_need_more_than_a_line():
    data = spirals(0, classes=2, noise=0.02)
    model = linear(2, 2)
    fit(model, data, epochs=5, lr=0.05, seed=0)
    assert accuracy(model, data) < 0.8
    net = nn.Sequential(linear(2, 64), nn.ReLU(), linear(64, 64), nn.ReLU(), linear(64, 2))
    fit(net, data, epochs=60, lr=0.01, seed=0)
    assert accuracy(net, data) > 0.95


def test_what_is_held_out_is_of_the_training_part():
    data = table("wine", 0)
    part = data.held_out(0.25)
    assert torch.equal(torch.cat([part.train_x, part.test_x]), data.train_x)
    assert len(part.test_x) == round(0.25 * len(data.train_x))


# Training and scores


def test_the_same_seed_gives_the_same_training_and_nothing_is_left_changed():
    data = digits(0)
    model, other = linear(), linear()
    model.eval()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = fit(model, data, epochs=1, lr=0.01, seed=5)
    assert torch.equal(torch.rand(2), expected)
    assert not model.training
    second = fit(other, data, epochs=1, lr=0.01, seed=5)
    assert first.losses == second.losses
    assert len(first.losses) == 19
    assert torch.equal(model.weight, other.weight)
    assert fit(linear(), data, epochs=1, lr=0.01, seed=6).losses != first.losses


def test_a_training_that_diverges_is_a_result():
    data = made(lambda x: x[:, 0], 0, features=4)
    model = nn.Sequential(linear(4, 64), linear(64, 64), linear(64, 1))
    found = fit(model, data, epochs=5, lr=1e6, seed=0, optimizer="sgd")
    assert found.is_diverged
    assert len(found.losses) < 80


def test_other_errors_of_training_are_not_hidden():
    with pytest.raises(TrainingError, match="elastic"):
        fit(linear(), digits(0), epochs=1, lr=0.1, seed=0, rule=SortedNet())


def test_accuracy_counts_and_nan_is_wrong():
    data = digits(0)
    perfect = nn.functional.one_hot(data.test_y, 10).float()
    answers = iter(torch.split(perfect, 500))
    assert accuracy(lambda x: next(answers), data) == 1.0
    hurt = perfect.clone()
    hurt[:59] = float("nan")
    answers = iter(torch.split(hurt, 500))
    assert accuracy(lambda x: next(answers), data) == pytest.approx(538 / 597)


def test_scores_are_taken_in_eval_mode_and_modes_come_back():
    data = digits(0)
    model = nn.Sequential(nn.Dropout(0.9), linear())
    model[0].eval()
    before = [module.training for module in model.modules()]
    assert accuracy(model, data) == accuracy(model, data) == accuracy(model[1], data)
    assert [module.training for module in model.modules()] == before


def test_predicting_the_mean_has_an_error_of_one():
    data = table("diabetes", 0)
    error = squared_error(lambda x: torch.zeros(len(x), 1), data, on_train=True)
    assert error == pytest.approx(1, abs=1e-4)
    assert score(lambda x: data.test_y, data) == 0


def test_the_best_learning_rate_is_chosen_without_the_test_part():
    data = digits(0)
    assert best_lr(linear, data, [1e-6, 0.01, 1e-5], seed=0, epochs=2) == 0.01
    blind = copy.copy(data)
    object.__setattr__(blind, "test_x", torch.full_like(data.test_x, float("nan")))
    assert best_lr(linear, blind, [1e-6, 0.01], seed=0, epochs=2) == 0.01


# Fairness


def test_parameters_are_counted_as_trained():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[1].requires_grad_(False)
    assert parameters(model) == 16
    assert parameters(model, trainable=False) == 26


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("target", [500, 1234, 20_000])
def test_the_matched_width_is_the_nearest_of_all(target, step):
    def build(width):
        return nn.Sequential(nn.Linear(8, width), nn.Linear(width, width), nn.Linear(width, 3))

    found = match_width(build, target, high=300, step=step, tolerance=0.5)
    every = range(step, 300, step)
    assert found == min(every, key=lambda width: abs(parameters(build(width)) - target))


def test_a_width_that_cannot_match_is_an_error():
    with pytest.raises(ClaimError, match="no width gives 5 parameters"):
        match_width(lambda width: nn.Linear(64, width), 5)
    with pytest.raises(ClaimError, match="40 gives 2600"):
        match_width(lambda width: nn.Linear(64, width), 10_000, high=40)


def test_a_match_draws_nothing():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    match_width(lambda width: nn.Linear(64, width), nn.Linear(64, 10, device="meta"))
    assert torch.equal(torch.rand(1), expected)


def test_equal_time_gives_the_slower_network_fewer_epochs():
    data = digits(0)
    slow = nn.Sequential(linear(64, 512), *(linear(512, 512) for _ in range(6)), linear(512, 10))
    models = {"fast": linear(), "slow": slow}
    weights = slow[0].weight.clone()
    epochs = equal_time_epochs(models, data, reference="fast", epochs=20)
    assert epochs["fast"] == 20
    assert epochs["slow"] < 15
    assert torch.equal(slow[0].weight, weights)


def test_a_residual_network_of_the_sizes_of_a_config():
    config = {"blocks.depth": 2, "stem.width": 8, "blocks.0.up.width": 5, "blocks.1.up.width": 7,
              "blocks.2.up.width": 9}  # fmt: skip
    model = ResidualMLP.sized(config, in_features=64, classes=10)
    count = 65 * 8 + sum(2 * 8 + 9 * h + (h + 1) * 8 for h in (5, 7)) + 9 * 10
    assert parameters(model) == count
