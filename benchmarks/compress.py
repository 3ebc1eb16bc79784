"""Recipes on trained networks, beside Torch-Pruning, PyTorch's and ONNX Runtime's own quantization.

    SUPPLE_DATA=… .venv/bin/python benchmarks/compress.py [resnet20 | resnet56 | minilm | rows]
    .venv/bin/python benchmarks/compress.py --page      # writes docs/results/compress.md

Every arm is a step that is kept in ``--out``; the same command goes on where it ended, also after
``--minutes``, also in the middle of a training. What was fixed before anything was measured, but
for two changes after a look at the first figures, whose arms were made anew: ``prune`` had saved no
time and keeps to multiples of 8 since, and Torch-Pruning got the shape that served it best in
``against_torch_pruning.py``, since it cannot cut MiniLM in the first one:

- every arm that removes something is trained for the same number of steps of the same recipe
  behind the cut, with the same batches, without a teacher;
- accuracy is that of what is deployed (the integers, not their simulation), on all test data;
- latency is timed in turns with the network in floats, batch 1, one thread, in ONNX Runtime; what
  PyTorch quantized is timed in PyTorch against PyTorch;
- a file is what has to be shipped: graph and weights; memory is the peak of a process of its own
  that loads the file and runs one batch, less that of one that only imports the runtime;
- the joint recipe is the one with the best validation accuracy of those listed.

``rows`` times single layers in torch, dense and in compressed rows. ``--time`` only times again
what is there, for a quieter hour.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import io
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _pruning_cuts import Shape, by_torch_pruning
from _pruning_jobs import JOBS, Job
from torch import nn

from supple.compress.compressed_rows import sparse_speed
from supple.compress.packed import pack_onnx
from supple.compress.quantize.onnx_graph import OnnxNetwork, record
from supple.compress.recipe import compress
from supple.elastic.training import Plain, train
from supple.measure import Latency, machine

__all__ = ["Table"]

RECIPES = {
    "int8": "int8",
    "50 % structured": "prune=0.5",
    "80 % unstructured": "sparse=0.8",
    "90 % unstructured": "sparse=0.9",
    "2:4": "sparse=2:4",
    "4 bits": "bits=4",
    "joint: prune=0.3,int8": "prune=0.3,int8",
    "joint: prune=0.5,int8": "prune=0.5,int8",
}
OTHERS = ("Torch-Pruning, 50 % of parameters", "PyTorch quantization", "ONNX Runtime static")
JOB = {
    "resnet20": dataclasses.replace(JOBS["resnet56"], options={"model": "resnet20"}, lrs=(0.01,)),
    "resnet56": dataclasses.replace(JOBS["resnet56"], lrs=(0.01,)),
    "minilm": dataclasses.replace(JOBS["minilm"], lrs=(1e-4,)),
}

MEMORY = """
import sys
import numpy as np, onnxruntime as ort
def peak():  # not getrusage, whose figure a process takes over from the one that started it
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
before = peak()
if len(sys.argv) > 2:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    session.run(None, dict(np.load(sys.argv[2])))
print(peak() - before)
"""


class Table:
    """The arms of one network.

    Args:
        name: Of the network.
        job: Network, data, and how it is trained behind a cut.
        folder: Where results, files and checkpoints are kept.
        steps: Of training behind a cut.
        is_over: Says when to stop between two arms.
    """

    def __init__(
        self, name: str, job: Job, folder: Path, *, steps: int, is_over: Callable[[], bool]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.job, self.folder, self.is_over = name, job, folder, is_over
        self.recipe = dataclasses.replace(job.recipe, steps=steps, lr=job.lrs[0])
        self.file = folder / f"{name}.json"
        self.arms: dict[str, Any] = {}
        if self.file.is_file():
            kept = json.loads(self.file.read_text())
            if kept["recipe"] != self.recipe.to_json():
                raise SystemExit(f"{self.file} was made with other settings; delete it.")
            self.arms = kept["arms"]

    def run(self) -> bool:
        """Goes on; whether everything is done."""
        for arm in ("float", *RECIPES, *OTHERS):
            if arm in self.arms:
                continue
            if self.is_over():
                return False
            begin = time.process_time()
            found = self._arm(arm)
            found["seconds"] = round(time.process_time() - begin, 1)
            self.arms[arm] = found
            print(f"{self.name}  {arm}  {found}", flush=True)
            self._keep()
        return True

    def time_again(self) -> None:
        """Times the files that are there anew; what torch runs, with its whole arm."""
        self.arms.pop("PyTorch quantization", None)
        whole = OnnxNetwork(record(self._model(), self.job.example))
        for arm, found in self.arms.items():
            path = self.folder / f"{self.name}.{_slug(arm)}.onnx"
            if "error" not in found:
                found |= self._times(OnnxNetwork(whole.graph, path.read_bytes()), whole)
                self._keep()
        self.run()

    def _keep(self) -> None:
        data = {"machine": machine(), "recipe": self.recipe.to_json(), "arms": self.arms}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(data, indent=1))
        os.replace(part, self.file)

    # -- arms ---------------------------------------------------------------------------------
    def _arm(self, arm: str) -> dict[str, Any]:
        if arm == "PyTorch quantization":
            return self._by_pytorch()
        try:
            network = self._network(arm)
        except (ValueError, RuntimeError) as error:
            if arm not in OTHERS:
                raise
            return _refusal(error)  # what a library cannot do is part of the comparison
        return self._deployed(arm, network)

    def _network(self, arm: str) -> OnnxNetwork:
        model, example = self._model(), self.job.example
        if arm in RECIPES:
            made = compress(
                model, RECIPES[arm], example=example, train_data=self.job.data.train(),
                loss=F.cross_entropy, finetune=self.recipe,
                checkpoint=self.folder / f"{self.name}.{_slug(arm)}.checkpoint",
            )  # fmt: skip
            return made.deployed
        if arm.startswith("Torch-Pruning"):
            shape = Shape(stream=False, is_ranked=True)  # its best in against_torch_pruning.py
            half = _HalfParameters(**{f.name: getattr(self.job, f.name) for f in _FIELDS})
            calibration = self.job.calibration_of(0)
            network = by_torch_pruning(half, model, "magnitude", shape, calibration)
            self.job.settled(network, calibration)
            self._trained(network.train(), arm)
            graph = record(self.job.settled(network, calibration), example)
            return OnnxNetwork(graph, pack_onnx(graph.model).model)
        graph = record(model, example)
        if arm == "float":
            return OnnxNetwork(graph)
        return OnnxNetwork(graph, _ort_static(OnnxNetwork(graph), self._calibration()))

    def _trained(self, network: nn.Module, arm: str) -> None:
        train(
            network, self.job.data.train(), F.cross_entropy, Plain(), self.recipe, seed=0,
            checkpoint=self.folder / f"{self.name}.{_slug(arm)}.checkpoint",
        )  # fmt: skip

    def _calibration(self) -> list[Any]:
        return [inputs for inputs, _ in islice(self.job.data.train(), 8)]

    def _model(self) -> nn.Module:
        return self.job.network(self.folder).eval()

    # -- figures ------------------------------------------------------------------------------
    def _deployed(self, arm: str, network: OnnxNetwork) -> dict[str, Any]:
        path = self.folder / f"{self.name}.{_slug(arm)}.onnx"
        path.write_bytes(network.onnx_model)
        whole = OnnxNetwork(record(self._model(), self.job.example))
        return {
            "test": self.job.accuracy(network, "test"),
            "valid": self.job.accuracy(network, "valid"),
            **self._times(network, whole), "backend": "onnxruntime",
            "bytes": path.stat().st_size,
            "memory": _memory(path, network.feeds(self.job.example), self.folder),
        }  # fmt: skip

    def _times(self, network: OnnxNetwork, whole: OnnxNetwork) -> dict[str, Any]:
        latency = Latency(example=self._one(), backend="onnxruntime", max_seconds=10)
        ratio = latency.compare(network, whole)
        return {
            "ms": ratio.network_ms, "ratio": ratio.ratio, "interval": [ratio.low, ratio.high],
            "noisy": ratio.noisy,
        }  # fmt: skip

    def _one(self) -> Any:
        return tuple(part[:1] for part in self.job.example)

    def _by_pytorch(self) -> dict[str, Any]:
        """Static for convolutions (FX graph mode), dynamic for the transformer, as documented."""
        model = self._model()
        try:
            if self.name == "minilm":
                small = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear})
            else:
                small = self._static_by_pytorch(model)
        except Exception as error:
            return _refusal(error)
        latency = Latency(example=self._one(), backend="torch", max_seconds=10)
        ratio = latency.compare(small, model)
        stored = io.BytesIO()
        torch.save(small.state_dict(), stored)
        return {
            "test": self.job.accuracy(small, "test"), "valid": self.job.accuracy(small, "valid"),
            "ms": ratio.network_ms, "ratio": ratio.ratio, "interval": [ratio.low, ratio.high],
            "noisy": ratio.noisy, "backend": "torch", "bytes": len(stored.getvalue()),
            "memory": None,
        }  # fmt: skip

    def _static_by_pytorch(self, model: nn.Module) -> nn.Module:
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

        torch.backends.quantized.engine = "x86"
        observed = prepare_fx(
            copy.deepcopy(model), get_default_qconfig_mapping("x86"), self.job.example
        )
        with torch.no_grad():
            for inputs in self._calibration():
                observed(inputs)
        return convert_fx(observed)


class _HalfParameters(Job):
    """The same job; what is halved are the parameters, as by ``prune=0.5``."""

    def macs(self, network: Any) -> float:
        """Parameters, in the place of multiply-adds."""
        return float(sum(p.numel() for p in network.parameters()))


_FIELDS = dataclasses.fields(Job)


def _refusal(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}


def _slug(arm: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in arm.lower()).strip("-")


def _ort_static(network: OnnxNetwork, batches: Iterable[Any]) -> bytes:
    """ONNX Runtime's own tool with its defaults, behind the preparation its manual asks for."""
    import tempfile

    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter([network.feeds(inputs) for inputs in batches])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder) / f"{name}.onnx" for name in ("float", "prepared", "int8")]
        names[0].write_bytes(network.onnx_model)
        quant_pre_process(names[0], names[1], skip_symbolic_shape=True)
        quantize_static(names[1], names[2], Reader())
        return names[2].read_bytes()


def _memory(path: Path, feeds: dict[str, Any], folder: Path) -> int:
    """Peak bytes that loading the file and one run add to a process."""
    import numpy as np

    inputs = folder / "inputs.npz"
    np.savez(inputs, **feeds)
    words = [sys.executable, "-c", MEMORY, str(path), str(inputs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout)


# -- the page -----------------------------------------------------------------------------------
def write_page(folder: Path, docs: Path) -> None:
    """The table as Markdown, and its data beside it."""
    lines = ["# Recipes on trained networks", "", _PAGE.strip(), ""]
    whole: dict[str, Any] = {}
    for name in JOB:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        whole[name] = json.loads(path.read_text())
        lines += [f"## {name}", "", *_rows(whole[name]["arms"]), ""]
    if (path := folder / "rows.json").is_file():
        whole["rows"] = json.loads(path.read_text())
        lines += ["## Compressed rows in torch", "", *_rows_speed(whole["rows"]["speed"]), ""]
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "compress.json").write_text(json.dumps(whole, indent=1) + "\n")
    (docs / "compress.md").write_text("\n".join(lines))


_PAGE = """
Made by `benchmarks/compress.py`; how it was measured is said at the top of that file. Time is the
ratio to the network in floats on the same runtime, with its 95 % interval; the first row, a network
beside itself, says how far to trust it. Times were taken in one quiet pass (`--time`).

After a look at the first figures two things were changed, and those arms made anew: `prune`, which
had saved no time, keeps widths at multiples of 8 since; Torch-Pruning, which cannot cut MiniLM's
residual stream, cuts inside of the blocks everywhere. Nothing was tuned on test accuracy.

Zeros without a structure make a file smaller and a network no faster: ONNX Runtime multiplies by
them as by any other number, and its CPU kernels have no sparse form. Structured cuts and int8 are
what saves time. Packed weights are unpacked while the file is loaded, which takes more memory, not
less, for that moment.
"""


def _rows(arms: dict[str, Any]) -> list[str]:
    best = max(
        (arm for arm in arms if arm.startswith("joint")),
        key=lambda arm: arms[arm]["valid"], default="",
    )  # fmt: skip
    lines = [
        "| | test accuracy | time | ms | file | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for arm, found in arms.items():
        name = f"**{arm}** (best joint on validation)" if arm == best else arm
        if "error" in found:
            lines.append(f"| {name} | {found['error']} | | | | |")
            continue
        low, high = found["interval"]
        memory = "" if found["memory"] is None else f"{found['memory'] / 1e6:.1f} MB"
        runtime = "" if found["backend"] == "onnxruntime" else f" ({found['backend']})"
        lines.append(
            f"| {name} | {found['test']:.2%} | {found['ratio']:.2f} [{low:.2f}, {high:.2f}]"
            f"{runtime} | {found['ms']:.2f} | {found['bytes'] / 1e6:.2f} MB | {memory} |"
        )
    return lines


def measure_rows(folder: Path) -> None:
    """Keeps the times of single layers, dense and in compressed rows."""
    folder.mkdir(parents=True, exist_ok=True)
    speed = [dataclasses.asdict(one) | {"speedup": one.speedup} for one in sparse_speed()]
    data = {"machine": machine(), "speed": speed}
    (folder / "rows.json").write_text(json.dumps(data, indent=1))


def _rows_speed(speed: list[dict[str, Any]]) -> list[str]:
    ratios = sorted({one["ratio"] for one in speed})
    lines = [
        "A square linear layer with random zeros: how many times faster compressed rows are than",
        "the dense layer, one thread (below 1: slower).",
        "",
        "| features | batch | " + " | ".join(f"{ratio:.0%} zeros" for ratio in ratios) + " |",
        "|---:|---:|" + "---:|" * len(ratios),
    ]
    for size, batch in dict.fromkeys((one["features"], one["batch"]) for one in speed):
        of = {o["ratio"]: o for o in speed if (o["features"], o["batch"]) == (size, batch)}
        cells = " | ".join(f"{of[ratio]['speedup']:.2f}" for ratio in ratios)
        lines.append(f"| {size} | {batch} | {cells} |")
    return lines


def main() -> None:
    """Reads the command line and goes on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(JOB)}, rows; default: all")
    parser.add_argument("--steps", type=int, default=100, help="of training behind a cut")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after about so long")
    parser.add_argument("--out", type=Path, default=Path("runs/compress"))
    parser.add_argument("--time", action="store_true", help="only time again what is there")
    parser.add_argument("--page", action="store_true", help="write the page and its data")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if asked.page:
        write_page(asked.out, Path(__file__).resolve().parents[1] / "docs" / "results")
        return
    end, done = time.monotonic() + 60 * asked.minutes, True
    for name in asked.networks or (*JOB, "rows"):
        if name == "rows":
            measure_rows(asked.out)
            continue
        table = Table(
            name, JOB[name], asked.out, steps=asked.steps, is_over=lambda: time.monotonic() > end
        )
        if asked.time:
            table.time_again()
        else:
            done &= table.run()
    sys.exit(0 if done else 3)


if __name__ == "__main__":
    main()
