"""Half of the multiply-adds of two trained networks, cut by supple and by Torch-Pruning.

    SUPPLE_DATA=… .venv/bin/python benchmarks/against_torch_pruning.py [resnet56 | minilm]
    .venv/bin/python benchmarks/against_torch_pruning.py --page      # writes docs/results

Every finished step is kept in ``--out``; the same command goes on where it ended, also after
``--minutes``. The procedure is the same for all arms and was fixed before anything was measured;
only the number of steps and of learning rates was lowered once, for time, before what is shown:

1. *shape*: of four (the residual stream is cut too, or only the inside of blocks; all groups are
   ranked together, or all lose the same share) the one with the best validation accuracy right
   after the cut, its batch norms calibrated;
2. *learning rate*: of two, the one with the best validation accuracy after a quarter of the
   steps;
3. for three seeds (calibration batches, order, augmentation, dropout): cut to at most half of the
   multiply-adds, fine-tune for the same number of steps, test.

The arms: Torch-Pruning by magnitude and by Taylor expansion; supple by the same two; and supple
searched, which goes on from its Taylor cut: of some random changes (whole blocks may go as well)
it keeps those that lower the validation loss. Only that arm costs more than the cut itself, and
only it looks at validation data for more than the choices above.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _pruning_cuts import ARMS, SHAPES, Shape, cut
from _pruning_jobs import JOBS, Job
from _pruning_page import write_page
from torch import nn

from supple.measure import machine

__all__ = ["Comparison"]

_PART = 0.25  # of the steps, where learning rates are compared


class Comparison:
    """The steps of one job, each kept as it is done.

    Args:
        job: What is compared.
        folder: Where results and the trained network are kept.
        seeds: How many seeds.
        is_over: Says when to stop between two steps.
    """

    def __init__(
        self, job: Job, folder: Path, *, seeds: int, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._job = job
        self._folder = folder
        self._seeds = seeds
        self._is_over = is_over
        self._file = folder / f"{job.name}.json"
        self._network: nn.Module | None = None
        self._last: tuple[str, nn.Module] | None = None
        self.steps: dict[str, Any] = {}
        if self._file.is_file():
            kept = json.loads(self._file.read_text())
            if kept["settings"] != self._settings():
                raise SystemExit(f"{self._file} was made with other settings; delete it.")
            self.steps = kept["steps"]

    def run(self) -> bool:
        """Goes on; whether everything is done."""
        try:
            self._step("whole", lambda: self._tested(self._model()))
            for arm in ARMS:
                for shape in SHAPES:
                    self._step(f"shape: {arm}: {shape}", lambda a=arm, s=shape: self._shaped(a, s))
                for lr in self._job.lrs:
                    self._step(f"lr: {arm}: {lr:g}", lambda a=arm, r=lr: self._tried(a, r))
            for seed in range(self._seeds):
                for arm in ARMS:
                    self._step(f"seed {seed}: {arm}", lambda a=arm, s=seed: self._cell(a, s))
        except InterruptedError:
            return False
        return True

    def shape(self, arm: str) -> Shape:
        """The shape with the best validation accuracy."""
        return max(SHAPES, key=lambda s: self.steps[f"shape: {arm}: {s}"].get("valid", -1.0))

    def lr(self, arm: str) -> float:
        """The learning rate with the best validation accuracy."""
        return max(self._job.lrs, key=lambda lr: self.steps[f"lr: {arm}: {lr:g}"]["valid"])

    # -- steps --------------------------------------------------------------------------------
    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        if name in self.steps:
            return
        if self._is_over():
            raise InterruptedError
        self._model()  # its training, if it needs one, is no part of a step
        begin = time.process_time()
        found = work() | {"seconds": round(time.process_time() - begin, 1)}
        self.steps[name] = found
        print(f"{self._job.name}  {name}  {found}", flush=True)
        data = {"settings": self._settings(), "machine": machine(), "steps": self.steps}
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(data, indent=1))
        os.replace(part, self._file)

    def _shaped(self, arm: str, shape: Shape) -> dict[str, Any]:
        """Validation accuracy right after the cut. The search is shaped as its start is."""
        arm = arm.replace("searched", "taylor")
        if (known := self.steps.get(f"shape: {arm}: {shape}")) is not None:
            return dict(known)
        try:
            network = cut(self._job, self._model(), arm, shape, seed=0)
        except Exception as error:  # what a library cannot do is part of the comparison
            return {"error": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}
        return {"valid": self._job.accuracy(network, "valid")} | self._size(network)

    def _tried(self, arm: str, lr: float) -> dict[str, Any]:
        if self._last is None or self._last[0] != arm:
            self._last = arm, cut(self._job, self._model(), arm, self.shape(arm), seed=0)
        network = self._job.tuned(copy.deepcopy(self._last[1]), lr, seed=0, part=_PART)
        return {"valid": self._job.accuracy(network, "valid")}

    def _cell(self, arm: str, seed: int) -> dict[str, Any]:
        begin = time.process_time()
        network = cut(self._job, self._model(), arm, self.shape(arm), seed)
        seconds = time.process_time() - begin
        self._job.tuned(network, self.lr(arm), seed)
        return {"cut_s": round(seconds, 1)} | self._tested(network)

    def _tested(self, network: nn.Module) -> dict[str, Any]:
        return {"test": self._job.accuracy(network, "test")} | self._size(network)

    def _size(self, network: nn.Module) -> dict[str, Any]:
        share = self._job.macs(network) / self._job.macs(self._model())
        return {"macs": round(share, 4), "params": sum(p.numel() for p in network.parameters())}

    def _model(self) -> nn.Module:
        if self._network is None:
            self._network = self._job.network(self._folder)
        return self._network

    def _settings(self) -> dict[str, Any]:
        job = self._job
        return {
            "share": job.share, "seeds": self._seeds, "lrs": list(job.lrs), "options": job.options,
            "recipe": job.recipe.to_json(), "calibration": job.calibration,
            "preparing": job.preparing and job.preparing.to_json(),
            "candidates": job.candidates, "looks": job.looks, "valid_batches": job.valid_batches,
        }  # fmt: skip


def main() -> None:
    """Reads the command line and goes on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("jobs", nargs="*", help=f"of {', '.join(JOBS)}; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after about so long")
    parser.add_argument("--out", type=Path, default=Path("runs/against-torch-pruning"))
    parser.add_argument("--page", action="store_true", help="write the page and its data")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    end = time.monotonic() + 60 * asked.minutes
    done = True
    for name in asked.jobs or JOBS:
        if asked.page:
            continue
        job = JOBS[name]
        one = Comparison(job, asked.out, seeds=asked.seeds, is_over=lambda: time.monotonic() > end)
        done &= one.run()
    if asked.page:
        write_page(asked.out, Path(__file__).resolve().parents[1] / "docs" / "results")
    sys.exit(0 if done else 3)


if __name__ == "__main__":
    main()
