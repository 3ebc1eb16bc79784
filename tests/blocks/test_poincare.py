"""The Poincaré ball and its layers against closed forms, unfolding and the Euclidean limit."""

import math

import pytest
import torch
from torch import nn

from supple.blocks.poincare import (
    PoincareBall,
    PoincareBatchNorm2d,
    PoincareBlock,
    PoincareConv2d,
    PoincareLinear,
    PoincareResNet,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def points(*shape, seed=0, radius=0.8):
    v = drawn(*shape, seed=seed).double()
    return (
        v
        / v.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        * radius
        * torch.rand(
            (*shape[:-1], 1),
            generator=torch.Generator().manual_seed(seed + 50),
            dtype=torch.float64,
        )
    )


BALL = PoincareBall(c=0.7, dtype=torch.float64)


# -- the ball; in the plane Möbius addition is (x + y) / (1 + conj(x) y) of complex numbers --------
def as_complex(x):
    return torch.complex(x[..., 0], x[..., 1])


def test_addition_is_that_of_complex_numbers_in_the_plane():
    ball = PoincareBall(c=1.0, dtype=torch.float64)
    x, y = points(20, 2), points(20, 2, seed=1)
    a, b = as_complex(x), as_complex(y)
    assert torch.allclose(as_complex(ball.add(x, y)), (a + b) / (1 + a.conj() * b), atol=1e-12)
    gyration = (1 + a * b.conj()) / (1 + a.conj() * b)
    turned = ball._gyrate(x, y, points(20, 2, seed=2), -1)
    assert torch.allclose(
        as_complex(turned), gyration * as_complex(points(20, 2, seed=2)), atol=1e-9
    )


def test_distance_is_that_of_the_textbook():
    x, y, c = points(20, 3), points(20, 3, seed=1), 0.7
    gap = (x - y).square().sum(-1)
    free = (1 - c * x.square().sum(-1)) * (1 - c * y.square().sum(-1))
    want = torch.acosh(1 + 2 * c * gap / free) / math.sqrt(c)
    assert torch.allclose(BALL.distance(x, y)[..., 0], want, atol=1e-9)


def test_maps_are_inverse_and_lengths_are_distances():
    x, y = points(20, 3), points(20, 3, seed=1)
    assert torch.allclose(BALL.expmap(x, BALL.logmap(x, y)), y, atol=1e-8)
    assert torch.allclose(BALL.expmap0(BALL.logmap0(x)), x, atol=1e-9)
    zero = torch.zeros_like(x)
    assert torch.allclose(BALL.logmap(zero, y) * 1.0, BALL.logmap0(y), atol=1e-9)
    length = BALL.conformal_factor(x) * BALL.logmap(x, y).norm(dim=-1, keepdim=True)
    assert torch.allclose(length, BALL.distance(x, y), atol=1e-9)


def test_transport_keeps_lengths_and_carries_directions_along_the_geodesic():
    x, y, v = points(20, 3), points(20, 3, seed=1), points(20, 3, seed=2)
    moved = BALL.transport(x, y, v)
    lengths = [
        BALL.conformal_factor(p) * t.norm(dim=-1, keepdim=True) for p, t in ((x, v), (y, moved))
    ]
    assert torch.allclose(*lengths, atol=1e-9)
    assert torch.allclose(BALL.transport(x, y, BALL.logmap(x, y)), -BALL.logmap(y, x), atol=1e-8)


def test_the_midpoint_is_near_the_exact_mean_and_exact_for_two():
    x = points(400, 3, radius=0.6)
    exact, near = BALL.frechet_mean(x), BALL.midpoint(x)
    assert BALL.logmap(exact, x).mean(0).norm() < 1e-8  # what defines the exact one
    spread = BALL.distance(exact, x).mean()
    assert BALL.distance(exact, near).item() < 0.02 * spread.item()
    two = points(2, 3)
    half = BALL.expmap(two[0], BALL.logmap(two[0], two[1]) / 2)
    assert torch.allclose(BALL.midpoint(two), half, atol=1e-9)


def test_points_stay_inside_and_small_curvature_is_flat():
    assert (PoincareBall(c=2.0).expmap0(drawn(5, 3) * 100).norm(dim=-1) < 1 / math.sqrt(2)).all()
    flat = PoincareBall(c=1e-8, dtype=torch.float64)
    x, y = points(5, 3), points(5, 3, seed=1)
    assert torch.allclose(flat.add(x, y), x + y, atol=1e-6)
    assert torch.allclose(flat.midpoint(x), x.mean(0), atol=1e-6)
    assert torch.allclose(flat.distance(x, y)[:, 0], 2 * (x - y).norm(dim=-1), atol=1e-6)


# -- layers ---------------------------------------------------------------------------------------
def fully_connected(ball, p, z, r):
    """HNN++ as printed: rows z_k, offsets r_k, points in and out."""
    c, out = ball.c, []
    factor = 2 / (1 - c * (p * p).sum(-1))
    for z_k, r_k in zip(z, r, strict=True):
        size = z_k.norm()
        inner = (math.sqrt(c) * p) @ (z_k / size)
        turn = 2 * math.sqrt(c) * r_k
        inside = factor * inner * torch.cosh(turn) - (factor - 1) * torch.sinh(turn)
        out.append(2 * size / math.sqrt(c) * torch.asinh(inside))
    w = torch.sinh(math.sqrt(c) * torch.stack(out, -1)) / math.sqrt(c)
    return w / (1 + torch.sqrt(1 + c * (w * w).sum(-1, keepdim=True)))


def linear_by_hand(block, x):
    y = fully_connected(block.ball, block.ball.expmap0(x), block.weight, block.bias)
    return block.ball.logmap0(y)


def convolved_by_hand(block, x):
    """The patches unfolded and put on the ball, one by one."""
    patches = nn.functional.unfold(
        x * block.patch_scale, block.kernel_size, padding=block.padding, stride=block.stride
    ).transpose(1, 2)
    y = fully_connected(
        block.ball, block.ball.expmap0(patches), block.weight.flatten(1), block.bias
    )
    y = block.ball.logmap0(y).transpose(1, 2)
    side = (x.shape[2] + 2 * block.padding - block.kernel_size) // block.stride + 1
    return y.unflatten(2, (side, -1))


def normed_by_hand(block, x):
    ball = block.ball
    p = ball.expmap0(x.movedim(1, -1))
    mean, goal = ball.expmap0(block.running_mean), ball.expmap0(block.mean)
    scale = (block.var / (block.running_var + block.eps)).sqrt()
    moved = ball.expmap(goal, scale * ball.transport(mean, goal, ball.logmap(mean, p)))
    return ball.logmap0(moved).movedim(-1, 1)


def unlike(block):
    """With weights that are not the first ones."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in [*block.named_parameters(), *block.named_buffers()]:
            if "log_c" not in name:
                value.add_(torch.empty_like(value).normal_(std=0.2, generator=draw).abs())
    return block


CASES = {
    "linear": BlockCase(
        make=lambda: unlike(PoincareLinear(in_features=5, out_features=3)),
        example=drawn(4, 5),
        reference=linear_by_hand,
        tolerance=1e-9,
        wrong_inputs=[drawn(2, 6)],
        parameters=5 * 3 + 3,
    ),
    "convolution": BlockCase(
        make=lambda: unlike(
            PoincareConv2d(in_channels=4, out_channels=5, kernel_size=3, padding=1, stride=2)
        ),
        example=drawn(3, 4, 5, 5),
        channel_dim=1,
        reference=convolved_by_hand,
        tolerance=1e-9,
        wrong_inputs=[drawn(2, 5, 5, 5), drawn(2, 4)],
        parameters=4 * 5 * 9 + 5,
    ),
    "batch norm": BlockCase(
        make=lambda: unlike(PoincareBatchNorm2d(num_features=4)),
        example=drawn(3, 4, 2, 2),
        channel_dim=1,
        reference=normed_by_hand,
        wrong_inputs=[drawn(2, 5, 2, 2), drawn(2, 4)],
        parameters=4 + 1,
        cannot={"removed_equals_zeroed": "the mean of a removed channel is gone, not zero"},
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_layers_start_as_the_identity():
    x = drawn(5, 6).double()
    block = PoincareLinear(in_features=6, out_features=6, dtype=torch.float64)
    assert torch.allclose(block(x), x, atol=1e-9)
    conv = PoincareConv2d(in_channels=4, out_channels=4, kernel_size=1, dtype=torch.float64)
    maps = drawn(2, 4, 3, 3).double()
    assert torch.allclose(conv(maps), maps, atol=1e-9)


def test_the_flat_limit_is_a_linear_map_and_batch_norm():
    flat = PoincareBall(c=1e-9, dtype=torch.float64)
    block = unlike(PoincareLinear(in_features=6, out_features=4, ball=flat, dtype=torch.float64))
    x = drawn(5, 6).double()
    # The ball counts lengths double, so the weights are half and the offset is that of a plane.
    want = 2 * (x @ block.weight.T - block.bias * block.weight.norm(dim=1))
    assert torch.allclose(block(x), want, atol=1e-6)
    norm = PoincareBatchNorm2d(num_features=3, ball=flat, dtype=torch.float64)
    maps = drawn(4, 3, 3, 3).double() * 2 + 1
    centred = maps - maps.mean((0, 2, 3), keepdim=True)
    size = (4 * centred.square().sum(1).mean()).sqrt()
    assert torch.allclose(norm(maps), centred / size, atol=1e-5)


@pytest.mark.parametrize("use", ["midpoint", "frechet"])
def test_training_gives_the_learned_mean_and_variance(use):
    norm = PoincareBatchNorm2d(num_features=3, use=use, momentum=1.0, dtype=torch.float64)
    with torch.no_grad():
        norm.mean.copy_(torch.tensor([0.4, -0.2, 0.1]))
        norm.var.fill_(0.25)
    y = norm(drawn(8, 3, 4, 4).double() + 1)
    p = norm.ball.expmap0(y.movedim(1, -1).flatten(0, 2))
    mean = norm.ball.expmap0(norm.mean)
    assert norm.ball.distance(mean, p).square().mean().item() == pytest.approx(0.25, rel=1e-4)
    if use == "frechet":
        assert norm.ball.logmap(mean, p).mean(0).norm() < 1e-6
    assert float(norm.running_var) > 0.25


def test_the_network_trains_and_curvature_is_learned():
    net = PoincareResNet(depth=8, widths=(4, 4, 8), num_classes=3, is_learnable=True)
    x, y = drawn(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert net.ball.c.item() != pytest.approx(0.1)
    assert [type(b) for b in net.blocks] == [PoincareBlock] * 3


def test_errors():
    with pytest.raises(BlockError, match="above zero"):
        PoincareBall(c=0.0)
    with pytest.raises(BlockError, match="not a multiple of 6"):
        PoincareResNet(depth=9)
