"""IBN against torch's instance and batch norm, and where it is put in a ResNet."""

import pytest
import torch
from torch import nn

from supple.blocks.ibn import InstanceBatchNorm2d, InstanceNormAfter, feature_divergence, to_ibn
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_hand(block, x):
    mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    y = (x - mean) / (var + 1e-5).sqrt()  # the first norms are scale one and shift zero
    rest = block.batch_norm
    if rest is not None:
        first = x.shape[1] - rest.num_features
        y[:, first:] = x[:, first:] / (rest.running_var.view(-1, 1, 1) + 1e-5).sqrt()
    return y


CASES = {
    f"{channels} channels, ratio {ratio}": BlockCase(
        make=lambda c=channels, r=ratio: InstanceBatchNorm2d(num_features=c, ratio=r),
        example=drawn(3, channels, 4, 4),
        channel_dim=1,
        reference=by_hand,
        wrong_inputs=[drawn(2, 9, 4, 4), drawn(2, channels)],
        parameters=2 * channels,
    )
    for channels, ratio in ((6, 0.5), (7, 0.5), (4, 0.0), (4, 1.0))
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("training", [True, False])
def test_the_ends_are_batch_norm_and_instance_norm_to_the_bit(training):
    x = drawn(3, 4, 5, 5)
    for ratio, other in ((0.0, nn.BatchNorm2d(4)), (1.0, nn.InstanceNorm2d(4, affine=True))):
        block = InstanceBatchNorm2d(num_features=4, ratio=ratio).train(training)
        assert torch.equal(block(x), other.train(training)(x))


def test_the_instance_half_does_not_see_contrast_and_brightness():
    block, x = InstanceBatchNorm2d(num_features=6).double(), drawn(3, 6, 5, 5).double()
    scale, shift = drawn(3, 6, 1, 1, seed=1).double().exp(), drawn(3, 6, 1, 1, seed=2).double()
    before, after = block(x), block(x * scale + shift)
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-2)  # eps is not scaled
    assert not torch.allclose(before[:, 3:], after[:, 3:], atol=1e-1)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in "ab")
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.relu, self.downsample = nn.ReLU(), None

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(x + y)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        for i in range(1, 5):
            setattr(self, f"layer{i}", nn.Sequential(Block(8), Block(8)))

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def changed(model, twin):
    before = {name: type(m) for name, m in model.named_modules()}
    return {name for name, m in twin.named_modules() if before.get(name) is not type(m)}


def test_variant_a_replaces_the_first_norm_of_each_block_of_three_stages():
    model = ResNet()
    twin = to_ibn(model, variant="a")
    norms = {f"layer{i}.{j}.bn1" for i in (1, 2, 3) for j in (0, 1)}
    parts = {f"{name}.{part}" for name in norms for part in ("instance_norm", "batch_norm")}
    assert changed(model, twin) == norms | parts
    count = [sum(p.numel() for p in net.parameters()) for net in (model, twin)]
    assert count[0] == count[1]
    assert twin(drawn(2, 3, 8, 8)).shape == (2, 8, 6, 6)


def test_variant_b_norms_the_last_block_of_two_stages_and_the_stem():
    model = ResNet().eval()
    twin = to_ibn(model, variant="b")
    wrapped = {n for n, m in twin.named_modules() if isinstance(m, InstanceNormAfter)}
    assert wrapped == {"layer1.1", "layer2.1"}
    assert isinstance(twin.bn1, nn.InstanceNorm2d)
    # By hand: the block's sum before its last ReLU, normed.
    block, x = model.layer1[1], drawn(2, 8, 6, 6)
    total = x + block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    want = torch.relu(nn.functional.instance_norm(total))
    assert torch.allclose(twin.layer1[1](x), want, atol=1e-6)


def test_statistics_of_a_trained_norm_are_taken_over_for_the_batch_half():
    norm = nn.BatchNorm2d(5)
    norm(drawn(8, 5, 3, 3) * 3 + 1)
    made = InstanceBatchNorm2d.from_batch_norm(norm)
    assert torch.equal(made.batch_norm.running_var, norm.running_var[2:])
    assert torch.allclose(
        made.eval()(drawn(2, 5, 3, 3))[:, 2:], norm.eval()(drawn(2, 5, 3, 3))[:, 2:]
    )


def test_divergence_is_that_of_gaussians():
    """One channel passed on as it is: KL(p|q) + KL(q|p) in closed form."""
    net = nn.Sequential(nn.Identity())
    a, b = drawn(4000, 1, 2).double(), drawn(4000, 1, 2, seed=1).double() * 2 + 1
    found = feature_divergence(net, [a], [(b, None)], kinds=(nn.Identity,))["0"]
    p, q = (torch.distributions.Normal(v.mean(), v.std(correction=0)) for v in (a, b))
    kl = torch.distributions.kl_divergence
    assert found == pytest.approx(float(kl(p, q) + kl(q, p)), rel=1e-9)
    assert net.training


def test_errors():
    with pytest.raises(BlockError, match="single pixel"):
        InstanceBatchNorm2d(num_features=4)(drawn(2, 4, 1, 1))
    with pytest.raises(BlockError, match="from 0 to 1"):
        InstanceBatchNorm2d(num_features=4, ratio=1.5)
    with pytest.raises(BlockError, match="stage9"):
        to_ibn(ResNet(), stages=("stage9",))
