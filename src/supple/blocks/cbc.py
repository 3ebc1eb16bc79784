"""Classification by components: evidence from what is there and from what is not.

Components detect patterns; each class reasons over all of them with non-negative weights for
presence and for absence that add up to one, so that its score is a probability. With distances
as detectors the smallest change of the input that can alter a decision has a closed form.

Paper 120: Saralajew, Rana, Villmann, Shaker, "A Robust Prototype-Based Network with Interpretable
RBF Classifier Foundations" (arXiv 2412.15499).
"""

# B batch, D features, K components, C classes

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._checks import check_features, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "CBCHead",
    "ClassificationByComponents",
    "RBFClassifier",
    "certified_margin_loss",
    "margin_loss",
    "robustness_radius",
]

_TINY = 1e-12  # under the root of the distance, whose slope is infinite at zero


@implements(120)
class CBCHead(nn.Module):
    """Class scores from detections in [0, 1], by positive and negative reasoning.

    ``p_c = sum_k r+_kc d_k + r-_kc (1 - d_k)`` with ``r+, r- >= 0`` and
    ``sum_k (r+_kc + r-_kc) = 1`` for each class: a softmax over all 2K entries of a class. The
    scores lie in [0, 1] but do not add up to one over classes.

    Args:
        num_components: Detections K that come in.
        num_classes: Scores C that go out.
        is_negative: Whether absence counts; without it the head is that of an RBF network.

    Example:
        >>> CBCHead(num_components=5, num_classes=3)(torch.rand(2, 5)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        num_components: int,
        num_classes: int,
        is_negative: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, num_components=num_components, num_classes=num_classes)
        self.in_features = self.num_components = num_components
        self.out_features = self.num_classes = num_classes
        self.is_negative = is_negative
        kinds = 2 if is_negative else 1
        self.reasoning = nn.Parameter(
            torch.empty((num_classes, kinds, num_components), device=device, dtype=dtype)
        )
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Logits around 0.6, as in the paper's code."""
        nn.init.normal_(self.reasoning, mean=0.6, std=0.2, generator=generator)

    def probabilities(self) -> tuple[Tensor, Tensor]:
        """``r+`` and ``r-``, each (C, K); together they add up to one over K for each class."""
        share = self.reasoning.flatten(1).softmax(1).reshape(self.reasoning.shape)
        positive = share[:, 0]
        return positive, share[:, 1] if self.is_negative else torch.zeros_like(positive)

    def forward(self, d_BK: Tensor) -> Tensor:
        """Detections (…, K) to scores (…, C)."""
        check_features(self, d_BK, self.num_components)
        positive, negative = self.probabilities()
        return F.linear(d_BK, positive - negative, negative.sum(1))

    def explain(self, d_BK: Tensor) -> tuple[Tensor, Tensor]:
        """What each component adds to each score by being there, and by not: (…, C, K) each."""
        positive, negative = self.probabilities()
        d = d_BK.unsqueeze(-2)
        return positive * d, negative * (1 - d)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"num_components={self.num_components}, num_classes={self.num_classes}"


@implements(120)
class ClassificationByComponents(nn.Module):
    """Components as points in feature space, then a `CBCHead`.

    ``d_k(x) = exp(-|x - w_k| / sigma)`` (the Euclidean distance itself, not its square: then a
    change of the input by e changes each detection by a factor of at most ``exp(e / sigma)``).

    Args:
        in_features: Features D.
        num_components: Components K.
        num_classes: Classes C.
        sigma: Reach of a component, in units of the features; the same for all, and fixed.
        is_negative: Whether absence counts.

    Raises:
        BlockError: A setting is not above zero, or the input has another size.

    Example:
        >>> block = ClassificationByComponents(in_features=4, num_components=6, num_classes=3)
        >>> block(torch.randn(5, 4)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        *,
        in_features: int,
        num_components: int,
        num_classes: int,
        sigma: float = 1.0,
        is_negative: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, in_features=in_features, num_components=num_components, sigma=sigma)
        self.in_features = in_features
        self.out_features = num_classes
        self.num_components = num_components
        self.sigma = sigma
        self.components = nn.Parameter(
            torch.empty((num_components, in_features), device=device, dtype=dtype)
        )
        self.head = CBCHead(
            num_components=num_components,
            num_classes=num_classes,
            is_negative=is_negative,
            device=device,
            dtype=dtype,
        )
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Components standard normal; better are `set_components` with points of the data."""
        nn.init.normal_(self.components, generator=generator)
        self.head.reset_parameters(generator)

    @torch.no_grad()
    def set_components(self, points: Tensor) -> None:
        """Takes points (K, D) as components, for instance the centres of k-means."""
        self.components.copy_(points)

    def detect(self, x_BD: Tensor) -> Tensor:
        """Detections (…, K) in (0, 1]."""
        check_features(self, x_BD, self.in_features)
        squares = (x_BD.unsqueeze(-2) - self.components).square().sum(-1)
        return torch.exp(-(squares + _TINY).sqrt() / self.sigma)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Features (…, D) to scores (…, C)."""
        scores: Tensor = self.head(self.detect(x_BD))
        return scores

    def explain(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """What each component adds to each score by being there, and by not: (…, C, K) each."""
        return self.head.explain(self.detect(x_BD))

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"in_features={self.in_features}, num_components={self.num_components}"


@implements(120)
class RBFClassifier(ClassificationByComponents):
    """The special case without negative reasoning: a radial basis function network.

    Example:
        >>> RBFClassifier(in_features=4, num_components=6, num_classes=3)(torch.randn(5, 4)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        *,
        in_features: int,
        num_components: int,
        num_classes: int,
        sigma: float = 1.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features=in_features,
            num_components=num_components,
            num_classes=num_classes,
            sigma=sigma,
            is_negative=False,
            device=device,
            dtype=dtype,
        )


def margin_loss(scores_BC: Tensor, y_B: Tensor, *, margin: float = 0.3) -> Tensor:
    """``max(0, best wrong score - right score + margin)``, averaged.

    Example:
        >>> margin_loss(torch.tensor([[0.9, 0.5]]), torch.tensor([0]), margin=0.3).item()
        0.0
    """
    _check_labels(scores_BC, y_B)
    right = scores_BC.gather(1, y_B.unsqueeze(1))
    wrong = scores_BC.scatter(1, y_B.unsqueeze(1), -torch.inf).amax(1, keepdim=True)
    return torch.relu(wrong - right + margin).mean()


@implements(120)
def robustness_radius(model: ClassificationByComponents, x_BD: Tensor, y_B: Tensor) -> Tensor:
    """Largest change (L2) of each input that cannot alter its class; below 0 where it is wrong.

    For each wrong class c the gap is ``sum_k a_k d_k + g`` with weights a and a constant g. A
    change of length e scales each detection by between ``1/z`` and ``z = exp(e / sigma)``, so
    the gap stays above ``A/z + B z + g`` (A the positive part of the sum, B the negative one),
    whose root is the radius. Where the class is wrong already the root lies below z = 1.

    Returns:
        (B,), in units of the features; infinite if no change can alter the class.

    Example:
        >>> block = ClassificationByComponents(in_features=2, num_components=3, num_classes=2)
        >>> robustness_radius(block, torch.randn(4, 2), torch.zeros(4, dtype=torch.long)).shape
        torch.Size([4])
    """
    positive, negative = model.head.probabilities()
    d_BK = model.detect(x_BD)
    _check_labels(d_BK.new_empty(len(d_BK), model.out_features), y_B)
    weight, offset = positive - negative, negative.sum(1)
    alpha_BCK = weight[y_B].unsqueeze(1) - weight
    gamma_BC = offset[y_B].unsqueeze(1) - offset
    parts = alpha_BCK * d_BK.unsqueeze(1)
    raising, lowering = parts.clamp_min(0).sum(-1), parts.clamp_max(0).sum(-1)
    is_free = (lowering == 0) & (gamma_BC >= 0)  # nothing can alter it; the right class itself too
    z = _root(raising, torch.where(is_free, -1.0, lowering), gamma_BC)
    radius = torch.where(is_free, torch.inf, model.sigma * torch.log(z))
    return radius.amin(1)


def _root(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """The z > 0 where ``a / z + b z + g`` changes sign, for a >= 0 >= b."""
    root = (g.square() - 4 * a * b).clamp_min(_TINY).sqrt()
    # (-g - root) / (2 b), written without a difference of near numbers for either sign of g,
    # and with denominators that are safe where the other form is taken.
    rising = (g + root) / (-2 * torch.where(b < 0, b, -1.0))
    falling = 2 * a / (root - g.clamp_max(0))
    return torch.where(g > 0, rising, falling).clamp_min(_TINY)


@implements(120)
def certified_margin_loss(
    model: ClassificationByComponents, x_BD: Tensor, y_B: Tensor, *, cap: float
) -> Tensor:
    """``max(0, cap - radius)``, averaged: pushes the certified radius up to ``cap``.

    Example:
        >>> block = ClassificationByComponents(in_features=2, num_components=3, num_classes=2)
        >>> y = torch.zeros(4, dtype=torch.long)
        >>> certified_margin_loss(block, torch.randn(4, 2), y, cap=0.1).item() >= 0
        True
    """
    radius = robustness_radius(model, x_BD, y_B)
    return torch.relu(cap - radius).mean()


def _check_labels(scores_BC: Tensor, y_B: Tensor) -> None:
    classes = scores_BC.shape[1]
    if y_B.numel() and (int(y_B.min()) < 0 or int(y_B.max()) >= classes):
        raise BlockError(
            f"got labels from {int(y_B.min())} to {int(y_B.max())}.",
            why=f"There are {classes} classes, numbered from 0.",
            hint="number the classes from 0, and build the block for all of them.",
        )
