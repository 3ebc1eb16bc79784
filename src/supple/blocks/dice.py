"""Dice: a leaky rectifier whose corner follows the data.

``f(x) = p x + (1 - p) alpha x`` with ``p = sigmoid((x - mean) / std)`` for each channel: PReLU
turns hard at zero, Dice softly at the mean of what it sees. Statistics are those of the batch in
training and moving averages in evaluation.

Paper 48: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction" (arXiv
1706.06978).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._checks import check_channels, check_positive
from supple.papers import implements

__all__ = ["Dice"]


@implements(48)
class Dice(nn.Module):
    """The data-adaptive activation of Deep Interest Network.

    Args:
        num_features: Number of channels, in dimension 1.
        eps: Added to the variance.
        momentum: Weight of the newest batch in the moving averages.

    Example:
        >>> block = Dice(num_features=3).eval()
        >>> block(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        *,
        num_features: int,
        eps: float = 1e-8,
        momentum: float = 0.1,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, num_features=num_features, eps=eps)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.alpha = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        zeros = torch.zeros(num_features, device=device, dtype=dtype)
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_var", torch.ones_like(zeros))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Slope zero on the far side, as in the paper, and no statistics yet."""
        nn.init.zeros_(self.alpha)
        self.running_mean.zero_()
        self.running_var.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) to the same shape."""
        check_channels(self, x, self.num_features)
        normal = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        p = torch.sigmoid(normal)
        alpha = self.alpha.reshape(-1, *[1] * (x.dim() - 2))
        return x * (alpha + p * (1 - alpha))

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"num_features={self.num_features}, eps={self.eps}, momentum={self.momentum}"
