"""A small space and a cheap evaluation."""

import pytest

from supple.space import Condition, Depth, Space, Swap, Width

DIRECTIONS = {"accuracy": "max", "latency": "min"}


def small_space():
    return Space(
        {
            "depth": Depth(options=(1, 2, 3), size=3),
            "a": Width(options=(8, 16, 24, 32)),
            "b": Width(options=(8, 16, 32), when=(Condition(choice="depth", options=(2, 3)),)),
            "c": Swap(options=("linear", "kan")),
        }
    )


def evaluate(config):
    """Deterministic, with a trade-off; the third value is no objective."""
    size = config["depth"] * config["a"] + config["b"] + (config["c"] == "kan") * 3
    return {"accuracy": 1 - 1 / size, "latency": size / 100, "macs": 10 * size}


@pytest.fixture
def space():
    return small_space()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "digits" / "study.db"
