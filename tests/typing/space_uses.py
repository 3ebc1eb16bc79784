"""Example uses of `supple.space` and `supple.seeds`; read by the type checker, never run."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import supple
from supple.seeds import generator
from supple.space import Choice, Condition, Config, Equal, Option, Space, Swap, Width

space = Space(
    {
        "a": Width(options=(8, 16), size=16),
        "b": Width(options=(8, 16), when=(Condition(choice="a", options=(16,)),)),
        "act": Swap(options=("relu", "gelu")),
    },
    constraints=[Equal(names=("a", "b"))],
)
rng = generator(0, "search", 3)
assert_type(rng, np.random.Generator)
assert_type(space["a"], Choice)
assert_type(space.sample(seed=0), Config)
assert_type(space.sample(rng=rng)["a"], Option)
assert_type(space.sample_many(3, rng), list[Config])
assert_type(space.mutate({"a": 8, "b": 16, "act": "relu"}, rng), Config)
assert_type(list(space.neighbours(space.largest)), list[Config])
assert_type(space.encode([space.largest], "ordinal"), NDArray[np.float64])
assert_type(space.from_indices([0, 1, 0]), Config)
assert_type(space.restrict({"act": "relu", "*": (8, 16)}), Space)
assert_type(Space.from_json(space.to_json()), Space)
assert_type(space.largest.replace({"a": 8}, act="gelu"), Config)
assert_type(supple.Config.from_json("{}"), Config)
assert_type(supple.__version__, str)
