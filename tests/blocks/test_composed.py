"""Blocks that are made of other blocks, and that no block is without its checks."""

import importlib
import inspect
import math
import pkgutil

import torch
import torch.nn.functional as F
from torch import nn

import supple.blocks
import tests.blocks
from supple.blocks import (
    AFKAN,
    KAN,
    FullyBundled,
    HermiteActivation,
    HourglassBlock,
    InstanceNormAfter,
    PHConv3d,
    PoincareBlock,
    WideEncoderLayer,
)
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def hermite(act, z):
    """a_0 + a_1 z + a_2 (z^2 - 1) / sqrt 2, coefficients scaled to length one."""
    a = torch.tensor([1.0, 2.0, 2.0], dtype=z.dtype) / 3
    return a[0] + a[1] * z + a[2] * (z**2 - 1) / math.sqrt(2)


def one_after_the_other(net, x):
    for layer in net:
        x = layer(x)
    return x


def hourglass(block, z):
    mean, var = z.mean(-1, keepdim=True), z.var(-1, correction=0, keepdim=True)
    y = (z - mean) / (var + 1e-5).sqrt() @ block.narrow.weight.T
    return z + (y * 0.5 * (1 + torch.erf(y / math.sqrt(2)))) @ block.widen.weight.T


def place_by_place(layer, x):
    """The convolution from its plain weight, one Kronecker product for each unit and place."""
    window = layer.blocks.shape[3:]
    places = layer.blocks.flatten(3)
    weight = torch.stack(
        [
            sum(torch.kron(layer.rules[i], places[i, ..., w]) for i in range(layer.n))
            for w in range(places.shape[-1])
        ],
        -1,
    )
    return F.conv3d(x, weight.reshape(*weight.shape[:2], *window), layer.bias, padding=1)


def transformer_layer(layer, x):
    """torch's own, which this one equals where heads times head size is the embedding."""
    width, heads = layer.in_features, layer.attention.num_heads
    plain = nn.TransformerEncoderLayer(width, heads, 6, dropout=0, batch_first=True).to(x.dtype)
    own = layer.attention
    with torch.no_grad():
        plain.self_attn.in_proj_weight.copy_(
            torch.cat([own.query.weight, own.key.weight, own.value.weight])
        )
        plain.self_attn.in_proj_bias.copy_(
            torch.cat([own.query.bias, own.key.bias, own.value.bias])
        )
        plain.self_attn.out_proj.load_state_dict(own.out.state_dict())
        for name in ("norm1", "norm2", "linear1", "linear2"):
            getattr(plain, name).load_state_dict(getattr(layer, name).state_dict())
    return plain.eval()(x)


def mobius_sum(block, x):
    """The block with the ball's addition written out."""
    ball = block.ball
    y = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    c = ball.c

    def onto(v):
        size = v.norm(dim=1, keepdim=True).clamp_min(1e-15)
        return torch.tanh(c.sqrt() * size) * v / (c.sqrt() * size)

    a, b = onto(y), onto(block.skip(x))
    inner = (a * b).sum(1, keepdim=True)
    aa, bb = a.square().sum(1, keepdim=True), b.square().sum(1, keepdim=True)
    total = ((1 + 2 * c * inner + c * bb) * a + (1 - c * aa) * b) / (
        1 + 2 * c * inner + c**2 * aa * bb
    )
    size = total.norm(dim=1, keepdim=True).clamp_min(1e-15)
    return torch.relu(torch.atanh(c.sqrt() * size) * total / (c.sqrt() * size))


def features_of_features(block, x):
    for level in block.levels:
        given = torch.cat([x, torch.ones_like(x[..., :1])], -1)
        x = torch.relu(given @ level.directions.T) / math.sqrt(len(level.directions))
    return x @ block.theta.T


class BasicBlock(nn.Module):
    """As torchvision names its parts."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.downsample = None


def normed_at_the_end(wrapped, x):
    block = wrapped.block
    y = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x))))) + x
    mean, var = y.mean((2, 3), keepdim=True), y.var((2, 3), correction=0, keepdim=True)
    return torch.relu((y - mean) / (var + 1e-5).sqrt())  # scale one and shift zero at first


NORM = {"removed_equals_zeroed": "statistics are over what is there"}
CASES = {
    "kan": BlockCase(
        make=lambda: KAN([5, 4, 3], basis="rbf", count=3), example=drawn(4, 5),
        reference=one_after_the_other, wrong_inputs=[torch.ones(4, 6)],
        parameters=(5 * 4 + 4 * 3) * 3 + 4 + 3, elastic=("in", "inside", "out"),
    ),
    "af-kan": BlockCase(
        make=lambda: AFKAN([5, 4, 3]), example=drawn(4, 5), reference=one_after_the_other,
        wrong_inputs=[torch.ones(4, 6)], elastic=("inside", "out"), cannot=NORM,
    ),
    "hermite": BlockCase(
        make=lambda: HermiteActivation([1.0, 2.0, 2.0]), example=drawn(3, 5), reference=hermite,
        parameters=0, macs=0,
    ),
    "hourglass block": BlockCase(
        make=lambda: HourglassBlock(6, 3), example=drawn(4, 6), reference=hourglass,
        wrong_inputs=[torch.ones(4, 5)], parameters=2 * 6 * 3, macs=2 * 6 * 3,
        elastic=("in", "inside", "out", "depth"), cannot=NORM,
    ),
    "hypercomplex convolution over volumes": BlockCase(
        make=lambda: PHConv3d(4, 4, 3, n=2, padding=1), example=drawn(3, 4, 3, 4, 3),
        channel_dim=1, reference=place_by_place, parameters=2**3 + 4 * 4 * 27 // 2 + 4,
        wrong_inputs=[torch.ones(2, 3, 3, 4, 3)], elastic=("in", "inside", "out"),
    ),
    "wide encoder layer": BlockCase(
        make=lambda: WideEncoderLayer(
            in_features=4, num_heads=2, head_dim=2, hidden_features=6
        ),
        example=drawn(3, 4, 4), reference=transformer_layer, wrong_inputs=[torch.ones(3, 4, 5)],
        parameters=4 * (4 * 4 + 4) + 2 * 4 * 6 + 6 + 4 + 4 * 4,
        elastic=("in", "inside", "out", "depth"), cannot=NORM,
    ),
    "poincare block": BlockCase(
        make=lambda: PoincareBlock(in_channels=3, out_channels=3), example=drawn(3, 3, 4, 4),
        channel_dim=1, reference=mobius_sum, tolerance=1e-8, elastic=("in", "inside", "out"),
        wrong_inputs=[torch.ones(3, 4, 4, 4)],
    ),
    "fully bundled": BlockCase(
        make=lambda: FullyBundled(in_features=6, out_features=3, num_features=(12, 8)),
        example=drawn(4, 6), reference=features_of_features, wrong_inputs=[torch.ones(4, 5)],
        parameters=3 * 8, elastic=("in", "inside", "out"),
        cannot={"removed_equals_zeroed": "fewer features are scaled by their own number"},
    ),
    "instance norm after a block": BlockCase(
        make=lambda: InstanceNormAfter(BasicBlock(), 4), example=drawn(3, 4, 4, 4),
        channel_dim=1, reference=normed_at_the_end, elastic=("in", "inside", "out", "depth"),
        parameters=2 * 4 * 4 * 9 + 6 * 4,
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


ELSEWHERE = {
    "KolmogorovArnoldOperator": "runs inside KolmogorovArnoldAttention, whose case checks it",
    "PoincareBall": "a geometry, not a layer: its laws are in test_poincare.py",
    "PoincareResNet": "stages of PoincareBlock with a PoincareLinear head",
    "UnivariateBasis": "what bases have in common; KANLinear is checked with five of them",
    "WideEncoder": "takes token numbers, which have no gradient; its layer is checked here",
}


def test_every_block_is_checked():
    checked = set()
    for file in pkgutil.walk_packages(tests.blocks.__path__, "tests.blocks."):
        if file.name.rpartition(".")[2].startswith("test_"):
            cases = getattr(importlib.import_module(file.name), "CASES", {})
            checked |= {type(case.make()).__name__ for case in cases.values()}
    public = {
        name
        for name in supple.blocks.__all__
        if inspect.isclass(thing := getattr(supple.blocks, name)) and issubclass(thing, nn.Module)
    }
    assert public - checked == set(ELSEWHERE)
