"""OP-GFlowNet (paper 94, 2310.00386): learning to draw from the front by order alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from supple.claims import Arms, Curve, Lines, Rule, claim
from supple.search import NSGA2, OPGFlowNet, RandomSearch, Strategy
from supple.space import Config, Space, Width
from supple.study import Direction, Study, hypervolume_curve

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The grids and what a search of one may cost.

    Attributes:
        side: Cells along each of the two sides of a grid.
        measurements: At which every search ends.
        steps: Of training before each round of OP-GFlowNet.
    """

    side: int = 32
    measurements: int = 160
    steps: int = 150


DIRECTIONS: dict[str, Direction] = {"first": "max", "second": "max"}
# The pairs of functions on a grid, all scaled to 0 and 1.
PAIRS = (("branin", "currin"), ("shubert", "beale"))


@claim(
    paper=94,
    says="A sampler that is trained on the order of what was measured finds the front of two "
    "objectives with fewer measurements than drawing at random or evolution.",
    reported="State of the art on synthetic objectives, molecules and architectures (abstract); on "
    "grids nearly all samples lie on the front.",
    here="Two grids of 32 x 32 cells, with Branin and Currin, and with Shubert and Beale, as two "
    "objectives (both grids and functions are the paper's). 160 of 1,024 cells may be measured, in "
    "rounds of 10. Figures are means over the two grids. The paper trains while it draws from a "
    "known function; here each measurement counts, as in a search of architectures.",
    rules=(
        Rule(metric="share of the hypervolume", method="op-gflownet", baseline="random",
             margin=0.005),
        Rule(metric="share of the front found", method="op-gflownet", baseline="random",
             margin=0.1),
        Rule(metric="share of the front found", method="op-gflownet", baseline="nsga2",
             expects="not worse", margin=0.05),
    ),
    quick=Settings(side=16, measurements=60, steps=60),
    full=Settings(),
    figure=Lines(metric="front", x="measurements", title="share of the true front found"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Search both grids with three strategies."""
    arms: dict[str, dict[str, float | Curve]] = {}
    for name in ("op-gflownet", "random", "nsga2"):
        runs = [_run(name, pair, seed, settings) for pair in PAIRS]
        fronts = np.mean([front for _, front in runs], axis=0)
        arms[name] = {
            "share of the hypervolume": float(np.mean([volume for volume, _ in runs])),
            "share of the front found": float(fronts[-1]),
            "front": [(float(n + 1), float(fronts[n])) for n in range(9, len(fronts), 10)],
        }
    return arms


def _run(
    name: str, pair: tuple[str, str], seed: int, settings: Settings
) -> tuple[float, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """The share of the hypervolume at the end, and of the front after each measurement."""
    side = settings.side
    space = Space({axis: Width(options=tuple(range(1, side + 1)), size=side) for axis in "xy"})
    strategies: dict[str, Strategy] = {
        "op-gflownet": OPGFlowNet(space=space, seed=seed, population=10, steps=settings.steps),
        "random": RandomSearch(space=space, seed=seed),
        "nsga2": NSGA2(space=space, seed=seed, population=10),
    }
    table = {config: _values(config, pair, side) for config in space.configs()}
    study = Study.open(space=space, directions=DIRECTIONS)
    study.run(lambda config: table[config], strategies[name], evaluations=settings.measurements)
    if study.interrupted:
        raise KeyboardInterrupt
    corner = dict.fromkeys(DIRECTIONS, 0.0)
    best = hypervolume_curve([_Point(v) for v in table.values()], DIRECTIONS, corner)[-1][1]
    found = hypervolume_curve(study.trials, DIRECTIONS, corner)[-1][1]
    values = np.array([[v["first"], v["second"]] for v in table.values()])
    is_beaten = np.array([bool(np.any(np.all(values >= v, 1) & np.any(values > v, 1)))
                          for v in values])  # fmt: skip
    front = {config for config, beaten in zip(table, is_beaten, strict=True) if not beaten}
    hits = np.cumsum([trial.config in front for trial in study.trials])
    return found / best, hits / len(front)


@dataclass(frozen=True)
class _Point:
    values: Mapping[str, float]


def _values(config: Config, pair: tuple[str, str], side: int) -> dict[str, float]:
    x, y = ((int(config[axis]) - 1) / (side - 1) for axis in "xy")
    return {
        objective: _scaled(function, x, y)
        for objective, function in zip(DIRECTIONS, pair, strict=True)
    }


def _scaled(name: str, x: float, y: float) -> float:
    """A function on the unit square, near 1 where it is best and near 0 where it is worst."""
    if name == "branin":
        u, v = 15 * x - 5, 15 * y
        value = (v - 5.1 / (4 * np.pi**2) * u**2 + 5 / np.pi * u - 6) ** 2
        value += 10 * (1 - 1 / (8 * np.pi)) * np.cos(u) + 10
        return float(1 - value / 308.13)
    if name == "currin":
        top = 2300 * x**3 + 1900 * x**2 + 2092 * x + 60
        bottom = 100 * x**3 + 500 * x**2 + 4 * x + 20
        return float((1 - np.exp(-1 / (2 * max(y, 1e-9)))) * top / bottom / 13.77)
    if name == "shubert":
        u, v = 4 * x - 2, 4 * y - 2
        steps = np.arange(1, 6)
        first = np.sum(steps * np.cos((steps + 1) * u + steps))
        return float((first * np.sum(steps * np.cos((steps + 1) * v + steps)) + 187) / 398)
    u, v = 9 * x - 4.5, 9 * y - 4.5
    value = (1.5 - u + u * v) ** 2 + (2.25 - u + u * v**2) ** 2 + (2.625 - u + u * v**3) ** 2
    return float(1 - value / 181_854)
