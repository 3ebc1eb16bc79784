"""The page of the comparison with Torch-Pruning, from what its steps kept."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _pruning_cuts import ARMS, SHAPES

from supple.claims import t_interval

__all__ = ["verdict", "write_page"]

_NAMES = {
    "resnet56": ("ResNet-56 on CIFAR-10", "2,000 test images"),
    "minilm": ("MiniLM on SST-2", "1,821 test sentences"),
}
_COMMAND = "SUPPLE_DATA=… python benchmarks/against_torch_pruning.py"


def write_page(results: Path, docs: Path) -> None:
    """Writes ``against-torch-pruning.md`` and copies the data beside it.

    Args:
        results: Where the comparison kept its steps.
        docs: The folder of result pages.
    """
    kept = {n: json.loads((results / f"{n}.json").read_text()) for n in _NAMES}
    lines = [
        "# Half of the multiply-adds: supple and Torch-Pruning",
        "",
        "Two trained networks, cut to at most 50 % of their multiply-adds and fine-tuned alike: by",
        "Torch-Pruning (magnitude, Taylor; its group importances, heads removed whole) and by",
        "supple. Every arm chose its shape (residual stream cut too or not; all groups ranked",
        "together or all cut alike) and its learning rate by the same procedure on validation",
        "data, then trained for three seeds. The procedure was fixed before anything was measured;",
        "only the number of steps and of learning rates was lowered once, for time, before that.",
        "",
    ]
    for name, data in kept.items():
        lines += _section(name, data)
    lines += ["## How", "", f"```sh\n{_COMMAND}\n{_COMMAND} --page\n```", ""]
    (docs / "against-torch-pruning.md").write_text("\n".join(lines))
    for name in kept:
        shutil.copyfile(results / f"{name}.json", docs / f"against-torch-pruning.{name}.json")


def _section(name: str, data: Mapping[str, Any]) -> list[str]:
    title, tested = _NAMES[name]
    steps, settings = data["steps"], data["settings"]
    seeds = range(settings["seeds"])
    found = {arm: [steps[f"seed {seed}: {arm}"] for seed in seeds] for arm in ARMS}
    recipe = settings["recipe"]
    lines = [
        f"## {title}",
        "",
        f"**{verdict(found)}**",
        "",
        f"The whole network: {steps['whole']['test']:.2%} on {tested}. Fine-tuning: "
        f"{recipe['steps']} steps of {recipe['optimizer']}.",
        "",
        "| arm | shape | learning rate | multiply-adds | parameters | test accuracy by seed | mean "
        "| cut, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, rows in found.items():
        tests = [row["test"] for row in rows]
        lines.append(
            f"| {arm} | {_shape(steps, arm)} | {_lr(steps, settings, arm):g} "
            f"| {_mean(rows, 'macs'):.3f} | {_mean(rows, 'params'):,.0f} "
            f"| {', '.join(f'{one:.2%}' for one in tests)} | **{statistics.mean(tests):.2%}** "
            f"| {_mean(rows, 'cut_s'):.0f} |"
        )
    machine = data["machine"]
    told = ", ".join(f"{key} {machine[key]}" for key in ("cpu", "cores", "torch") if key in machine)
    return [*lines, "", *_failures(steps), f"Measured on: {told}.", ""]


def verdict(found: Mapping[str, list[Mapping[str, float]]]) -> str:
    """Which library is ahead: the best arm of each by mean, paired by seed."""
    best = {
        library: max(
            (arm for arm in found if arm.startswith(library)),
            key=lambda arm: statistics.mean(row["test"] for row in found[arm]),
        )
        for library in ("supple", "torch_pruning")
    }
    rows = zip(found[best["supple"]], found[best["torch_pruning"]], strict=True)
    gains = [100 * (mine["test"] - theirs["test"]) for mine, theirs in rows]
    gain, low, high = t_interval(gains)
    where = "ahead" if low > 0 else "behind" if high < 0 else "level within what the seeds can tell"
    return (
        f"supple is {where}: {gain:+.1f} points ({low:+.1f} to {high:+.1f}), {best['supple']} "
        f"against {best['torch_pruning']}, the best arm of each."
    )


def _shape(steps: Mapping[str, Any], arm: str) -> str:
    return str(max(SHAPES, key=lambda s: steps[f"shape: {arm}: {s}"].get("valid", -1.0)))


def _lr(steps: Mapping[str, Any], settings: Mapping[str, Any], arm: str) -> float:
    best: float = max(settings["lrs"], key=lambda lr: steps[f"lr: {arm}: {lr:g}"]["valid"])
    return best


def _mean(rows: list[Mapping[str, float]], key: str) -> float:
    return statistics.mean(row[key] for row in rows)


def _failures(steps: Mapping[str, Any]) -> list[str]:
    """Shapes that an arm could not be cut to."""
    lines = [
        f"- {name.removeprefix('shape: ')}: `{step['error']}`"
        for name, step in steps.items()
        if "error" in step
    ]
    return ["What could not be cut:", "", *lines, ""] if lines else []
