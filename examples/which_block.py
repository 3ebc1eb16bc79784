"""Which block serves best here? A search over block families, at equal numbers of parameters.

    python examples/which_block.py [--seeds 3] [--evaluations 16] [--docs docs]

A residual network of two blocks is trained on a table (breast cancer) and on images (digits of 8x8
pixels). Then each of its blocks may be one of eight families, all sized to as many parameters and
started near the trained block; every candidate that the search proposes is trained as long as
every other one and judged by its accuracy on held-out training examples and by its
multiply-accumulates; the most accurate one is tested. (Networks of a tenth of a millisecond are
too small to time; for larger ones take `supple.measure.Latency` as the second objective.) With
``--docs`` the tables go into ``blocks.md`` of that folder and the picture beside it.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean as mean
from typing import Any

import torch
from torch import Tensor, nn

from supple import Elastic, blocks
from supple.claims import Data, accuracy, digits, fit, match_width, parameters, seeded, table
from supple.elastic import Elasticity
from supple.elastic.swap import Swapped, swapped
from supple.measure import MACs
from supple.search import strategy
from supple.space import Config, swap
from supple.study import Study

PLAIN = "original"
Family = Callable[[int], nn.Module]  # a block of some hidden size


# -- the families, each a block of any hidden size ------------------------------------------------
def table_families(width: int) -> dict[str, Family]:
    """Blocks from ``width`` features to as many."""

    def two_maps(activation: Callable[[int], nn.Module], size: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, size), activation(size), nn.Linear(size, width))

    return {
        "kan": lambda h: blocks.KAN([width, h, width], basis="rbf", count=5),
        "hypercomplex": lambda h: nn.Sequential(
            blocks.PHMLinear(width, 2 * h, n=2), nn.ReLU(), blocks.PHMLinear(2 * h, width, n=2)
        ),
        "maxmin": lambda h: two_maps(lambda _: blocks.MaxMin(), 2 * h),
        "dice": partial(two_maps, lambda size: blocks.Dice(num_features=size)),
        "polynorm": partial(two_maps, lambda _: blocks.PolyNorm()),
        "experts": lambda h: blocks.SwitchFFN(
            in_features=width, hidden_features=h, num_experts=4, capacity_factor=None
        ),
        "kernel": lambda h: blocks.SNNKLinear(
            in_features=width, out_features=width, num_features=h
        ),
    }


def image_families(channels: int) -> dict[str, Family]:
    """Blocks from ``channels`` feature maps to as many of the same size."""

    def conv(into: int, out: int) -> nn.Module:
        return nn.Conv2d(into, out, 3, padding=1)

    def spaced(into: int, out: int) -> nn.Module:
        return blocks.DCLSConv2d(
            in_channels=into, out_channels=out, kernel_count=4, dilated_kernel_size=5, padding=2
        )

    def between(layer: Callable[[int, int], nn.Module], h: int, *middle: nn.Module) -> nn.Module:
        return nn.Sequential(layer(channels, h), *middle, layer(h, channels))

    hypercomplex = partial(blocks.PHConv2d, kernel_size=3, padding=1, n=2)
    kan = partial(blocks.KANConv2d, kernel_size=3, padding=1, basis="rbf", count=4)
    return {
        "kan": lambda h: between(kan, h),
        "hypercomplex": lambda h: between(hypercomplex, 2 * h, nn.BatchNorm2d(2 * h), nn.ReLU()),
        "maxmin": lambda h: between(conv, 2 * h, nn.BatchNorm2d(2 * h), blocks.MaxMin(dim=1)),
        "evonorm": lambda h: between(
            conv, 2 * h, blocks.EvoNorm2d(num_features=2 * h, kind="S0", groups=2)
        ),
        "ibn": lambda h: between(
            conv, 2 * h, blocks.InstanceBatchNorm2d(num_features=2 * h), nn.ReLU()
        ),
        "spacings": lambda h: between(spaced, h, nn.BatchNorm2d(h), nn.ReLU()),
        "side by side": lambda h: blocks.ResidualStack(
            [between(conv, h, nn.ReLU()) for _ in range(2)], mode="parallel"
        ),
    }


# -- the networks that they stand in --------------------------------------------------------------
class Residual(nn.Module):
    """``x + block(norm(x))``."""

    def __init__(self, norm: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.norm, self.block = norm, block

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(self.norm(x))


def table_network(data: Data, width: int = 24) -> nn.Module:
    """Two residual blocks of two linear maps."""

    def block() -> nn.Module:
        return nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    parts = [Residual(nn.LayerNorm(width), block()) for _ in range(2)]
    return nn.Sequential(
        nn.Linear(data.features, width), *parts, nn.LayerNorm(width), nn.Linear(width, data.outputs)
    )


def image_network(data: Data, width: int = 12) -> nn.Module:
    """Two residual blocks of two convolutions."""

    def block() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    parts = [Residual(nn.BatchNorm2d(width), block()) for _ in range(2)]
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), *parts, nn.BatchNorm2d(width), nn.ReLU(),
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * width, data.outputs),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Job:
    """One data set with its network and families."""

    name: str
    title: str
    data: Callable[[int], Data]
    network: Callable[[Data], nn.Module]
    families: Mapping[str, Family]
    epochs: float
    lr: float


JOBS = (
    Job(name="table", title="Breast cancer, a table", data=partial(table, "breast_cancer"),
        network=table_network, families=table_families(24), epochs=12, lr=3e-3),
    Job(name="images", title="Digits, images", data=partial(digits, images=True),
        network=image_network, families=image_families(12), epochs=4, lr=5e-3),
)  # fmt: skip


# -- the search -----------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Found:
    """What one seed's search found.

    Attributes:
        study: The candidates and their front; the first one is the plain network, trained on like
            all others.
        starts: What `swap` tells of each block: parameters, and how near its start is.
    """

    study: Study
    starts: list[Swapped] = field(repr=False)


def search(
    job: Job, seed: int, evaluations: int, *, by: str = "nsga2", samples: int = 128
) -> Found:
    """Open the choice of block in a trained network and search it."""
    data = job.data(seed)
    part = data.held_out()
    with seeded(seed, "weights"):
        network = job.network(data)
    fit(network, part, epochs=job.epochs, lr=job.lr, seed=seed)
    example = part.train_x[:samples]  # what starts are fitted on
    with seeded(seed, "blocks"):
        opened = swap(network, {"*.block": _sized(job.families)}, inputs=(example,))
    # Only the blocks are open: widths and depth would change the number of parameters.
    elastic = Elastic(opened, (example,), Elasticity(widths=False, depths=False, kernels=False))
    macs = MACs(example=example)

    def evaluate(config: Config) -> dict[str, float]:
        candidate = elastic.extract(config)
        fit(candidate, part, epochs=job.epochs, lr=job.lr, seed=seed)
        return {
            "accuracy": accuracy(candidate, part),
            "macs": macs.measure(candidate).value,
            "test": accuracy(candidate, data),  # kept beside the objectives, for the report only
        }

    directions = {"accuracy": "max", "macs": "min"}
    study = Study.open(space=elastic.space, directions=directions)
    first = {"start": (elastic.space.largest,)}  # the plain network
    settings: dict[str, Any] = {"population": 8, **first}
    if by.endswith("Sampler"):  # Optuna's own, which know of no first configs
        settings = {}
        plain = strategy("random", space=elastic.space, directions=directions, **first)
        study.run(evaluate, plain, evaluations=1)
    chosen = strategy(by, space=elastic.space, directions=directions, seed=seed, **settings)
    study.run(evaluate, chosen, evaluations=evaluations)
    return Found(study=study, starts=swapped(opened))


def _sized(families: Mapping[str, Family]) -> dict[str, Callable[[nn.Module], nn.Module]]:
    """Each family as a block of as many parameters as the module that it stands in for."""

    def made(build: Family, module: nn.Module) -> nn.Module:
        return build(match_width(build, parameters(module), tolerance=0.1))

    return {name: partial(made, build) for name, build in families.items()}


# -- what is shown --------------------------------------------------------------------------------
def families_of(config: Config) -> tuple[str, ...]:
    """The blocks of a candidate, from the first to the last."""
    return tuple(str(option) for option in config.values())


def named(config: Config) -> str:
    """The same in words."""
    return " + ".join(name.replace(PLAIN, "plain") for name in families_of(config))


def starts_table(found: Found) -> list[str]:
    """What `swap` tells of the first place: sizes, and how near each block starts."""
    first = found.starts[0].place
    lines = ["| block | parameters | relative error of the start |", "|---|---|---|"]
    here = [fact for fact in found.starts if fact.place == first]
    lines.append(f"| plain | {here[0].original_parameters:,} | |")
    return lines + [f"| {f.name} | {f.parameters:,} | {f.error:.2f} |" for f in here]


def picks_table(all_found: Sequence[Found]) -> list[str]:
    """For each seed the pick, by accuracy on held-out examples, and the plain network."""
    lines = [
        "| seed | on the front | picked | MACs | accuracy | plain network | its MACs |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, found in enumerate(all_found):
        front, plain = found.study.front, found.study.complete[0]
        pick = front[0]
        lines.append(
            f"| {seed} | {len(front)} of {len(found.study.complete)} | {named(pick.config)} "
            f"| {pick.values['macs']:,.0f} | {pick.values['test']:.3f} "
            f"| {plain.values['test']:.3f} | {plain.values['macs']:,.0f} |"
        )
    return lines


def families_table(all_found: Sequence[Found]) -> list[str]:
    """The mean over the candidates that hold a family in either place, over all seeds."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for found in all_found:
        for trial in found.study.complete:
            for name in set(families_of(trial.config)):
                rows.setdefault(name, []).append((trial.values["test"], trial.values["macs"]))
    lines = ["| block | candidates | accuracy | MACs |", "|---|---|---|---|"]
    for name, values in sorted(rows.items(), key=lambda row: -mean(v[0] for v in row[1])):
        lines.append(
            f"| {name.replace(PLAIN, 'plain')} | {len(values)} | {mean(v[0] for v in values):.3f} "
            f"| {mean(v[1] for v in values):,.0f} |"
        )
    return lines


LEFT, TOP, WIDE, HIGH, GAP = 64, 52, 220, 200, 26  # of the picture's panels
Place = Callable[[Mapping[str, float]], tuple[float, float]]


def picture(title: str, all_found: Sequence[Found]) -> str:
    """A panel for every seed: all candidates, the front as a staircase, its names below; SVG."""
    points = [t.values for found in all_found for t in found.study.complete]
    (low_x, high_x), (low_y, high_y) = (
        (min(p[name] for p in points), max(p[name] for p in points))
        for name in ("macs", "accuracy")
    )

    def place(values: Mapping[str, float]) -> tuple[float, float]:
        x = (values["macs"] - low_x) / max(high_x - low_x, 1e-9)
        y = (values["accuracy"] - low_y) / max(high_y - low_y, 1e-9)
        return round(8 + x * (WIDE - 16), 1), round(HIGH - 8 - y * (HIGH - 16), 1)

    ticks = [
        {"macs": low_x + share * (high_x - low_x), "accuracy": low_y + share * (high_y - low_y)}
        for share in (0.0, 0.5, 1.0)
    ]
    longest = max(len(found.study.front) for found in all_found)
    width, height = LEFT + len(all_found) * (WIDE + GAP), TOP + HIGH + 66 + 16 * longest
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{html.escape(title)}: accuracy and MACs of all candidates, with the fronts"
        "</title><style>text{font:12px system-ui,sans-serif;fill:#333}.grid{stroke:#8883}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>",
        f'<text x="{LEFT}" y="18" font-weight="bold">{html.escape(title)}</text>',
        f'<text transform="translate(14 {TOP + HIGH / 2}) rotate(-90)" text-anchor="middle">'
        "accuracy on held-out examples</text>",
    ]
    for tick in ticks:
        y = TOP + place(tick)[1] + 4
        parts.append(
            f'<text x="{LEFT - 6}" y="{y}" text-anchor="end">{tick["accuracy"]:.3f}</text>'
        )
    for seed, found in enumerate(all_found):
        parts.append(f'<g transform="translate({LEFT + seed * (WIDE + GAP)} {TOP})">')
        parts.append(f'<text x="0" y="-8">seed {seed}</text>')
        parts += [*_grid(ticks, place), *_dots(found, COLOURS[seed % len(COLOURS)], place), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _grid(ticks: Sequence[Mapping[str, float]], place: Place) -> list[str]:
    parts = []
    for tick, anchor in zip(ticks, ("start", "middle", "end"), strict=True):
        x, y = place(tick)
        macs = f"{tick['macs']:,.0f}"
        parts.append(f'<path class="grid" d="M{x} 0V{HIGH}M0 {y}H{WIDE}"/>')
        parts.append(f'<text x="{x}" y="{HIGH + 16}" text-anchor="{anchor}">{macs}</text>')
    title = f'<text x="{WIDE / 2}" y="{HIGH + 34}" text-anchor="middle">multiply-accumulates</text>'
    return [*parts, title]


def _dots(found: Found, colour: str, place: Place) -> list[str]:
    parts = []
    for trial in found.study.complete:
        x, y = place(trial.values)
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}" fill-opacity="0.45">'
            f"<title>{html.escape(named(trial.config))}</title></circle>"
        )
    front = sorted(found.study.front, key=lambda candidate: place(candidate.values))
    steps = [place(candidate.values) for candidate in front]
    path = f"M{steps[0][0]} {steps[0][1]}" + "".join(f"H{x}V{y}" for x, y in steps[1:])
    parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for line, (candidate, (x, y)) in enumerate(zip(front, steps, strict=True)):
        values = candidate.values
        told = f"{named(candidate.config)}: {values['accuracy']:.3f}, {values['macs']:,.0f}"
        parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{colour}"/>')
        parts.append(f'<text x="0" y="{HIGH + 60 + 16 * line}">{html.escape(told)}</text>')
    return parts


COLOURS = ("#0b6e99", "#d1495b", "#6a8d2f", "#8e5ea2", "#c77d1a")
BEGIN, END = "<!-- which_block: begin -->\n", "<!-- which_block: end -->\n"


def section(job: Job, all_found: Sequence[Found], figure: str) -> str:
    """What the page says of one data set."""
    parts = [
        [f"### {job.title}", ""],
        [f"![accuracy and multiply-accumulates of all candidates, with the fronts]({figure})", ""],
        [*picks_table(all_found), ""],
        [*families_table(all_found), ""],
        ["Sizes and starts of the first block, seed 0:", ""],
        [*starts_table(all_found[0]), ""],
    ]
    return "\n".join(line for lines in parts for line in lines) + "\n"


def main() -> None:
    """Reads the command line, searches, and prints or writes what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=16, help="candidates of each search")
    parser.add_argument("--strategy", default="nsga2", help="any strategy of supple.search")
    parser.add_argument(
        "--docs", type=Path, help="folder of blocks.md, which is brought up to date"
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sections = []
    for job in JOBS:
        all_found = [
            search(job, seed, asked.evaluations, by=asked.strategy) for seed in range(asked.seeds)
        ]
        figure = f"which_block_{job.name}.svg"
        sections.append(section(job, all_found, figure))
        print(sections[-1])
        if asked.docs:
            (asked.docs / figure).write_text(picture(job.title, all_found), "utf-8")
    if asked.docs:
        page = asked.docs / "blocks.md"
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(before + BEGIN + "\n".join(sections) + END + after, "utf-8")


if __name__ == "__main__":
    main()
