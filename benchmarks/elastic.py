"""What elasticity costs: ratios of running, training, tracing, cutting and memory, with spread.

    make bench

Each figure is the median of ratios formed inside a round, in which all parts are timed close
together and in random order, with its 95 % interval. Times are processor times of one thread, so
that other programs disturb them little. The models are ResNet-18, a vision transformer and a BERT;
weights are random. Where `torch_pruning` is installed, the time that it takes to group and prune
the same model is printed too.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler says when it starts and stops

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supple import Elastic
from supple.elastic._call import call
from supple.measure import machine
from supple.measure._timing import Figure, Plan, figure, paired_ratio, time_rounds
from tests.families import ResNet, ViT, randomised

Model = tuple[nn.Module, tuple[Any, ...]]
RATIO = 0.5  # of every axis that a sub-network keeps
CLOCK = time.process_time


def resnet18(batch: int) -> Model:
    """11.2 million parameters, as it is used for images of 32x32 pixels."""
    return ResNet((64, 128, 256, 512)), (torch.randn(batch, 3, 32, 32),)


def vit(batch: int) -> Model:
    """12 layers of width 192 with 3 heads, 65 tokens."""
    model = ViT(width=192, heads=3, depth=12, size=64, patch=8)
    return model, (torch.randn(batch, 3, 64, 64),)


def bert(batch: int) -> Model:
    """The class of `transformers`: 6 layers of width 256 with 4 heads, 64 tokens."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=4000, hidden_size=256, num_hidden_layers=6, num_attention_heads=4,
        intermediate_size=1024, max_position_embeddings=64,
    )  # fmt: skip
    return BertModel(config), (torch.randint(0, 4000, (batch, 64)),)


MODELS = {make.__name__: make for make in (resnet18, vit, bert)}


# -- what is timed ----------------------------------------------------------------------------
def running(net: Elastic, example: tuple[Any, ...], seconds: float) -> Figure:
    """A sub-network on the shared weights over the extracted module, without gradients."""
    config = net.space.at_ratio(RATIO)
    shared, extracted = net.eval().at(config), net.extract(config)
    with torch.no_grad():
        return ratio(lambda: call(shared, example), lambda: call(extracted, example), seconds)


def training(net: Elastic, model: nn.Module, example: tuple[Any, ...], seconds: float) -> Figure:
    """One step of plain SGD of the largest sub-network over the same of the plain module."""
    net, model = net.train(), copy.deepcopy(model).train()
    whole = net.at(net.space.largest)
    return ratio(step_of(whole, net, example), step_of(model, model, example), seconds)


def step_of(network: Any, owner: nn.Module, example: tuple[Any, ...]) -> Callable[[], None]:
    """Forward, backward and update."""
    optimizer = torch.optim.SGD(owner.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(call(network, example)).backward()
        optimizer.step()

    return step


def loss_of(outputs: Any) -> Tensor:
    """A loss that depends on all of the first output."""
    first = outputs if isinstance(outputs, Tensor) else next(iter(outputs.values()))
    return F.mse_loss(first, torch.zeros_like(first))


def ratio(first: Callable[[], object], second: Callable[[], object], seconds: float) -> Figure:
    """The time of ``first`` over that of ``second``."""
    plan = Plan(warmup=2, rounds=15, max_seconds=seconds, block_seconds=0.02, noise_limit=0.01)
    return paired_ratio(time_rounds((first, second), plan, paired_ratio, clock=CLOCK))


def tracing(model: nn.Module, example: tuple[Any, ...], rounds: int) -> dict[str, list[float]]:
    """Seconds of each part, by round: export alone, tracing, cutting, and the other pruner's.

    A model that trains otherwise than it evaluates, in more than batch norm and dropout, is
    captured in both modes; then ``both`` is export in both.
    """
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "export": lambda: {"export": seconds_of(lambda: torch.export.export(model, example))[0]},
        "supple": lambda: traced_and_cut(model, example),
    }
    if len(Elastic(model, example).structure.analysis.captures) > 1:
        parts["both"] = lambda: {"both": exported_in_both_modes(model, example)}
    if other := torch_pruning_job(model, example):
        parts["torch_pruning"] = other
    draws, found = random.Random(0), {}
    order = list(parts)
    for part in order:
        parts[part]()  # the first call of each imports and fills caches
    for _ in range(rounds):
        draws.shuffle(order)
        for part in order:
            for name, seconds in parts[part]().items():
                found.setdefault(name, []).append(seconds)
    return found


def exported_in_both_modes(model: nn.Module, example: tuple[Any, ...]) -> float:
    """Seconds of torch.export in evaluation and in training."""
    twin = copy.deepcopy(model).train()
    return sum(seconds_of(lambda m=m: torch.export.export(m, example))[0] for m in (model, twin))


def traced_and_cut(model: nn.Module, example: tuple[Any, ...]) -> dict[str, float]:
    """Seconds of `Elastic` and of both kinds of `extract`."""
    trace, net = seconds_of(lambda: Elastic(model, example))
    config = net.space.at_ratio(RATIO)
    cut, _ = seconds_of(lambda: net.extract(config, prefer="graph"))
    native, _ = seconds_of(lambda: net.extract(config))
    return {"trace": trace, "cut": cut, "native": native}


def torch_pruning_job(
    model: nn.Module, example: tuple[Any, ...]
) -> Callable[[], dict[str, float]] | None:
    """Torch-Pruning's dependency graph and one pruning step, as its quick start has it."""
    try:
        import torch_pruning
    except ImportError:
        return None
    heads = {m: heads_of(m) for m in model.modules() if heads_of(m)}
    outputs = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == 5]

    def job() -> dict[str, float]:
        network = copy.deepcopy(model)
        twin = dict(zip(model.modules(), network.modules(), strict=True))
        counts = {p: count for m, count in heads.items() for p in projections(twin[m])}

        def prune() -> None:
            torch_pruning.pruner.MagnitudePruner(
                network, example, importance=torch_pruning.importance.MagnitudeImportance(),
                pruning_ratio=RATIO, ignored_layers=[twin[m] for m in outputs],
                num_heads=counts, output_transform=lambda out: loss_of(out),
            ).step()  # fmt: skip

        return {"torch_pruning": seconds_of(prune)[0]}

    try:
        job()
    except Exception as error:  # what it cannot do is part of the comparison
        print(f"    torch_pruning failed: {type(error).__name__}: {str(error).splitlines()[0]}")
        return None
    return job


def heads_of(module: nn.Module) -> int:
    """How many heads an attention module of these models has, or 0."""
    if type(module).__name__ == "FusedAttention":
        return int(module.heads)
    return int(getattr(module, "num_attention_heads", 0)) if hasattr(module, "query") else 0


def projections(module: nn.Module) -> list[nn.Module]:
    """The linear maps whose outputs are split into the heads."""
    if type(module).__name__ == "FusedAttention":
        return [module.qkv]
    return [module.query, module.key, module.value]


def seconds_of(function: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    gc.collect()
    gc.disable()
    begin = CLOCK()
    try:
        result = function()
        return CLOCK() - begin, result
    finally:
        gc.enable()


# -- memory -----------------------------------------------------------------------------------
def peak_memory(model: nn.Module, example: tuple[Any, ...]) -> float:
    """Most bytes of tensors at one time while tracing and cutting, over the parameters' size.

    The given model counts too. Taken from torch's allocator, so work space is in it.
    """
    own = sum(t.numel() * t.element_size() for t in model.parameters())
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        net = Elastic(model, example)
        extracted = net.extract(net.space.at_ratio(RATIO))
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    del extracted
    return (own + peak) / own


# -- printing ---------------------------------------------------------------------------------
def show(label: str, found: Figure, target: float | None = None, unit: str = "") -> None:
    """One line of the table."""
    verdict = ""
    if target is not None:
        verdict = f"target <= {target:<5g} {'met' if found.value <= target else 'MISSED'}"
    print(
        f"    {label:<46}{found.value:7.3f}{unit:<2} [{found.low:.3f}, {found.high:.3f}]  {verdict}"
    )


def ratios(values: list[float], others: list[float]) -> Figure:
    """The figure of the ratios by round."""
    return figure([value / other for value, other in zip(values, others, strict=True)])


def bench(name: str, make: Callable[[int], Model], seconds: float, rounds: int) -> None:
    """All figures of one model."""
    torch.manual_seed(0)
    model, example = make(8)
    randomised(model).eval().requires_grad_(True)
    count = sum(p.numel() for p in model.parameters())
    net = Elastic(model, example)
    print(f"\n{name}: {count / 1e6:.1f} M parameters, {len(net.space)} choices")
    one = tuple(t[:1] for t in example)
    show("at(cfg) / extracted, batch 8", running(net, example, seconds), 1.15)
    show("at(cfg) / extracted, batch 1", running(net, one, seconds), 1.15)
    show("training step, largest / plain, batch 8", training(net, model, example, seconds), 1.2)
    found = tracing(model, example, rounds)
    both = [sum(pair) for pair in zip(found["trace"], found["cut"], strict=True)]
    show("torch.export alone", figure(found["export"]), unit=" s")
    show("tracing / export", ratios(found["trace"], found["export"]))
    show("tracing + cutting to a graph / export", ratios(both, found["export"]), 1.5)
    if "both" in found:
        show("the same / export in both modes, which it takes", ratios(both, found["both"]), 1.5)
    show("extraction as a graph", figure(found["cut"]), unit=" s")
    show("extraction as the model's own classes", figure(found["native"]), unit=" s")
    whole = [sum(pair) for pair in zip(found["trace"], found["native"], strict=True)]
    show("tracing + cutting to own classes / export", ratios(whole, found["export"]), 1.5)
    if "torch_pruning" in found:
        show("torch_pruning: graph and pruning", figure(found["torch_pruning"]), unit=" s")
        show("tracing + cutting / torch_pruning", ratios(both, found["torch_pruning"]))
    memory = peak_memory(model, example)
    show("peak memory / parameters", Figure(value=memory, low=memory, high=memory), 2.5)


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each ratio of running")
    parser.add_argument("--rounds", type=int, default=6, help="of tracing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.reconfigure(line_buffering=True)
    warnings.simplefilter("ignore")
    print("\n".join(f"{key}: {value}" for key, value in machine().items()))
    begin = time.perf_counter()
    for name in asked.models or MODELS:
        bench(name, MODELS[name], asked.seconds, asked.rounds)
    print(f"\n{time.perf_counter() - begin:.0f} s, one thread; [95 % interval of the median]")


if __name__ == "__main__":
    main()
