"""IBN: instance normalisation for some channels, batch normalisation for the others.

Instance norm removes what the look of an image decides (colour, contrast, style), batch norm
keeps what it shows. Mixed in the shallow half of a network they help on domains never seen.

Paper 92: Pan, Luo, Shi, Tang, "Two at Once: Enhancing Learning and Generalization Capacities via
IBN-Net" (arXiv 1807.09441).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supple.blocks._checks import check_channels, check_option, check_positive, check_rank
from supple.blocks._reset import reset
from supple.errors import BlockError, near_misses
from supple.papers import implements

__all__ = ["InstanceBatchNorm2d", "InstanceNormAfter", "feature_divergence", "to_ibn"]


@implements(92)
class InstanceBatchNorm2d(nn.Module):
    """Instance norm for the first ``floor(ratio * C)`` channels, batch norm for the rest.

    Args:
        num_features: Number of channels C, at least 2.
        ratio: Share of the channels with instance norm; 0 is batch norm, 1 instance norm.
        eps: Added to variances.
        momentum: Weight of the newest batch in the moving averages.
        affine: Whether there is a scale and a shift for each channel.
        track_running_stats: Whether the batch norm keeps averages for evaluation.

    Raises:
        BlockError: Settings out of range, or an input of one pixel in training.

    Example:
        >>> InstanceBatchNorm2d(num_features=6)(torch.randn(2, 6, 4, 4)).shape
        torch.Size([2, 6, 4, 4])
    """

    def __init__(
        self,
        *,
        num_features: int,
        ratio: float = 0.5,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, num_features=num_features - 1, eps=eps)
        if not 0 <= ratio <= 1:
            raise BlockError(
                f"InstanceBatchNorm2d got ratio={ratio!r}.",
                why="It is the share of the channels with instance norm, from 0 to 1.",
                hint="ratio=0.5 is the paper's.",
                ratio=ratio,
            )
        self.num_features = num_features
        self.ratio = ratio
        self.instance_features = int(num_features * ratio)
        rest = num_features - self.instance_features
        made: dict[str, Any] = {"eps": eps, "affine": affine, "device": device, "dtype": dtype}
        self.instance_norm = (
            nn.InstanceNorm2d(self.instance_features, **made) if self.instance_features else None
        )
        self.batch_norm = (
            nn.BatchNorm2d(rest, momentum=momentum, track_running_stats=track_running_stats, **made)
            if rest
            else None
        )

    def reset_parameters(self) -> None:
        """Scales one, shifts zero, no statistics."""
        for norm in (self.instance_norm, self.batch_norm):
            if norm is not None:
                norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, C, height, width) to the same shape."""
        check_rank(self, x, exactly=4)
        check_channels(self, x, self.num_features)
        if self.training and self.instance_norm is not None and x.shape[2] * x.shape[3] == 1:
            raise BlockError(
                f"InstanceBatchNorm2d got an input of shape {tuple(x.shape)} in training.",
                why="A single pixel has no variance, so instance norm is undefined.",
                hint="use it before the last pooling, or ratio=0.",
                shape=tuple(x.shape),
            )
        if self.batch_norm is None:
            assert self.instance_norm is not None
            return self.instance_norm(x)  # type: ignore[no-any-return]
        if self.instance_norm is None:
            return self.batch_norm(x)  # type: ignore[no-any-return]
        first = self.instance_features
        a, b = torch.split(x, [first, x.shape[1] - first], dim=1)
        return torch.cat((self.instance_norm(a), self.batch_norm(b)), dim=1)

    @classmethod
    def from_batch_norm(cls, norm: nn.BatchNorm2d, *, ratio: float = 0.5) -> InstanceBatchNorm2d:
        """Takes over scale and shift, and the statistics of the channels that keep batch norm."""
        like = norm.weight if norm.affine else norm.running_mean
        made = cls(
            num_features=norm.num_features,
            ratio=ratio,
            eps=norm.eps,
            momentum=0.1 if norm.momentum is None else norm.momentum,
            affine=norm.affine,
            track_running_stats=norm.track_running_stats,
            device=None if like is None else like.device,
            dtype=None if like is None else like.dtype,
        )
        first = made.instance_features
        with torch.no_grad():
            for part, kept in (
                (made.instance_norm, slice(0, first)),
                (made.batch_norm, slice(first, None)),
            ):
                if part is not None and norm.affine:
                    part.weight.copy_(norm.weight[kept])
                    part.bias.copy_(norm.bias[kept])
            if made.batch_norm is not None and norm.running_mean is not None:
                assert norm.running_var is not None
                made.batch_norm.running_mean.copy_(norm.running_mean[first:])  # type: ignore[union-attr]
                made.batch_norm.running_var.copy_(norm.running_var[first:])  # type: ignore[union-attr]
        return made.train(norm.training)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"num_features={self.num_features}, ratio={self.ratio}"


class InstanceNormAfter(nn.Module):
    """A residual block with instance norm on its output (the IBN-b of the paper).

    The paper puts the norm between the addition and the last ReLU; that ReLU is therefore taken
    out of the block and comes after the norm.

    Args:
        block: A block that ends in its attribute ``relu``, as those of torchvision do, with the
            attributes ``conv1``, ``bn1``, … and ``downsample`` (or None).
        num_features: Channels of its output.

    Example:
        >>> from supple.blocks.ibn import InstanceNormAfter  # used by to_ibn(variant="b")
        >>> InstanceNormAfter.__name__
        'InstanceNormAfter'
    """

    def __init__(self, block: nn.Module, num_features: int) -> None:
        super().__init__()
        self.block = block
        like = next(block.parameters())
        self.norm = nn.InstanceNorm2d(
            num_features, affine=True, device=like.device, dtype=like.dtype
        )

    def reset_parameters(self) -> None:
        """Those of the norm and of all layers of the block."""
        self.norm.reset_parameters()
        reset(self.block)

    def forward(self, x: Tensor) -> Tensor:
        """The block with the norm between the addition and the last ReLU."""
        block: Any = self.block
        last = 3 if hasattr(block, "conv3") else 2
        out = x
        for i in range(1, last + 1):
            out = getattr(block, f"bn{i}")(getattr(block, f"conv{i}")(out))
            if i < last:
                out = torch.relu(out)
        skip = x if block.downsample is None else block.downsample(x)
        return torch.relu(self.norm(out + skip))


@implements(92)
def to_ibn(
    model: nn.Module,
    *,
    variant: Literal["a", "b"] = "a",
    stages: Sequence[str] | None = None,
    ratio: float = 0.5,
) -> nn.Module:
    """A copy of a ResNet with IBN layers.

    Variant a: the first norm (``bn1``) of every block of the stages becomes IBN. Variant b: the
    last block of each stage gets instance norm after its addition, and the norm after the stem
    becomes instance norm.

    Args:
        model: A ResNet with torchvision's names (``bn1``, ``layer1`` … with ``conv1``, ``bn1``).
        variant: Which form.
        stages: Names of the stages; by default the first three for a, the first two for b.
        ratio: Share of the channels with instance norm, for variant a.

    Raises:
        BlockError: A stage is not there.

    Example:
        >>> from supple.blocks.ibn import to_ibn
        >>> to_ibn(nn.Sequential(), stages=())
        Sequential()
    """
    twin = copy.deepcopy(model)
    check_option(twin, "variant", variant, ("a", "b"))
    chosen = ("layer1", "layer2", "layer3")[: 3 if variant == "a" else 2]
    for name in chosen if stages is None else stages:
        stage = getattr(twin, name, None)
        if not isinstance(stage, nn.Module):
            children = [child for child, _ in twin.named_children()]
            raise BlockError(
                f"to_ibn was asked for the stage {name!r} of {type(twin).__name__}.",
                why="The model has no part of that name.",
                hint=near_misses(name, children),
                stage=name,
            )
        blocks = list(stage.named_children())
        if variant == "a":
            for _, block in blocks:
                block.bn1 = InstanceBatchNorm2d.from_batch_norm(block.bn1, ratio=ratio)  # type: ignore[arg-type]
        elif blocks:
            last, block = blocks[-1]
            final: Any = block.bn3 if hasattr(block, "bn3") else block.bn2
            setattr(stage, last, InstanceNormAfter(block, final.num_features).train(block.training))
    if variant == "b" and isinstance(getattr(twin, "bn1", None), nn.BatchNorm2d):
        twin.bn1 = _instance_like(twin.bn1)  # type: ignore[arg-type]
    return twin


def _instance_like(norm: nn.BatchNorm2d) -> nn.InstanceNorm2d:
    made = nn.InstanceNorm2d(
        norm.num_features,
        eps=norm.eps,
        affine=True,
        device=norm.weight.device,
        dtype=norm.weight.dtype,
    )
    made.load_state_dict({"weight": norm.weight.data, "bias": norm.bias.data})
    return made.train(norm.training)


@implements(92)
def feature_divergence(
    model: nn.Module,
    first: Iterable[Any],
    second: Iterable[Any],
    *,
    kinds: tuple[type[nn.Module], ...] = (nn.ReLU,),
) -> dict[str, float]:
    """How far apart two domains are in each layer: symmetric KL of channel-wise Gaussians.

    Every channel's values over samples and pixels are taken as Gaussian; the divergence
    ``KL(p|q) + KL(q|p)`` is averaged over channels. The paper uses it to show that shallow
    layers differ in appearance and deep ones in content.

    Args:
        model: Any module; it is run in evaluation mode and then as it was.
        first: Batches of one domain: tensors, or sequences whose first item is the tensor.
        second: Batches of the other.
        kinds: Modules whose outputs are compared.

    Returns:
        The divergence by module name, 0 for equal distributions.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
        >>> x = [torch.ones(2, 1, 5, 5)]
        >>> feature_divergence(net, x, x)
        {'1': 0.0}
    """
    a, b = (_moments(model, batches, kinds) for batches in (first, second))
    found = {}
    for name, (mean_a, var_a) in a.items():
        mean_b, var_b = b[name]
        gap = (mean_a - mean_b).square()
        # KL(p|q) + KL(q|p) of two Gaussians; the logarithms cancel.
        both = (var_a + gap) / (2 * var_b) + (var_b + gap) / (2 * var_a) - 1
        found[name] = float(both.mean())
    return found


def _moments(
    model: nn.Module, batches: Iterable[Any], kinds: tuple[type[nn.Module], ...]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of every channel, by name of the module."""
    sums: dict[str, list[Tensor]] = {}

    def collect(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            values = output.detach().double().transpose(0, 1).flatten(1)
            count = torch.full_like(values[:, 0], values.shape[1])
            here = [count, values.sum(1), values.square().sum(1)]
            before = sums.get(name)
            sums[name] = (
                here if before is None else [x + y for x, y in zip(before, here, strict=True)]
            )

        return hook

    modes = {module: module.training for module in model.modules()}
    handles = [
        m.register_forward_hook(collect(n))
        for n, m in model.named_modules()
        if isinstance(m, kinds)
    ]
    try:
        model.eval()
        with torch.no_grad():
            for batch in batches:
                model(batch if isinstance(batch, Tensor) else batch[0])
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    result = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count
        # A dead channel has no variance; a small floor keeps the ratio finite.
        result[name] = mean, (squares / count - mean.square()).clamp_min(1e-8)
    return result
