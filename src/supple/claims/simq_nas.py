"""SimQ-NAS (paper 90, 2312.13301): search the bits of the layers together with the structure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from supple import Elastic
from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit, seeded
from supple.compress.quantize.onnx_graph import OnnxNetwork, record
from supple.compress.quantize.onnx_int8 import OnnxInt8
from supple.compress.quantize.policy import QuantPolicy
from supple.elastic.batch_norm import recalibrate
from supple.elastic.training import SortedNet
from supple.measure import Latency
from supple.search import LINAS, RandomSearch
from supple.space import Config, Space
from supple.study import Direction, Study, hypervolume
from supple.tasks.digits import DigitsNet

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The network and what a search may cost.

    Attributes:
        width: Channels of the first stage.
        epochs: Of the training that all sub-networks share.
        measurements: Of every search.
        population: Measured between two rounds of thought.
        inner_evaluations: Predicted evaluations per round of LINAS.
        seconds: Of timing a pick against the whole network in int8.
    """

    width: int = 24
    epochs: int = 20
    measurements: int = 40
    population: int = 10
    inner_evaluations: int = 10_000
    seconds: float = 2.0


DIRECTIONS: dict[str, Direction] = {"accuracy": "max", "size": "min"}
CORNER = {"accuracy": 0.5, "size": 1.0}


@claim(
    paper=90,
    says="Searching the bits of each layer together with the structure gives networks that are "
    "several times faster and smaller than the whole network in int8, without loss of accuracy.",
    reported="Up to 4.80 times lower latency and 3.44 times smaller than fully int8 baselines "
    "without loss of accuracy (abstract); ResNet-50, ViT, BERT and BEiT-3 super-networks.",
    here="An elastic residual network on digits (three stages, elastic in depth and in every "
    "width), its 9 layers in int8 or in floats, computed for real by ONNX Runtime on this CPU. "
    "Every search has the same number of measurements of accuracy (on held-out training images) "
    "and size of the file. The pick is the smallest network found that is at least as accurate, "
    "on those images, as the whole network in int8; it is then timed alternately with that and "
    "tested on other images.",
    rules=(
        Rule(metric="times smaller", method="joint", baseline="int8", scale="ratio", margin=1.5),
        Rule(metric="times faster", method="joint", baseline="int8", scale="ratio", margin=1.1),
        Rule(metric="test accuracy", method="joint", baseline="int8", expects="not worse",
             margin=0.01),
        Rule(metric="hypervolume", method="joint", baseline="structure, then int8",
             expects="not worse", margin=0.01),
        Rule(metric="hypervolume", method="joint", baseline="bits alone", margin=0.01),
        Rule(metric="hypervolume", method="joint", baseline="random", margin=0.0),
    ),
    quick=Settings(epochs=8, measurements=14, population=7, inner_evaluations=2_000, seconds=0.5),
    full=Settings(),
    figure=Dots(metric="times smaller", title="times smaller than the whole network in int8"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Search one elastic network in four ways, and time what each found."""
    data = digits(seed, images=True)
    held_out = data.held_out()
    with seeded(seed, "weights"):
        model = DigitsNet(width=settings.width, blocks=1)
    net = Elastic(model, (data.train_x[:2],))
    fit(net, held_out, epochs=settings.epochs, lr=3e-3, seed=seed, rule=SortedNet())
    bench = _Bench(net=net.eval(), data=data, held_out=held_out)
    whole = bench.policy.config(net.space.largest)
    arms: dict[str, dict[str, float]] = {}
    for arm, found in _searches(bench, seed, settings).items():
        arms[arm] = {
            "hypervolume": _hypervolume(bench, found),
            **_picked(bench, found, whole, settings.seconds),
        }
    arms["int8"] = {
        "times smaller": 1.0,
        "times faster": 1.0,
        "test accuracy": accuracy(bench.network(whole), data),
        "hypervolume": _hypervolume(bench, [whole, bench.policy.space.largest]),
    }
    return arms


class _Bench:
    """Configs of the joint space, each measured once, whoever asks."""

    def __init__(self, net: Elastic, data: Data, held_out: Data) -> None:
        self.net, self.data, self.held_out = net, data, held_out
        self.example = (data.train_x[:1],)
        self.policy = QuantPolicy.of(net, self.example)
        images = torch.split(held_out.train_x, 64)[:8]
        self.calibration = [(x, None) for x in images]
        self._networks: dict[Config, OnnxNetwork] = {}
        self._values: dict[Config, dict[str, float]] = {}
        self._floats = len(self.network(self.policy.space.largest).onnx_model)

    def network(self, config: Config) -> OnnxNetwork:
        """The network of a config as ONNX Runtime runs it."""
        if config not in self._networks:
            plain = self.net.extract(self.policy.architecture(config), prefer="graph").eval()
            recalibrate(plain, self.calibration)
            graph = record(plain, self.example)
            layers = self.policy.int8_layers(config)
            self._networks[config] = OnnxInt8().quantize(graph, layers, self.calibration)
        return self._networks[config]

    def values(self, config: Config) -> dict[str, float]:
        """Accuracy on held-out training images, and bytes of the file over those in floats."""
        if config not in self._values:
            network = self.network(config)
            self._values[config] = {
                "accuracy": accuracy(network, self.held_out),
                "size": len(network.onnx_model) / self._floats,
            }
        return self._values[config]


def _searches(bench: _Bench, seed: int, settings: Settings) -> dict[str, list[Config]]:
    """What each way of searching measured."""
    policy = bench.policy
    joint, structure = policy.space, policy.structure
    whole = policy.config(structure.largest)
    bits = joint.restrict({name: structure.largest[name] for name in structure})
    return {
        "joint": _linas(bench, joint, (joint.largest, whole), seed, settings),
        "structure, then int8": _in_turn(bench, seed, settings),
        "bits alone": _linas(bench, bits, (joint.largest, whole), seed, settings),
        "random": _run(
            bench,
            RandomSearch(space=joint, seed=seed, population=settings.population),
            joint,
            settings.measurements,
        ),
    }


def _linas(
    bench: _Bench, space: Space, start: tuple[Config, ...], seed: int, settings: Settings
) -> list[Config]:
    strategy = LINAS(
        space=space,
        seed=seed,
        population=settings.population,
        start=start,
        inner_evaluations=settings.inner_evaluations,
    )
    return _run(bench, strategy, space, settings.measurements)


def _in_turn(bench: _Bench, seed: int, settings: Settings) -> list[Config]:
    """Two thirds of the measurements for the structure in floats, the rest for its best in int8."""
    policy = bench.policy
    strategy = LINAS(
        space=policy.structure,
        seed=seed,
        population=settings.population,
        start=(policy.structure.largest,),
        inner_evaluations=settings.inner_evaluations,
    )
    study = Study.open(space=policy.structure, directions=DIRECTIONS)
    study.run(
        lambda architecture: bench.values(policy.config(architecture, int8=())),
        strategy,
        evaluations=2 * settings.measurements // 3,
    )
    if study.interrupted:
        raise KeyboardInterrupt
    best = [candidate.config for candidate in study.front]
    others = [trial.config for trial in reversed(study.complete) if trial.config not in best]
    left = settings.measurements - len(study.complete)
    return [
        *(policy.config(trial.config, int8=()) for trial in study.complete),
        *(policy.config(architecture) for architecture in [*best, *others][:left]),
    ]


def _run(
    bench: _Bench, strategy: LINAS | RandomSearch, space: Space, measurements: int
) -> list[Config]:
    study = Study.open(space=space, directions=DIRECTIONS)
    study.run(bench.values, strategy, evaluations=measurements)
    if study.interrupted:
        raise KeyboardInterrupt
    return [trial.config for trial in study.complete]


def _hypervolume(bench: _Bench, configs: Iterable[Config]) -> float:
    """Accuracy above a half times size saved."""
    return hypervolume([bench.values(config) for config in configs], CORNER, DIRECTIONS)


def _picked(
    bench: _Bench, configs: Iterable[Config], whole: Config, seconds: float
) -> dict[str, float]:
    """The smallest that is as accurate as the whole network in int8, beside that one."""
    least = bench.values(whole)
    good = [c for c in configs if bench.values(c)["accuracy"] >= least["accuracy"]]
    # Where nothing is as good, one is left with the network that one had.
    pick = min([*good, whole], key=lambda config: bench.values(config)["size"])
    latency = Latency(example=bench.example, backend="onnxruntime", max_seconds=seconds)
    ratio = latency.compare(bench.network(pick), bench.network(whole)).ratio
    return {
        "times smaller": least["size"] / bench.values(pick)["size"],
        "times faster": 1.0 if pick == whole else 1 / ratio,
        "test accuracy": accuracy(bench.network(pick), bench.data),
    }
