"""AdditiveLatency against the table that made the latencies, and against scikit-learn."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from supple.errors import SpaceError
from supple.predict import AdditiveLatency
from supple.space import Condition, Depth, Space, Swap, Width

WIDTHS = (8, 16, 24, 32, 48)
SPACE = Space(
    {
        "depth": Depth(options=(1, 2, 3), size=3),
        "w0": Width(options=WIDTHS),
        "w1": Width(options=WIDTHS, when=(Condition(choice="depth", options=(2, 3)),)),
        "w2": Width(options=WIDTHS, when=(Condition(choice="depth", options=(3,)),)),
        "act": Swap(options=("relu", "gelu")),
    }
)
OPERATORS = (("w0",), ("w0", "w1"), ("w1", "w2"), ("depth",), ("act",))


def some(count, seed=0):
    rng = np.random.default_rng(seed)
    return SPACE.to_indices_many(SPACE.sample_many(count, rng, unique=False))


def milliseconds(rows):
    """A sum over operators with the steps of kernels that work in multiples of 16."""
    found = []
    for config in SPACE.from_indices_many(rows):
        blocks = [int(np.ceil(config[f"w{n}"] / 16)) for n in range(config["depth"])]
        total = 0.2 + 0.05 * blocks[0] + (0.1 if config["act"] == "gelu" else 0.0)
        found.append(total + 0.07 * sum(a * b for a, b in pairwise(blocks)))
    return np.array(found)


def test_new_networks_get_the_sum_of_their_operators():
    rows = some(700)  # every operator in every shape is among them
    model = AdditiveLatency(space=SPACE, operators=OPERATORS).fit(rows, milliseconds(rows))
    others = some(200, seed=1)
    error = np.abs(model.predict(others) - milliseconds(others))
    assert error.max() < 0.01 * milliseconds(others).mean()


def test_it_sees_what_a_sum_over_choices_cannot():
    """The cost of a layer is a product of two widths; one-hot ridge has no column for it."""
    rows, others = some(150), some(200, seed=1)
    pairs = AdditiveLatency(space=SPACE).fit(rows, milliseconds(rows))
    single = AdditiveLatency(space=SPACE, operators=[(name,) for name in SPACE])
    single.fit(rows, milliseconds(rows))
    errors = [np.abs(m.predict(others) - milliseconds(others)).mean() for m in (pairs, single)]
    assert errors[0] < 0.3 * errors[1]


def test_the_table_is_ridge_regression_of_scikit_learn():
    rows = some(60)
    model = AdditiveLatency(space=SPACE, operators=OPERATORS, alphas=(0.5,))
    target = milliseconds(rows)
    model.fit(rows, target)
    columns = np.hstack(model._columns(rows.astype(float)))
    theirs = Ridge(alpha=0.5).fit(columns, target)
    assert model.predict(rows) == pytest.approx(theirs.predict(columns), abs=1e-9)
    ours = np.concatenate([list(entries.values()) for entries in model.tables_.values()])
    assert ours == pytest.approx(theirs.coef_, abs=1e-9)
    assert model.tables_["act",]["gelu",] > model.tables_["act",]["relu",]


def test_its_residuals_are_those_of_leaving_one_out():
    rows = some(30)
    target = milliseconds(rows)
    model = AdditiveLatency(space=SPACE, operators=OPERATORS, alphas=(0.3,)).fit(rows, target)
    scaled = (target - target.mean()) / target.std()
    left = []
    for out in range(len(rows)):
        kept = np.arange(len(rows)) != out
        columns = np.hstack(model._columns(rows.astype(float)))
        fitted = Ridge(alpha=0.3).fit(columns[kept], scaled[kept])
        left.append(fitted.predict(columns[out : out + 1])[0] - scaled[out])
    # Exact but for the mean, which is taken from all rows.
    assert model.residual_ == pytest.approx(float(np.sqrt(np.mean(np.square(left)))), rel=1e-6)


def test_ninety_percent_intervals_hold_about_ninety_percent():
    rng = np.random.default_rng(0)
    rows, others = some(150), some(400, seed=1)
    noisy = milliseconds(rows) * (1 + 0.03 * rng.standard_normal(len(rows)))
    mean, std = AdditiveLatency(space=SPACE).fit(rows, noisy).predict(others, return_std=True)
    truth = milliseconds(others) * (1 + 0.03 * rng.standard_normal(len(others)))
    held = np.mean(np.abs(mean - truth) < 1.645 * std)
    assert 0.8 <= held <= 0.97


def test_operators_of_choices_that_are_not_there_are_refused():
    with pytest.raises(SpaceError, match="'w9'.*"):
        AdditiveLatency(space=SPACE, operators=[("w9",)]).fit(some(9), milliseconds(some(9)))
