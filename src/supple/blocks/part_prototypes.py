"""Part-prototype heads and how interpretable they are (arXiv 2212.05946, ICCV 2023).

A prototype is a direction in feature space that should stand for one part of the objects of its
class. `PartPrototypeHead` classifies by how strongly the prototypes of a class appear anywhere in
the image; `consistency_score` and `stability_score` say whether a prototype keeps pointing to
the same part, on other images and under noise.

The paper adds two things to the usual head: score aggregation (a class sums its own prototypes,
with positive weights) and the alignment of deep features to shallow ones (`sdfa_loss`), which keeps
places apart.
"""

# B batch, C channels, D width of a prototype, P prototypes, K classes, Q parts, N places

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_channels, check_known, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "PartPrototypeHead",
    "consistency_score",
    "part_hits",
    "prototype_loss",
    "sdfa_loss",
    "stability_score",
]


@implements(112)
class PartPrototypeHead(nn.Module):
    """Classes by their part prototypes (arXiv 2212.05946).

    Args:
        in_channels: Channels of the feature map.
        num_classes: Classes.
        prototypes_per_class: Prototypes of each class.
        dim: Width of a prototype.
        aggregation: ``"sa"``: the logit of a class is the sum of its own prototypes' scores with
            positive weights that sum to their number; ``"linear"``: a dense last layer, 1 for own
            and -0.5 for other prototypes at first.

    Example:
        >>> import torch
        >>> head = PartPrototypeHead(8, 3, prototypes_per_class=2, dim=4)
        >>> head(torch.randn(5, 8, 6, 6)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, prototypes_per_class: int = 10, dim: int = 64,
        aggregation: str = "sa",
    ) -> None:  # fmt: skip
        super().__init__()
        check_positive(
            "PartPrototypeHead", in_channels=in_channels, num_classes=num_classes,
            prototypes_per_class=prototypes_per_class, dim=dim,
        )  # fmt: skip
        check_known("PartPrototypeHead", "aggregation", aggregation, {"sa": None, "linear": None})
        self.in_channels, self.out_features = in_channels, num_classes
        self.prototypes_per_class, self.aggregation = prototypes_per_class, aggregation
        self.add_on = nn.Conv2d(in_channels, dim, 1)
        self.prototypes = nn.Parameter(torch.empty(num_classes, prototypes_per_class, dim))
        shape = (num_classes, prototypes_per_class)
        self.weight = nn.Parameter(
            torch.empty(*shape if aggregation == "sa" else (num_classes, math.prod(shape)))
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws features and prototypes anew; all prototypes of a class weigh the same."""
        self.add_on.reset_parameters()
        nn.init.uniform_(self.prototypes)
        if self.aggregation == "sa":
            nn.init.zeros_(self.weight)
            return
        own = torch.eye(self.out_features).repeat_interleave(self.prototypes_per_class, 1)
        with torch.no_grad():
            self.weight.copy_(1.5 * own - 0.5)

    def features(self, x: Tensor) -> Tensor:
        """Features (batch, dim, …) that prototypes are compared with."""
        return torch.sigmoid(self.add_on(x))

    def activation_maps(self, features: Tensor) -> Tensor:
        """How strongly every prototype appears at every place: (batch, classes, own, …)."""
        unit = F.normalize(self.prototypes, dim=-1)
        return torch.einsum("bdhw,kpd->bkphw", features, unit)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, in_channels, height, width) to (batch, num_classes)."""
        check_channels("PartPrototypeHead", x, self.in_channels, 2)
        return self.logits(self.activation_maps(self.features(x)))

    def logits(self, maps: Tensor) -> Tensor:
        """Class scores from the maps of `activation_maps`."""
        scores_BKP = maps.amax((-2, -1))
        if self.aggregation == "sa":
            weights = self.prototypes_per_class * self.weight.softmax(-1)
            return (scores_BKP * weights).sum(-1)
        return F.linear(scores_BKP.flatten(1), self.weight)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.in_channels}, {self.out_features}, aggregation={self.aggregation}"


@implements(112)
def prototype_loss(
    head: PartPrototypeHead, features: Tensor, labels: Tensor, *, cluster: float = 0.8,
    separation: float = 0.08, orthogonality: float = 1e-4,
) -> Tensor:  # fmt: skip
    """Cluster, separation and orthogonality terms, beside the cross entropy.

    An image should be near some prototype of its class and far from those of others, by the
    cosine; the prototypes of a class should be orthogonal.

    Args:
        head: The head.
        features: What ``head.features`` gave (batch, dim, …).
        labels: Classes (batch,).
        cluster: Weight of the first term.
        separation: Weight of the second.
        orthogonality: Weight of the third.

    Example:
        >>> import torch
        >>> head = PartPrototypeHead(8, 3, prototypes_per_class=2, dim=4)
        >>> features = head.features(torch.randn(5, 8, 6, 6))
        >>> prototype_loss(head, features, torch.tensor([0, 1, 2, 0, 1])).shape
        torch.Size([])
    """
    unit = F.normalize(head.prototypes, dim=-1)
    cosine = torch.einsum("bdhw,kpd->bkphw", F.normalize(features, dim=1), unit).amax((-2, -1))
    best = cosine.amax(-1)
    own = F.one_hot(labels, head.out_features).bool()
    near = -best[own].mean()
    far = best.masked_fill(own, -torch.inf).amax(1).mean()
    gram = unit @ unit.transpose(1, 2)
    deviation = (gram - torch.eye(unit.shape[1]).to(gram)).abs().sum()
    return cluster * near + separation * far + orthogonality * deviation


@implements(112)
def sdfa_loss(
    shallow: Tensor, deep: Tensor, places: Tensor | None = None, *, slack: float = 0.1
) -> Tensor:
    """How much the similarities between places of deep features leave those of shallow ones.

    The shallow map is cut into as many cells as the deep one has places, and is not trained by it.

    Args:
        shallow: Features (batch, channels, m h, m w).
        deep: Features (batch, channels, h, w).
        places: Which of the h w places count, (batch, any number); all by default. The paper takes
            those where the prototypes of the true class are strongest.
        slack: Differences up to this cost nothing.

    Raises:
        BlockError: The shallow map is not a whole number of times as large.

    Example:
        >>> import torch
        >>> maps = torch.randn(2, 4, 3, 3)
        >>> sdfa_loss(maps, maps).item()
        0.0
    """
    high, wide = deep.shape[-2:]
    if shallow.shape[-2] % high or shallow.shape[-1] % wide:
        raise BlockError(
            f"sdfa_loss got a shallow map of {tuple(shallow.shape)} and a deep one of "
            f"{tuple(deep.shape)}.",
            why="The shallow one is cut into one cell for each place of the deep one.",
            hint="maps whose sizes divide.",
        )
    cells = shallow.detach().unflatten(3, (wide, -1)).unflatten(2, (high, -1))  # type: ignore[no-untyped-call]
    cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # batch, places, values
    difference = (_similarities(deep.flatten(2).transpose(1, 2)) - _similarities(cells)).abs()
    cost = F.relu(difference - slack)
    if places is not None:
        cost = cost.gather(1, places[..., None].expand(-1, -1, cost.shape[2]))
    return cost.mean()


def _similarities(x_BND: Tensor) -> Tensor:
    unit = F.normalize(x_BND, dim=-1)
    return unit @ unit.transpose(1, 2)


@implements(112)
def part_hits(
    maps: Tensor, parts: Tensor, image_size: tuple[int, int], *, half_size: float
) -> Tensor:
    """Which parts lie in the box around the strongest place of each prototype.

    Args:
        maps: Activation maps (images, prototypes, h, w), of the class of each image.
        parts: Positions (images, parts, 2), row and column in pixels; nan where not visible.
        image_size: Height and width of the images.
        half_size: Half the side of the box in pixels; the paper's is 0.16 of the image.

    Returns:
        (images, prototypes, parts), true where the part is visible and inside.

    Raises:
        BlockError: The box is larger than the image.

    Example:
        >>> import torch
        >>> maps = torch.zeros(1, 1, 4, 4); maps[0, 0, 1, 2] = 1.0
        >>> parts = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
        >>> part_hits(maps, parts, (4, 4), half_size=1)[0, 0].tolist()
        [True, False]
    """
    if 2 * half_size > min(image_size):
        raise BlockError(
            f"part_hits got half_size={half_size} for images of {image_size}.",
            why="The box is larger than the image, so that every part is inside.",
            hint=f"half_size={0.16 * min(image_size):.0f}.",
        )
    large = F.interpolate(maps, size=image_size, mode="bicubic", align_corners=False)
    place = large.flatten(2).argmax(-1)
    centre = torch.stack([place // image_size[1], place % image_size[1]], -1).to(parts.dtype)
    off = (parts[:, None] - centre[:, :, None]).abs().amax(-1)
    return off <= half_size  # nan, a part that is not visible, is not inside


@implements(112)
def consistency_score(hits: Tensor, visible: Tensor, *, threshold: float = 0.8) -> float:
    """Percent of prototypes of a class that keep pointing to one part.

    Args:
        hits: What `part_hits` gave for images of one class (images, prototypes, parts).
        visible: Which parts are visible (images, parts).
        threshold: Share of the images showing a part on which the prototype must hit it.

    Raises:
        BlockError: No part is visible in any image.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[[True, False]], [[True, False]]])
        >>> consistency_score(hits, torch.ones(2, 2, dtype=torch.bool))
        100.0
    """
    shown = visible.sum(0)
    if not bool((shown > 0).any()):
        raise BlockError(
            "consistency_score got images without a visible part.",
            why="It is the share of visible parts that are hit.",
            hint="images with annotated parts.",
        )
    shares = (hits & visible[:, None]).sum(0) / shown.clamp_min(1)
    return 100.0 * float((shares >= threshold).any(-1).double().mean())


@implements(112)
def stability_score(clean: Tensor, noisy: Tensor) -> float:
    """Percent of (image, prototype) pairs whose hits noise does not change.

    Args:
        clean: What `part_hits` gave for images.
        noisy: The same for the images with noise.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[[True, False]], [[False, True]]])
        >>> stability_score(hits, hits)
        100.0
    """
    return 100.0 * float((clean == noisy).all(-1).double().mean())
