"""Quantization (paper 61, 2103.13630): what bits cost, after training and in it, evenly or not."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from supple.claims import Arms, Data, Rule, accuracy, best_lr, claim, digits, fit, seeded
from supple.compress.quantize import (
    Uniform,
    allocate_bits,
    bake_,
    fold_batch_norm,
    quantizable_layers,
    quantize_,
    sensitivities,
)
from supple.seeds import generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and lengths.

    Attributes:
        channels: Of the first convolution; the second has twice as many.
        epochs: Passes of the float network's training.
        aware: Passes of training with quantized weights.
    """

    channels: int = 16
    epochs: int = 20
    aware: int = 10


@claim(
    paper=61,
    says="Eight bits cost no accuracy; below four, training with the quantized weights keeps what "
    "quantizing afterwards loses.",
    reported="A survey: 8 bits lossless in most cited works, 4 bits and fewer need training or a "
    "scale for each channel; layers of unlike sensitivity deserve unlike bits.",
    here="A convolutional network with batch norms (folded before quantizing) on 1,200 digits of "
    "8x8 pixels. Weights at b bits, inputs of layers at 8; simulated in floats. Every arm of fewer "
    "bits starts from the same float network; the longer training of the 2-bit network is also "
    "given to a float network as small as it is in bits.",
    rules=(
        Rule(metric="accuracy", method="2 bits, trained", baseline="2 bits, after", margin=0.02),
        Rule(metric="accuracy", method="8 bits", baseline="float", expects="equal", margin=0.005),
        Rule(metric="accuracy", method="3 bits, per channel", baseline="3 bits, per tensor",
             margin=0.005),
        Rule(metric="accuracy", method="mixed, 3 on average", baseline="3 bits, per channel",
             expects="not worse", margin=0.002),
        Rule(metric="accuracy", method="mixed, 3 on average", baseline="mixed at random",
             margin=0.005),
        Rule(metric="accuracy", method="2 bits, trained", baseline="small float", margin=0.005),
    ),
    quick=Settings(channels=8, epochs=5, aware=3),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Every format of the same trained network."""
    data = digits(seed, images=True)

    def build(channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, padding=1, stride=2),
            nn.BatchNorm2d(2 * channels), nn.ReLU(),
            nn.Flatten(), nn.Linear(2 * channels * 16, 10),
        )  # fmt: skip

    def trained(channels: int, epochs: float) -> nn.Module:
        lr = best_lr(lambda: build(channels), data, _LRS, seed=seed, epochs=settings.epochs / 2)
        with seeded(seed, "weights", channels):
            model = build(channels)
        fit(model, data, epochs=epochs, lr=lr, seed=seed)
        return fold_batch_norm(model, data.train_x[:2])

    float_net = trained(settings.channels, settings.epochs)
    # A fourth of the channels: a sixteenth of most weights, as 2 bits are of 32.
    small = trained(settings.channels // 4, settings.epochs + settings.aware)
    found = {"float": accuracy(float_net, data), "small float": accuracy(small, data)}
    for bits in (8, 3, 2):
        for granularity in ("tensor", "channel"):
            name = f"{bits} bits, per {granularity}"
            weight = Uniform(bits=bits, granularity=granularity)
            found[name] = accuracy(_quantized(float_net, data, weight), data)
    found["8 bits"], found["2 bits, after"] = found["8 bits, per channel"], found[_TWO]
    aware = _quantized(float_net, data, Uniform(bits=2))
    fit(aware, data, epochs=settings.aware, lr=_AWARE_LR, seed=seed)
    found["2 bits, trained"] = accuracy(bake_(aware), data)
    found.update(_mixed(float_net, data, seed))
    return {arm: {"accuracy": value} for arm, value in found.items()}


_LRS = (3e-3, 1e-2)
_AWARE_LR = 3e-3
_TWO = "2 bits, per channel"
_OPTIONS = (2, 3, 4, 6)
_INPUTS = Uniform(symmetric=False, granularity="tensor", estimator="percentile", percentile=99.99)


def _quantized(
    network: nn.Module,
    data: Data,
    weight: Uniform,
    layers: dict[str, Uniform | None] | None = None,
) -> nn.Module:
    twin = copy.deepcopy(network)
    quantize_(
        twin, weight=weight, activation=_INPUTS, calibration=[data.train_x[:256]], layers=layers
    )
    return twin


def _mixed(network: nn.Module, data: Data, seed: int) -> dict[str, float]:
    """Three bits on average: by sensitivity, and drawn at random among those as large."""
    formats = {bits: Uniform(bits=bits) for bits in _OPTIONS}
    batches = [(data.train_x[i : i + 100], data.train_y[i : i + 100]) for i in range(0, 400, 100)]
    rises = sensitivities(network, batches, F.cross_entropy, formats, seed=seed)
    sizes = {
        name: float(torch.as_tensor(layer.weight).numel())
        for name, layer in quantizable_layers(network).items()
    }
    budget = 3 * sum(sizes.values())
    choices = {"mixed, 3 on average": allocate_bits(rises, sizes, budget)}
    names = list(sizes)
    fitting = [
        bits
        for bits in itertools.product(_OPTIONS, repeat=len(names))
        if 0.85 * budget <= sum(b * sizes[n] for n, b in zip(names, bits, strict=True)) <= budget
    ]
    picked = fitting[int(generator(seed, "bits").integers(len(fitting)))]
    choices["mixed at random"] = dict(zip(names, picked, strict=True))
    return {
        arm: accuracy(
            _quantized(network, data, formats[3], {n: formats[b] for n, b in bits.items()}), data
        )
        for arm, bits in choices.items()
    }
