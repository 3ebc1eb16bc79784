"""Multi-output heads: several candidate answers, of which only the best one is punished.

Where one input has many right answers, the average of them is the answer of a single output and
often no right one at all. A head with H outputs and a loss on the best one per sample can name
several; averages of pairs give more candidates for free.

Paper 80: Liu et al., "Multi-Outputs Is All You Need For Deblur" (arXiv 2208.13029).
"""

# B batch, H heads, C channels

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from supple.blocks._checks import check_channels, check_features, check_positive, check_rank
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "MultiOutputHead",
    "best_of_heads_loss",
    "combined_answers",
    "head_losses",
    "head_usage",
    "oracle_metric",
    "single_head_metric",
]


@implements(80)
class MultiOutputHead(nn.Module):
    """A last layer with H times the outputs: (B, H, …) instead of (B, …).

    Args:
        head: The layer to multiply: an ``nn.Linear`` or ``nn.Conv2d`` (of one group). It is not
            changed; the first answer starts from its weights, the others from them with noise.
        num_heads: Answers H.
        combine: Whether the averages of all pairs are answers too; then there are H (H + 1) / 2.
        noise: Size of the noise, relative to the spread of the weights.

    Raises:
        BlockError: Fewer than one head, or a layer of another kind.

    Example:
        >>> block = MultiOutputHead(head=nn.Linear(8, 3), num_heads=4)
        >>> block(torch.randn(2, 8)).shape
        torch.Size([2, 10, 3])
    """

    def __init__(
        self,
        *,
        head: nn.Linear | nn.Conv2d,
        num_heads: int = 4,
        combine: bool = True,
        noise: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, num_heads=num_heads)
        is_plain = isinstance(head, nn.Linear) or (isinstance(head, nn.Conv2d) and head.groups == 1)
        if not is_plain:
            raise BlockError(
                f"MultiOutputHead got a {type(head).__name__} as head.",
                why="It multiplies the outputs of an nn.Linear or an nn.Conv2d of one group.",
                hint="wrap the last layer of the model only.",
            )
        self.num_heads = num_heads
        self.combine = combine
        self.noise = noise
        if isinstance(head, nn.Linear):
            self.in_features, self.out_features = head.in_features, head.out_features
        else:
            self.in_channels, self.out_channels = head.in_channels, head.out_channels
        self.layer = _wider(head, num_heads)
        self._outputs = head.weight.shape[0]
        with torch.no_grad():
            self.layer.weight.copy_(head.weight.repeat(num_heads, *[1] * (head.weight.dim() - 1)))
            if head.bias is not None:
                assert self.layer.bias is not None
                self.layer.bias.copy_(head.bias.repeat(num_heads))
        self.spread(generator)

    @torch.no_grad()
    def spread(self, generator: torch.Generator | None = None) -> None:
        """Adds the noise that sets the answers apart to all but the first."""
        weight = self.layer.weight[self._outputs :]
        if weight.numel():
            made = torch.empty_like(weight).normal_(generator=generator)
            spread = float(self.layer.weight[: self._outputs].std(correction=0))
            weight.add_(made * (self.noise * spread))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """New weights for every answer."""
        bound = 1 / math.sqrt(self.layer.weight[0].numel())
        nn.init.uniform_(self.layer.weight, -bound, bound, generator=generator)
        if self.layer.bias is not None:
            nn.init.uniform_(self.layer.bias, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """The answers in dimension 1: those of the heads first, then the averages of pairs."""
        if isinstance(self.layer, nn.Linear):
            check_features(self, x, self.layer.in_features)
        else:
            check_rank(self, x, exactly=4)
            check_channels(self, x, self.layer.in_channels)
        y = self.layer(x)
        dim = y.dim() - 1 if isinstance(self.layer, nn.Linear) else 1
        y = y.unflatten(dim, (self.num_heads, self._outputs)).movedim(dim, 1)
        return combined_answers(y) if self.combine else y

    @torch.no_grad()
    def select(self, index: int) -> nn.Module:
        """The plain layer of one answer, for use without the others."""
        if not 0 <= index < self.num_heads:
            raise BlockError(
                f"MultiOutputHead was asked for head {index}.",
                why=f"It has heads 0 to {self.num_heads - 1}.",
                hint="pass one of these.",
                index=index,
            )
        one = _wider(self.layer, 1, self._outputs)
        rows = slice(index * self._outputs, (index + 1) * self._outputs)
        one.weight.copy_(self.layer.weight[rows])
        if self.layer.bias is not None:
            assert one.bias is not None
            one.bias.copy_(self.layer.bias[rows])
        return one.train(self.training)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"num_heads={self.num_heads}, combine={self.combine}"


def _wider(
    head: nn.Linear | nn.Conv2d, times: int, outputs: int | None = None
) -> nn.Linear | nn.Conv2d:
    made: nn.Linear | nn.Conv2d
    has_bias, like = head.bias is not None, head.weight
    outputs = (like.shape[0] if outputs is None else outputs) * times
    if isinstance(head, nn.Linear):
        made = nn.Linear(
            head.in_features, outputs, bias=has_bias, device=like.device, dtype=like.dtype
        )
    else:
        made = nn.Conv2d(
            head.in_channels,
            outputs,
            head.kernel_size,  # type: ignore[arg-type]
            stride=head.stride,  # type: ignore[arg-type]
            padding=head.padding,  # type: ignore[arg-type]
            dilation=head.dilation,  # type: ignore[arg-type]
            bias=has_bias,
            padding_mode=head.padding_mode,
            device=like.device,
            dtype=like.dtype,
        )
    return made


def combined_answers(outputs_BH: Tensor) -> Tensor:
    """The answers and the averages of all pairs of them: H (H + 1) / 2, the answers first.

    Example:
        >>> combined_answers(torch.tensor([[1.0, 3.0]]))
        tensor([[1., 3., 2.]])
    """
    heads = outputs_BH.shape[1]
    one = [outputs_BH[:, i] for i in range(heads)]
    pairs = [(one[i] + one[j]) / 2 for i in range(heads) for j in range(i)]
    return torch.stack([*one, *pairs], dim=1)


Loss = Literal["mse", "psnr"] | Callable[[Tensor, Tensor], Tensor]


def head_losses(prediction_BH: Tensor, target_B: Tensor, loss: Loss = "mse") -> Tensor:
    """The loss of each answer for each sample, (B, H), averaged over everything else.

    Args:
        prediction_BH: Answers (B, H, …).
        target_B: Targets (B, …), without the dimension of the heads.
        loss: ``"mse"``, or a function of two tensors that gives the loss of each element.

    Raises:
        BlockError: The target has another shape than one answer.

    Example:
        >>> head_losses(torch.tensor([[1.0, 3.0]]), torch.tensor([1.0]))
        tensor([[0., 4.]])
    """
    if prediction_BH.shape[:1] + prediction_BH.shape[2:] != target_B.shape:
        raise BlockError(
            f"the answers have shape {tuple(prediction_BH.shape)}, "
            f"the target {tuple(target_B.shape)}.",
            why="A target is one answer: (batch, …) for answers (batch, heads, …).",
            hint="leave the dimension of the heads out of the target.",
        )
    target = target_B.unsqueeze(1)
    if callable(loss):
        each = loss(prediction_BH, target.expand_as(prediction_BH))
    else:
        each = (prediction_BH - target).square()
    return each.flatten(2).mean(2) if each.dim() > 2 else each


@implements(80)
def best_of_heads_loss(
    prediction_BH: Tensor, target_B: Tensor, loss: Loss = "mse", *, relax: float = 0.0
) -> Tensor:
    """The loss of the best answer of each sample, averaged; the others get no gradient.

    Args:
        prediction_BH: Answers (B, H, …).
        target_B: Targets (B, …).
        loss: ``"mse"``, ``"psnr"`` (ten times the base-10 logarithm of the best answer's mean
            square), or a function of two tensors that gives the loss of each element.
        relax: Share of the loss that the other answers bear together, against answers that
            never win and so never learn.

    Example:
        >>> best_of_heads_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([1.0])).item()
        0.0
    """
    losses = head_losses(prediction_BH, target_B, "mse" if loss == "psnr" else loss)
    best = losses.amin(1)
    if relax and losses.shape[1] > 1:
        others = (losses.sum(1) - best) / (losses.shape[1] - 1)
        best = (1 - relax) * best + relax * others
    if loss == "psnr":
        return 10 / math.log(10) * torch.log(best + 1e-8).mean()
    return best.mean()


def oracle_metric(prediction_BH: Tensor, target_B: Tensor, loss: Loss = "mse") -> float:
    """Mean loss of the best answer of each sample: it needs the target, so no user has it.

    Example:
        >>> oracle_metric(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([1.0, 3.0]))
        0.0
    """
    return float(head_losses(prediction_BH, target_B, loss).amin(1).mean())


def single_head_metric(prediction_BH: Tensor, target_B: Tensor, loss: Loss = "mse") -> float:
    """Mean loss of the one answer that is best over all samples: what a user gets.

    Example:
        >>> single_head_metric(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([1.0, 3.0]))
        2.0
    """
    return float(head_losses(prediction_BH, target_B, loss).mean(0).amin())


def head_usage(prediction_BH: Tensor, target_B: Tensor, loss: Loss = "mse") -> Tensor:
    """The share of samples for which each answer is the best, (H,).

    Example:
        >>> head_usage(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([1.0, 3.0]))
        tensor([0.5000, 0.5000])
    """
    losses = head_losses(prediction_BH, target_B, loss)
    return torch.bincount(losses.argmin(1), minlength=losses.shape[1]) / len(losses)
