"""CBC (paper 120, 2412.15499): absence is evidence too, and robustness has a formula."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from supple.blocks.cbc import (
    ClassificationByComponents,
    RBFClassifier,
    certified_margin_loss,
    margin_loss,
    robustness_radius,
)
from supple.claims import Arms, Data, Dots, Rule, claim, seeded, table
from supple.seeds import derived_seed

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train, and on which tables."""

    steps: int = 600
    tables: tuple[str, ...] = ("wine", "breast_cancer", "digits")


@claim(
    paper=120,
    says="Negative reasoning does not cost accuracy and usually helps, and training on the "
    "certificate makes many more predictions provably robust.",
    reported="Ahead of RBF networks and other prototype classifiers of the same size; accuracy of "
    "the state of the art for deep prototype networks; closed-form robustness certificates.",
    here="Standardised tables (wine, breast cancer, digits), two components for each class, "
    "started at the centres of k-means; means over the tables. A prediction counts as certified "
    "if it is right and no change shorter than a tenth of the reach sigma can alter it; the "
    "attack takes steps of that length against the margin.",
    rules=(
        Rule(metric="accuracy", method="cbc", baseline="rbf", margin=0.0),
        Rule(metric="certified", method="cbc certified", baseline="cbc", margin=0.05),
        Rule(metric="accuracy", method="cbc certified", baseline="cbc", expects="not worse",
             margin=0.02),
        Rule(metric="broken certificates", method="cbc certified", baseline=1e-9, better="lower"),
    ),
    quick=Settings(steps=120, tables=("wine", "breast_cancer")),
    full=Settings(),
    quick_seeds=5,
    figure=Dots(metric="certified"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train with and without negative reasoning, and on the certificate."""
    sums: dict[str, dict[str, float]] = {}
    for name in settings.tables:
        data = table(name, seed)  # type: ignore[arg-type]
        for arm in ("cbc", "rbf", "cbc certified"):
            model = _trained(arm, data, seed, settings.steps)
            for metric, value in _tested(model, data).items():
                sums.setdefault(arm, {}).setdefault(metric, 0.0)
                sums[arm][metric] += value
    count = len(settings.tables)
    return {arm: {m: v / count for m, v in facts.items()} for arm, facts in sums.items()}


def _trained(arm: str, data: Data, seed: int, steps: int) -> ClassificationByComponents:
    build = RBFClassifier if arm == "rbf" else ClassificationByComponents
    count = 2 * data.classes
    centres = KMeans(count, n_init=1, random_state=derived_seed(seed, "centres"))
    centres.fit(data.train_x.numpy())
    points = torch.from_numpy(centres.cluster_centers_)
    sigma = float(torch.cdist(data.train_x, points).amin(1).mean())  # how near data is to centres
    with seeded(seed, "weights"):
        model = build(
            in_features=data.features, num_components=count, num_classes=data.classes, sigma=sigma
        )
    model.set_components(points)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(_loss(arm, model, data.train_x, data.train_y))
        optimizer.step()
    return model


def _loss(arm: str, model: ClassificationByComponents, x: Tensor, y: Tensor) -> Tensor:
    loss = margin_loss(model(x), y, margin=0.3)
    if arm == "cbc certified":
        loss = loss + certified_margin_loss(model, x, y, cap=2 * _length(model)) / model.sigma
    return loss


def _length(model: ClassificationByComponents) -> float:
    """The length of the changes that a prediction is to withstand."""
    return 0.1 * model.sigma


def _tested(model: ClassificationByComponents, data: Data) -> dict[str, float]:
    x, y = data.test_x, data.test_y
    with torch.no_grad():
        right = model(x).argmax(1) == y
        certified = robustness_radius(model, x, y) > _length(model)
    withstood = _attacked(model, x, y)
    return {
        "accuracy": float(right.float().mean()),
        "certified": float(certified.float().mean()),
        "right under attack": float(withstood.float().mean()),
        "broken certificates": float((certified & ~withstood).float().mean()),
    }


def _attacked(model: ClassificationByComponents, x: Tensor, y: Tensor) -> Tensor:
    """Which predictions are right after twenty steps against the margin, of bounded length."""
    length, moved = _length(model), x.clone()
    for _ in range(20):
        moved = moved.detach().requires_grad_()
        scores = model(moved)
        rival = scores.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)
        (slope,) = torch.autograd.grad(
            (rival - scores.gather(1, y.unsqueeze(1))[:, 0]).sum(), moved
        )
        step = moved + slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-12) * length / 5
        gone = step - x
        moved = x + gone * (length / gone.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1)
    with torch.no_grad():
        right: Tensor = model(moved).argmax(1) == y
    return right
