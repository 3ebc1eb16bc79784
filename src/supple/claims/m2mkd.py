"""m2mKD (paper 56, 2402.16918): a student of expert mixtures taught module by module."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.blocks import SwitchFFN
from supple.claims import Arms, Data, Rule, accuracy, claim, digits, seeded
from supple.claims._residual_family import batches, model, recipe, stack_of
from supple.compress.join import ModuleDistiller
from supple.elastic.training import Distil, Plain, train
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and lengths.

    Attributes:
        width: Of all networks.
        modules: Blocks of meta model and student; the teacher has twice as many.
        experts: Of each of the student's blocks.
        epochs: Passes of each module, and at the end of the whole.
        images: Training images.
    """

    width: int = 32
    modules: int = 4
    experts: int = 4
    epochs: int = 10
    images: int = 400


@claim(
    paper=56,
    says="A modular student that learned from a teacher module by module is better than one "
    "trained end to end, also on shifted data.",
    reported="Up to 5.6 points on Tiny-ImageNet (4.2 out of distribution) for attentive circuits, "
    "3.5 points on ImageNet for mixtures of experts.",
    here="A student of 4 blocks of 4 experts on 400 digits, a dense teacher of 8 blocks. Arms "
    "trained end to end get as many passes as all phases together; one of them learns from the "
    "teacher's outputs. 'Shifted' adds noise of one standard deviation to the test images. A dense "
    "network of one expert's size is the small one; modules in an untrained meta model are the "
    "control.",
    rules=(
        Rule(metric="accuracy", method="module by module", baseline="end to end", margin=0.003),
        Rule(metric="accuracy", method="module by module", baseline="end to end, taught",
             margin=0.0),
        Rule(metric="shifted", method="module by module", baseline="end to end", margin=0.003),
        Rule(metric="accuracy", method="module by module", baseline="random meta", margin=0.0),
        Rule(metric="accuracy", method="module by module", baseline="small dense", margin=0.0),
    ),
    quick=Settings(width=16, modules=2, epochs=4),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """All students on the same images."""
    data = digits(seed, train=settings.images)
    loader, total = batches(data, seed), settings.epochs * (settings.modules + 1)
    with seeded(seed, "weights"):
        meta, teacher = (model(settings.width, n * settings.modules) for n in (1, 2))
    for dense in (meta, teacher):
        train(dense, loader, F.cross_entropy, Plain(), recipe(total, _LR), seed=seed)
    found = {"teacher": _scores(teacher, data, seed)}
    with seeded(seed, "weights", "random"):
        random_meta = model(settings.width, settings.modules)
    for arm, middle in (("module by module", meta), ("random meta", random_meta)):
        student = _student(seed, settings)
        distiller = ModuleDistiller(
            middle, teacher, student, stack=stack_of(settings.modules),
            teacher_depths=[2] * settings.modules, student_depths=[1] * settings.modules,
            widths=(settings.width,) * 3,
        )  # fmt: skip
        for module in range(settings.modules):
            distiller.fit(module, loader, F.cross_entropy, recipe(settings.epochs, _LR), seed=seed)
        train(student, loader, F.cross_entropy, Plain(), recipe(settings.epochs, _LR), seed=seed)
        found[arm] = _scores(student, data, seed)
    for arm in ("end to end", "end to end, taught", "small dense"):
        network: nn.Module = _student(seed, settings)
        if arm == "small dense":
            with seeded(seed, "weights", "small"):
                network = model(settings.width, settings.modules)
        taught = arm.endswith("taught")
        rule = Distil(temperature=1.0, weight=0.5) if taught else Plain()
        train(
            network, loader, F.cross_entropy, rule, recipe(total, _LR), seed=seed,
            teacher=teacher.eval() if taught else None,
        )  # fmt: skip
        found[arm] = _scores(network, data, seed)
    return found


_LR = 5e-3


class _Experts(nn.Module):
    """A residual block whose feed-forward part is a mixture of experts."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.experts = SwitchFFN(
            in_features=width, hidden_features=2 * width, num_experts=experts,
            capacity_factor=None,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.experts(self.norm(x))
        return x + change


def _student(seed: int, settings: Settings) -> nn.Module:
    with seeded(seed, "weights", "student"):
        network = model(settings.width, settings.modules)
        network.blocks = nn.Sequential(
            *(_Experts(settings.width, settings.experts) for _ in range(settings.modules))
        )
    return network


def _scores(network: nn.Module, data: Data, seed: int) -> dict[str, float]:
    noise = torch.randn(data.test_x.shape, generator=torch_generator(seed, "noise"))
    shifted = replace(data, test_x=data.test_x + noise)
    return {"accuracy": accuracy(network, data), "shifted": accuracy(network, shifted)}
