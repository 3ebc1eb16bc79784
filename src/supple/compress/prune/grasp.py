"""GraSP: keep the connections whose removal would weaken the flow of gradient (2002.07376)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from supple.compress.mask import prunable
from supple.compress.prune._pruner import Batch, Loss, gradients, gradients_along, unmasked_copy
from supple.elastic._call import call
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["GraSP"]


@implements(116)
@dataclass(frozen=True, kw_only=True)
class GraSP:
    """``weight * (Hessian @ gradient)``: the fall of the gradient's squared norm without a weight.

    Removing a weight changes the squared norm of the gradient by about ``-2 * weight * (H g)``;
    those whose removal raises it most go first. Not an absolute value: the sign matters.

    Attributes:
        temperature: Outputs are divided by it, so that the loss is far from flat.
        rounds: In how many steps the masks are found.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> x, y = torch.randn(32, 8), torch.randint(3, (32,))
        >>> prune(nn.Linear(8, 3), 0.5, method="grasp", data=[(x, y)]).report.kept
        12
    """

    name: ClassVar[str] = "grasp"
    needs_data: ClassVar[bool] = True

    temperature: float = 200.0
    rounds: int = 1

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise CompressError(
                f"GraSP got temperature {self.temperature}.", hint="a positive number such as 200"
            )

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The scores."""
        with unmasked_copy(model, training=True) as twin:
            weights = prunable(twin)

            def cooled(outputs: Tensor, targets: Tensor) -> Tensor:
                return loss(outputs / self.temperature, targets)

            first = {name: torch.zeros_like(weights[name]) for name in names}
            for batch in batches:
                for name, gradient in gradients(twin, names, batch, cooled).items():
                    first[name] += gradient
            product = {name: torch.zeros_like(weights[name]) for name in names}
            for inputs, targets in batches:
                value = cooled(call(twin, inputs), targets)
                along = gradients_along(value, weights, names, twice=True)
                flow = torch.stack([(along[n] * first[n]).sum() for n in names]).sum()
                for name, part in gradients_along(flow, weights, names).items():
                    product[name] += part
            return {name: (weights[name] * product[name]).detach() for name in names}
