"""Axes with a normalisation across them: a cut network is a smaller module with sliced weights.

The smaller module is built by its own class; its weights are sliced from the larger one's here, by
hand, with nothing from the engine. Its first units are kept of every axis.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity
from supple.space import Config
from tests.elastic.convolutional import Head, conv, inverted
from tests.elastic.oracles import distance, doubled, run
from tests.families import DenseNet, ResNet, randomised

EVERY_SIZE = Elasticity(ratios=tuple(i / 48 for i in range(1, 49)), multiple_of=1, depths=False)
Slice = Callable[[Tensor], Tensor]


def first(shape: torch.Size) -> Slice:
    """The first indices of every dimension."""
    return lambda w: w[tuple(slice(n) for n in shape)]


def heads_of(count: int, size: int, dim: int, rest: int, scale: float = 1.0) -> Slice:
    """Along one dimension, heads x size: the first ``size`` of every head; prefixes of the rest."""

    def cut(w: Tensor) -> Tensor:
        w = w.movedim(dim, 0)
        w = w.unflatten(0, (count, -1))[:, :size].flatten(0, 1)
        w = w if w.ndim == 1 else w[:, :rest]
        return w.movedim(0, dim) * scale

    return cut


def segments(*sizes: tuple[int, int], rest: int | None = None, dim: int = 0) -> Slice:
    """Along one dimension, several parts of (full, kept) indices one after another."""
    kept, start = [], 0
    for full, keep in sizes:
        kept += range(start, start + keep)
        start += full

    def cut(w: Tensor) -> Tensor:
        w = w.index_select(dim, torch.tensor(kept))
        return w if rest is None or w.ndim == 1 else w.movedim(dim, 0)[:, :rest].movedim(0, dim)

    return cut


def fill(small: nn.Module, big: nn.Module, special: Mapping[str, Slice]) -> None:
    """Loads the sliced weights; ``special`` by the end of a name, prefixes otherwise."""
    source = big.state_dict()
    with torch.no_grad():
        for name, target in small.state_dict().items():
            found = [cut for end, cut in special.items() if name.endswith(end)]
            value = (found[0] if found else first(target.shape))(source[name])
            assert value.shape == target.shape, name
            target.copy_(value)


def config_of(net: Elastic, small: nn.Module, **roles: int) -> Config:
    """The config whose tensors have the shapes of the small module; heads are given by role."""
    state, sizes = small.state_dict(), {}
    for axis in net.structure.axes:
        alone = [
            m
            for m in axis.members
            if net.structure.analysis.stored[m.tensor][m.dim].find() is axis.axis
        ]
        if axis.role in roles:
            sizes[axis.name] = roles[axis.role]
        else:
            assert alone, f"{axis.name} is nowhere a dimension of its own"
            sizes[axis.name] = state[alone[0].tensor].shape[alone[0].dim]
    return net.space.largest.replace({k: v for k, v in sizes.items() if k in net.space})


def check(big: nn.Module, small: nn.Module, example: Any, special: Mapping[str, Slice],
          **roles: int) -> None:  # fmt: skip
    big, small = doubled(randomised(big).eval()), doubled(small.eval())
    example = doubled(example)
    with torch.no_grad():
        for parameter in big.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.float64) * 0.1)
    fill(small, big, special)
    net = Elastic(big, example, EVERY_SIZE)
    config = config_of(net, small, **roles)
    assert config != net.space.largest
    want = run(small, example)
    assert distance(run(net.at(config), example), want) < 1e-10
    found = net.extract(config, prefer="graph")
    assert distance(run(found, example), want) < 1e-10
    assert {n: w.shape for n, w in found.named_parameters()} == {
        n: w.shape for n, w in small.named_parameters()
    }


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of transformers about its own configurations
        torch.manual_seed(5)
        yield


def pair_of(name: str, config: str, big: dict[str, Any], small: dict[str, Any]) -> Any:
    transformers = pytest.importorskip("transformers")
    make, settings = getattr(transformers, name), getattr(transformers, config)
    return make(settings(**big)), make(settings(**{**big, **small}))


# -- transformers -----------------------------------------------------------------------------
TEXT = {
    "vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 12, "num_labels": 3,
}  # fmt: skip
# A narrower head keeps the full model's scale, which the smaller module does not know.
SCALE = math.sqrt(4 / 8)


def attention(prefix: str = "") -> dict[str, Slice]:
    """Separate maps for query, key and value, from heads of 8 to heads of 4, 32 to 16 wide."""
    rows = {end: heads_of(4, 4, 0, 16) for end in ("key.weight", "key.bias", "value.weight",
                                                   "value.bias")}  # fmt: skip
    rows |= {end: heads_of(4, 4, 0, 16, SCALE) for end in ("query.weight", "query.bias")}
    rows["attention.output.dense.weight"] = heads_of(4, 4, 1, 16)
    return rows


def test_bert() -> None:
    big, small = pair_of("BertForSequenceClassification", "BertConfig", TEXT,
                         {"hidden_size": 16, "intermediate_size": 20})  # fmt: skip
    example = {"input_ids": torch.randint(0, 20, (2, 6))}
    # The pooler's output has a width of its own, which is a square here.
    check(big, small, example, attention(), heads=4, head_size=4)


def test_vit() -> None:
    settings = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 48, "image_size": 16, "patch_size": 8}  # fmt: skip
    big, small = pair_of("ViTForImageClassification", "ViTConfig", settings,
                         {"hidden_size": 16, "intermediate_size": 20})  # fmt: skip
    cuts = {
        **{end: heads_of(4, 4, 0, 16) for end in ("k_proj.weight", "k_proj.bias",
                                                  "v_proj.weight", "v_proj.bias")},
        **{end: heads_of(4, 4, 0, 16, SCALE) for end in ("q_proj.weight", "q_proj.bias")},
        "o_proj.weight": heads_of(4, 4, 1, 16),
        **attention(),
    }  # fmt: skip
    check(big, small, {"pixel_values": torch.randn(2, 3, 16, 16)}, cuts, heads=4, head_size=4)


def fused(w: Tensor) -> Tensor:
    """GPT-2: query, key and value side by side in the last dimension, each heads x size."""
    query, key, value = (
        heads_of(4, 4, -1, 16)(part) if w.ndim == 1 else heads_of(4, 4, 1, 16)(part)
        for part in w.chunk(3, -1)
    )
    return torch.cat([query * SCALE, key, value], -1)


def test_gpt2() -> None:
    settings = {"vocab_size": 20, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 12,
                "n_inner": 48, "use_cache": False}  # fmt: skip
    big, small = pair_of("GPT2LMHeadModel", "GPT2Config", settings, {"n_embd": 16, "n_inner": 20})
    cuts = {"attn.c_attn.weight": fused, "attn.c_attn.bias": fused,
            "attn.c_proj.weight": heads_of(4, 4, 0, 16)}  # fmt: skip
    example = {"input_ids": torch.randint(0, 20, (2, 6))}
    check(big, small, example, cuts, heads=4, head_size=4)


def test_swin() -> None:
    settings = {"image_size": 16, "patch_size": 2, "embed_dim": 16, "depths": [2, 1],
                "num_heads": [2, 4], "window_size": 4}  # fmt: skip
    big, small = pair_of("SwinForImageClassification", "SwinConfig", settings, {"embed_dim": 8})
    four = segments(*[(16, 8)] * 4)
    cuts: dict[str, Slice] = {"downsample.norm.weight": four, "downsample.norm.bias": four,
                              "downsample.reduction.weight":
                                  segments(*[(16, 8)] * 4, rest=16, dim=1)}  # fmt: skip
    for stage, count in ((0, 2), (1, 4)):
        for block in range(2 - stage):
            here = f"layers.{stage}.blocks.{block}.attention."
            for part in ("query", "key", "value"):
                scale = SCALE if part == "query" else 1.0
                cut = heads_of(count, 4, 0, 8 << stage, scale)
                for inner in (f"self.{part}", f"{part[0]}_proj"):
                    cuts |= {f"{here}{inner}.{kind}": cut for kind in ("weight", "bias")}
            for inner in ("output.dense", "o_proj"):
                cuts[f"{here}{inner}.weight"] = heads_of(count, 4, 1, 8 << stage)
    check(big, small, {"pixel_values": torch.randn(2, 3, 16, 16)}, cuts, head_size=4)


# -- convolutional networks -------------------------------------------------------------------
def test_convnext() -> None:
    settings = {"hidden_sizes": [8, 16, 16, 24], "depths": [1, 2, 1, 1], "num_labels": 3}
    narrow = {"hidden_sizes": [4, 12, 8, 20]}
    big, small = pair_of("ConvNextForImageClassification", "ConvNextConfig", settings, narrow)
    check(big, small, {"pixel_values": torch.randn(2, 3, 32, 32)}, {})


def test_resnet() -> None:
    check(ResNet((8, 16)), ResNet((6, 4)), (torch.randn(2, 3, 8, 8),), {})


def efficientnet(stem: int, middle: int, last: int) -> nn.Module:
    shapes = ((stem, stem, 1, 3, 1), (stem, middle, 2, 5, 4), (middle, middle, 1, 5, 4),
              (middle, last, 2, 3, 4))  # fmt: skip
    blocks = (inverted(*shape, True, nn.SiLU) for shape in shapes)
    return nn.Sequential(conv(3, stem, 3, 2), *blocks, conv(last, 2 * last, 1), Head(2 * last))


def test_a_network_like_efficientnet() -> None:
    big, small = efficientnet(16, 24, 32), efficientnet(8, 16, 20)
    check(big, small, (torch.randn(2, 3, 32, 32),), {})


def test_densenet() -> None:
    big, small = DenseNet(growth=8), DenseNet(growth=4)
    cuts: dict[str, Slice] = {}
    for block, (full, kept) in (("first", (16, 16)), ("second", (20, 14))):
        for i in range(3):
            cut = segments((full, kept), *[(8, 4)] * i)
            for kind in ("weight", "bias", "running_mean", "running_var"):
                cuts[f"{block}.{i}.norm1.{kind}"] = cut
            cuts[f"{block}.{i}.conv1.weight"] = segments((full, kept), *[(8, 4)] * i, dim=1, rest=8)
    ends = {"transition.0": (16, 16), "norm": (20, 14)}
    for name, start in ends.items():
        for kind in ("weight", "bias", "running_mean", "running_var"):
            cuts[f"{name}.{kind}"] = segments(start, *[(8, 4)] * 3)
    cuts["transition.2.weight"] = segments((16, 16), *[(8, 4)] * 3, dim=1, rest=14)
    cuts["head.weight"] = segments((20, 14), *[(8, 4)] * 3, dim=1, rest=5)
    check(big, small, (torch.randn(2, 3, 8, 8),), cuts)
