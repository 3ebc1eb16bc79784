"""Spaces to search, and a cheap problem with a trade-off."""

import zlib

from supple.space import Condition, Depth, Divides, Space, Sum, Swap, Width

DIRECTIONS = {"accuracy": "max", "latency": "min"}


def stages(count=3, blocks=3):
    """A small network: stages whose blocks are there only if the stage is deep enough."""
    choices = {}
    for stage in range(count):
        choices[f"s{stage}.depth"] = Depth(options=tuple(range(1, blocks + 1)), size=blocks)
        for block in range(blocks):
            deep = tuple(range(block + 1, blocks + 1))
            when = (Condition(choice=f"s{stage}.depth", options=deep),) if block else ()
            choices[f"s{stage}.b{block}.width"] = Width(options=(8, 16, 24, 32), when=when)
    choices["activation"] = Swap(options=("relu", "silu", "none"))
    return Space(choices)


def constrained():
    """Widths that divide one another and add up to little."""
    return Space(
        {
            "a": Width(options=(8, 16, 24, 32)),
            "b": Width(options=(16, 32, 48)),
            "c": Width(options=(8, 16, 24, 32)),
            "depth": Depth(options=(1, 2)),
            "d": Width(options=(8, 16), when=(Condition(choice="depth", options=(2,)),)),
        },
        [Divides(divisor="a", number="b"), Sum(names=("a", "b", "c"), at_most=72)],
    )


def tiny():
    """Few configs, so that searches come to their end: 3 * 2 + 1 * 2 = 8 of 12."""
    return Space(
        {
            "depth": Depth(options=(1, 2)),
            "width": Width(options=(8, 16, 24), when=(Condition(choice="depth", options=(2,)),)),
            "kind": Swap(options=("linear", "kan")),
        }
    )


def point():
    """One config."""
    return Space({"width": Width(options=(8,)), "kind": Swap(options=("linear",))})


def score(config):
    """Accuracy-like and latency-like numbers of any config, with interactions."""
    numbers = [v for v in config.values() if not isinstance(v, str)]
    names = [v for v in config.values() if isinstance(v, str)]
    size = sum(v * (1 + n % 3) for n, v in enumerate(numbers)) + 5 * numbers[0] * numbers[-1] / 8
    bonus = 0.02 * sum(name in ("silu", "kan") for name in names)
    wobble = zlib.crc32(repr(tuple(config.items())).encode()) / 2**32
    return {
        "accuracy": 1 - 3 / (size + 3) ** 0.5 + bonus + 0.002 * wobble,
        "latency": 0.1 + size / 100 + 0.4 * bonus,
        "macs": size * numbers[-1],
    }
