"""GroupSort, MaxMin and Householder (paper 28, 2401.14033) in networks of Lipschitz constant one.

What the paper adds, bounds by a semidefinite program, is not measured here: this is the reason it
gives for its activations (Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation",
1811.05381).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from supple.blocks.groupsort import GroupSort, Householder, MaxMin
from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit, seeded
from supple.seeds import generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Length of the training.

    Attributes:
        epochs: Passes over the training part.
        lrs: Learning rates every arm chooses from.
        train: Digits of the training part.
    """

    epochs: int = 20
    lrs: tuple[float, ...] = (3e-3, 1e-2)
    train: int = 1200


RADIUS = 1.0  # of the ball that is certified, in standard deviations of a pixel


@claim(
    paper=28,
    says="In networks whose layers have norm one, activations that sort or reflect keep the length "
    "of gradients, so that such networks certify and fit more than with ReLU.",
    reported="Given as known, from earlier work, and as the reason to bound such networks; the "
    "figures of its own are bounds below the product of norms, of networks trained on MNIST.",
    here="Three hidden layers of 64 with orthonormal weights, so that the Lipschitz constant is at "
    "most one. On 8x8 digits, with a hinge of twice the wanted margin: the share of test images "
    "that are right and stay so within a distance of 1 (images have length 8). And the Wasserstein "
    "distance between spheres of radius 1 and 2 in 8 dimensions, which is 1, as found by the "
    "network. Same weights at the start; every arm chooses its learning rate on held-out data. "
    "The paper's semidefinite bounds are not part of this.",
    rules=(
        Rule(metric="certified accuracy", method="maxmin", baseline="relu", margin=0.05),
        Rule(metric="Wasserstein distance", method="maxmin", baseline="relu", margin=0.05),
        Rule(metric="certified accuracy", method="groupsort", baseline="relu", margin=0.05),
        Rule(metric="certified accuracy", method="householder", baseline="relu", margin=0.05),
        Rule(metric="gradient norm", method="maxmin", baseline=1.0, expects="equal", margin=1e-3),
    ),
    quick=Settings(epochs=10, lrs=(1e-2,), train=600),
    full=Settings(),
    figure=Dots(metric="certified accuracy"),
    tried="Before arms were compared, the full budget was shortened from 30 to 20 epochs and the "
    "quick one lengthened from 6 to 10, for all arms alike.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Four activations between orthonormal layers, on two tasks."""
    images, spheres = digits(seed, train=settings.train), _spheres(seed, settings.train)
    arms: dict[str, dict[str, float]] = {}
    for arm in ("maxmin", "groupsort", "householder", "relu"):
        classifier = _best(partial(_network, arm, 64, 10), images, _hinge, _certified, seed,
                           settings)  # fmt: skip
        critic = _best(partial(_network, arm, 8, 1), spheres, _dual, _distance, seed, settings)
        arms[arm] = {
            "certified accuracy": _certified(classifier, images),
            "accuracy": accuracy(classifier, images),
            "gradient norm": _gradient_norm(classifier, images),
            "Wasserstein distance": _distance(critic, spheres),
        }
    return arms


def _network(arm: str, features: int, outputs: int, width: int = 64) -> nn.Module:
    layers: list[nn.Module] = []
    for into in (features, width, width):
        layers += [_orthonormal(into, width), _activation(arm, width)]
    return nn.Sequential(*layers, _orthonormal(width, outputs))


def _orthonormal(into: int, out: int) -> nn.Module:
    return orthogonal(nn.Linear(into, out), orthogonal_map="cayley")


def _activation(arm: str, width: int) -> nn.Module:
    if arm == "maxmin":
        return MaxMin(dim=-1)
    if arm == "groupsort":
        return GroupSort(group_size=8, dim=-1)
    return Householder(num_features=width, dim=-1) if arm == "householder" else nn.ReLU()


def _best(
    build: Callable[[], nn.Module],
    data: Data,
    loss: Callable[[Tensor, Tensor], Tensor],
    score: Callable[[nn.Module, Data], float],
    seed: int,
    settings: Settings,
) -> nn.Module:
    """Trained at the learning rate that scores best on a fifth of the training part, held out."""

    def trained(lr: float, part: Data) -> nn.Module:
        with seeded(seed, "weights"):
            model = build()
        fit(model, part, epochs=settings.epochs, lr=lr, seed=seed, loss=loss)
        return model.eval()

    part, lr = data.held_out(), settings.lrs[0]
    if len(settings.lrs) > 1:
        lr = max(settings.lrs, key=lambda one: score(trained(one, part), part))
    return trained(lr, data)


# Digits. The difference of two outputs changes by at most sqrt(2) per unit of the input.


def _hinge(scores: Tensor, labels: Tensor) -> Tensor:
    return F.multi_margin_loss(scores, labels, margin=2 * math.sqrt(2) * RADIUS)


def _certified(model: nn.Module, data: Data) -> float:
    """The share of the test part that no change within the radius can make wrong."""
    with torch.no_grad():
        scores = model(data.test_x)
    right = scores.gather(1, data.test_y[:, None])[:, 0]
    others = scores.scatter(1, data.test_y[:, None], -math.inf).amax(1)
    return float((right - others > math.sqrt(2) * RADIUS).double().mean())


def _gradient_norm(model: nn.Module, data: Data) -> float:
    """Mean length of the gradient of the right class's output."""
    x = data.test_x.clone().requires_grad_()
    right = model(x).gather(1, data.test_y[:, None]).sum()
    (gradient,) = torch.autograd.grad(right, x)
    return float(gradient.norm(dim=1).double().mean())


# Spheres. Each example is a direction: a point on the inner sphere and the one above it.


def _spheres(seed: int, train: int, features: int = 8, test: int = 1000) -> Data:
    draws = generator(seed, "spheres").standard_normal((train + test, features))
    way = torch.tensor(draws, dtype=torch.float32)
    way = way / way.norm(dim=1, keepdim=True)
    pairs, none = torch.stack((way, 2 * way), 1), torch.zeros(train + test, 1)
    return Data(
        name="spheres", classes=0,
        train_x=pairs[:train], train_y=none[:train], test_x=pairs[train:], test_y=none[train:],
    )  # fmt: skip


def _dual(heights: Tensor, _: Tensor) -> Tensor:
    """Minus what Kantorovich and Rubinstein's dual has the greatest value of."""
    return (heights[:, 0] - heights[:, 1]).mean()


def _distance(model: nn.Module, data: Data) -> float:
    """A lower bound of the distance, on directions that were not trained on."""
    with torch.no_grad():
        return -float(_dual(model(data.test_x).double(), data.test_y))
