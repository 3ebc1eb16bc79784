"""N2N (paper 21, 1709.06030): a policy that learns how to shrink a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from supple.claims import (
    Arms,
    Curve,
    Data,
    Lines,
    Rule,
    accuracy,
    claim,
    digits,
    fit,
    parameters,
    seeded,
)
from supple.search import RandomSearch, Reinforce
from supple.search.reinforce import compression_reward
from supple.space import Config, Space, Width
from supple.study import Study

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The teacher, and how many students may be tried.

    Attributes:
        depth: Hidden layers of the teacher; each may be shrunk on its own.
        width: Of each of them.
        students: That are trained and measured in one search.
        epochs: Of the training of a student.
        teacher_epochs: Of the training of the teacher.
    """

    depth: int = 6
    width: int = 64
    students: int = 200
    epochs: int = 3
    teacher_epochs: int = 20


@claim(
    paper=21,
    says="A recurrent policy trained by policy gradient proposes smaller students with a better "
    "product of accuracy and compression than students drawn at random.",
    reported="More than ten times fewer parameters for ResNet-34 at similar accuracy (abstract).",
    here="The teacher is a network of six hidden layers of 64 on digits. A student keeps a tenth "
    "to all of the units of each layer, starts from new weights and learns the teacher's outputs "
    "for three epochs (the paper: five); 200 students per search. Removing layers and transfer of "
    "the policy between teachers are not part of it.",
    rules=(
        Rule(metric="reward of the last quarter", method="policy", baseline="random", margin=0.03),
        Rule(metric="best reward", method="policy", baseline="random", expects="not worse",
             margin=0.01),
    ),
    quick=Settings(depth=4, width=48, students=60, epochs=2, teacher_epochs=8),
    full=Settings(),
    figure=Lines(metric="mean reward", x="students", title="mean reward of ten students"),
    tried="At the learning rate of the strategy's default (0.02); the paper's are 0.003 and 0.1.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Two searches for students of the same teacher."""
    data = digits(seed, train=600)
    full = dict.fromkeys(_names(settings), settings.width)
    with seeded(seed, "teacher"):
        teacher = _network(full)
    fit(teacher, data, epochs=settings.teacher_epochs, lr=2e-3, seed=seed)
    teacher.eval()
    best, size = accuracy(teacher, data), parameters(teacher)
    options = tuple(sorted({max(2, round(settings.width * share / 10)) for share in range(1, 11)}))
    space = Space({n: Width(options=options, size=settings.width) for n in _names(settings)})
    known: dict[Config, float] = {}

    def reward(config: Config) -> float:
        if config not in known:
            student = _student(config, teacher, data, seed, settings)
            quality, cost = accuracy(student, data) / best, parameters(student) / size
            known[config] = float(compression_reward(quality, cost))
        return known[config]

    strategies = {
        "policy": Reinforce(space=space, seed=seed, population=5),
        "random": RandomSearch(space=space, seed=seed),
    }
    arms: dict[str, dict[str, float | Curve]] = {}
    for arm, strategy in strategies.items():
        study = Study.open(space=space, directions={"reward": "max"})
        study.run(lambda config: {"reward": reward(config)}, strategy,
                  evaluations=settings.students)  # fmt: skip
        if study.interrupted:
            raise KeyboardInterrupt
        rewards = np.array([trial.values["reward"] for trial in study.trials])
        tens = rewards[: len(rewards) // 10 * 10].reshape(-1, 10).mean(axis=1)
        arms[arm] = {
            "reward of the last quarter": float(rewards[-(len(rewards) // 4) :].mean()),
            "best reward": float(rewards.max()),
            "mean reward": [(10.0 * (n + 1), float(value)) for n, value in enumerate(tens)],
        }
    return arms


def _names(settings: Settings) -> list[str]:
    return [f"layer{n}.width" for n in range(settings.depth)]


def _network(widths: Config | dict[str, int]) -> nn.Sequential:
    sizes = [64, *(int(width) for width in widths.values())]
    layers: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


def _student(
    config: Config, teacher: nn.Module, data: Data, seed: int, settings: Settings
) -> nn.Module:
    """A student that has learned the teacher's outputs."""
    with seeded(seed, "student"):
        student = _network(config)
    scores: Tensor = teacher(data.train_x).detach()
    taught = replace(data, train_y=scores, classes=0)
    fit(student, taught, epochs=settings.epochs, lr=3e-3, seed=seed, loss=F.mse_loss)
    return student
