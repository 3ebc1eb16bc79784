"""What ``supple doctor`` looks at: each check says what it found and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from supple.cli import _pipeline
from supple.errors import SuppleError

__all__ = ["Check", "run_checks"]

_LEAST_DISK_GB = 2.0
_COARSEST_TIMER_NS = 1000
_WIDEST_NOISE = 0.05
_BUSY_LOAD = 0.5
# Extras for those who work on supple itself; a user never misses them.
_OWN_EXTRAS = ("test", "dev", "docs")
# A source tree that is not installed has no metadata to read the extras from.
_EXTRAS_FROM_SOURCE: dict[str, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime")}

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What it is.
        state: "ok", "note" (works, but read the hint) or "problem" (the main job cannot run).
        found: What was found.
        hint: What to do about it.
        values: The same as plain numbers.
    """

    name: str
    state: State
    found: str
    hint: str = ""
    values: dict[str, float] | None = None


def run_checks() -> Iterator[Check]:
    """All checks, one after the other; the last ones measure for a few seconds."""
    yield _python()
    yield _torch()
    yield from _extras()
    yield _data()
    yield _disk(Path.cwd())
    yield _browser()
    yield _load()
    yield _timer()
    if importlib.util.find_spec("torch"):
        yield _noise()
        yield _multiples()


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.platform()}"
    return Check(name="python", state="ok", found=found)


def _torch() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(name="torch", state="problem", found="not installed", hint="pip install torch")
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    return Check(
        name="torch",
        state="ok",
        found=f"{torch.__version__}, {threads} threads on {cores} cores",
        values={"threads": threads, "cores": cores},
    )


def _extras() -> Iterator[Check]:
    for extra, packages in _declared_extras().items():
        versions = {package: _version(package) for package in packages}
        missing = [package for package, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if missing:
            found = "; ".join(filter(None, (found, "missing: " + ", ".join(missing))))
        yield Check(
            name=f"extra {extra}",
            state="note" if missing else "ok",
            found=found,
            hint=f"pip install 'supple[{extra}]'" if missing else "",
        )


def _declared_extras() -> dict[str, tuple[str, ...]]:
    """Extra to packages, as the installed package declares them."""
    try:
        requirements = metadata.requires("supple") or []
    except metadata.PackageNotFoundError:
        return _EXTRAS_FROM_SOURCE
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+).*;.*extra == ['\"]([\w-]+)['\"]", requirement)
        if match and match[2] not in _OWN_EXTRAS:
            extras.setdefault(match[2], []).append(match[1])
    return {extra: tuple(packages) for extra, packages in extras.items()}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _data() -> Check:
    folder = os.environ.get("SUPPLE_DATA")
    if not folder:
        return Check(
            name="SUPPLE_DATA",
            state="ok",
            found="not set: data sets are downloaded from their sources",
        )
    if not Path(folder).is_dir():
        return Check(
            name="SUPPLE_DATA",
            state="note",
            found=f"'{folder}' is not a folder",
            hint="set SUPPLE_DATA to the folder that holds the data sets, or unset it",
        )
    count = sum(1 for path in Path(folder).iterdir() if path.is_dir())
    return Check(name="SUPPLE_DATA", state="ok", found=f"{folder}, {count} data sets")


def _disk(folder: Path) -> Check:
    free_gb = shutil.disk_usage(folder).free / 1e9
    is_low = free_gb < _LEAST_DISK_GB
    return Check(
        name="disk",
        state="note" if is_low else "ok",
        found=f"{free_gb:.1f} GB free in {folder}",
        hint="free some space before a long search" if is_low else "",
        values={"free_gb": round(free_gb, 2)},
    )


def _browser() -> Check:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    found = path or "not found: only supple's own tests of the report use it"
    return Check(name="chromium", state="ok", found=found)


def _load() -> Check:
    if not hasattr(os, "getloadavg"):
        return Check(name="load", state="ok", found="this system does not say")
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    is_busy = load / cores > _BUSY_LOAD
    return Check(
        name="load",
        state="note" if is_busy else "ok",
        found=f"{load:.2f} in the last minute on {cores} cores",
        hint="close other programs before measuring latency" if is_busy else "",
        values={"load": round(load, 2), "cores": cores},
    )


def _timer() -> Check:
    steps = []
    for _ in range(2000):
        start = time.perf_counter_ns()
        while (end := time.perf_counter_ns()) == start:
            pass
        steps.append(end - start)
    step_ns = min(steps)
    is_coarse = step_ns > _COARSEST_TIMER_NS
    return Check(
        name="timer",
        state="note" if is_coarse else "ok",
        found=f"steps of {step_ns} ns",
        hint="measure with a larger --batch, so that a call takes longer" if is_coarse else "",
        values={"step_ns": step_ns},
    )


def _noise() -> Check:
    try:
        ratio, low, high = _pipeline.self_comparison()
    except SuppleError as error:
        return Check(name="noise", state="note", found=error.message, hint=error.hint)
    half = (high - low) / 2
    is_noisy = half > _WIDEST_NOISE
    return Check(
        name="noise",
        state="note" if is_noisy else "ok",
        found=f"a network against itself: {ratio:.3f} [{low:.3f}–{high:.3f}] of its own time",
        hint="close other programs; latency ratios closer to each other than this cannot be told "
        "apart"
        if is_noisy
        else "",
        values={"ratio": ratio, "low": low, "high": high},
    )


def _multiples() -> Check:
    """Widths that are multiples of a few numbers, against their neighbours."""
    from supple.measure._multiples import recommended_multiple

    ratios = _pipeline.multiples()
    best = recommended_multiple(ratios)
    lines = ["time beside a multiple over that on it, for the same work:"]
    for layer in dict.fromkeys(one.layer for one in ratios):
        cells = (
            f"{one.multiple}: {one.ratio:.2f} [{one.low:.2f}–{one.high:.2f}]{'*' * one.pays}"
            for one in ratios
            if one.layer == layer
        )
        lines.append(f"{layer:<7}" + "  ".join(cells))
    if best is None:
        lines.append("no difference outside the noise")
    return Check(
        name="multiples",
        state="ok",
        found="\n                ".join(lines),
        hint=f"widths that are multiples of {best}: Elasticity(multiple_of={best})" if best else "",
        values={
            f"{one.layer}_{one.multiple}{end}": getattr(one, name)
            for one in ratios
            for end, name in (("", "ratio"), ("_low", "low"), ("_high", "high"))
        }
        | ({"recommended": best} if best else {}),
    )
