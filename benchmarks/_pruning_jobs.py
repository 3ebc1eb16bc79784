"""The two networks of the comparison with Torch-Pruning, and what all arms have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from supple.elastic.batch_norm import recalibrate
from supple.elastic.training import Plain, Recipe, train
from supple.measure import Accuracy, MACs
from supple.tasks import Task, load

__all__ = ["JOBS", "Job"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trained network, its data, and how every arm may cut and fine-tune it.

    Attributes:
        name: ``resnet56`` or ``minilm``.
        options: Of the task.
        recipe: Of the fine-tuning; its learning rate is chosen out of ``lrs``.
        lrs: Learning rates that every arm tries.
        preparing: How the network is trained before it is cut; None: it comes trained.
        stream: Patterns of the layers whose outputs are the residual stream, the output layer last;
            an arm may leave it whole and cut only inside the blocks.
        stream_names: The same as patterns of what supple calls the axes of the stream.
        never: Patterns of axes that are cut in no arm: a head's size, since Torch-Pruning takes
            whole heads.
        heads: For each layer that is split into heads, as a pattern: the attribute of its parent
            that counts them.
        bare: Parameters that no module is called with, and their dimension that is a width;
            Torch-Pruning has to be told.
        share: MACs to keep, as a part of the network's.
        calibration: Batches for importance and for the statistics of batch norms.
        candidates: Sub-networks that the search looks at.
        looks: Validation examples that the search compares them by.
        valid_batches: How many validation batches shapes and learning rates are compared by.
        batches: Where a smaller run cuts the data off (tests); None: nowhere.
        task: The task, if it is another than the name says (tests).
    """

    name: str
    options: dict[str, Any]
    recipe: Recipe
    lrs: tuple[float, ...]
    preparing: Recipe | None
    stream: tuple[str, ...]
    stream_names: tuple[str, ...]
    never: tuple[str, ...]
    heads: dict[str, str]
    bare: dict[str, int]
    share: float = 0.5
    calibration: int = 4
    candidates: int = 25
    looks: int = 250
    valid_batches: int | None = None
    batches: int | None = None
    task: Callable[[int], Task] | None = None

    # -- data ---------------------------------------------------------------------------------
    def task_of(self, seed: int) -> Task:
        """The data in the order of a seed."""
        if self.task is not None:
            return self.task(seed)
        return load("cifar10" if self.name == "resnet56" else "text", seed=seed, **self.options)

    @cached_property
    def data(self) -> Task:
        """The data of seed 0; validation and test are the same for all seeds."""
        return self.task_of(0)

    @cached_property
    def example(self) -> tuple[Any, ...]:
        """Two examples; torch.export takes a batch of one for a constant."""
        return tuple(torch.cat([part, part]) for part in self.data.example())

    def calibration_of(self, seed: int) -> list[Any]:
        """Some training batches."""
        return list(islice(self.task_of(seed).train(), self.calibration))

    # -- the network --------------------------------------------------------------------------
    def network(self, folder: Path) -> nn.Module:
        """The trained network; a training on the spot is kept in the folder."""
        if self.preparing is None:
            return self.data.model()
        network, path = self.data.untrained(), folder / f"{self.name}.start.safetensors"
        if not path.is_file():
            train(
                network, self.data.train(), F.cross_entropy, Plain(), self.preparing, seed=0,
                checkpoint=folder / f"{self.name}.start.checkpoint",
            )  # fmt: skip
            save_file(network.state_dict(), path)
            (folder / f"{self.name}.start.checkpoint").unlink(missing_ok=True)
        network.load_state_dict(load_file(path))
        return network.eval()

    # -- what is measured ---------------------------------------------------------------------
    def macs(self, network: Any) -> float:
        """Multiply-accumulates per example."""
        return MACs(example=self.example).measure(network).value

    def accuracy(self, network: nn.Module, part: str) -> float:
        """On ``"valid"`` or ``"test"``."""
        most = self.valid_batches if part == "valid" else None
        loader = list(islice(getattr(self.data, part)(), self.batches or most))
        return Accuracy(loader=loader, metric=self.data.metric).measure(network.eval()).value

    def tuned(self, network: nn.Module, lr: float, seed: int, part: float = 1.0) -> nn.Module:
        """The network after fine-tuning, or after a part of its steps; it is changed."""
        assert self.recipe.steps is not None
        steps = max(1, round(self.recipe.steps * part))
        recipe = dataclasses.replace(self.recipe, lr=lr, steps=steps)
        network.train()
        train(network, self.task_of(seed).train(), F.cross_entropy, Plain(), recipe, seed=seed)
        return network.eval()

    def settled(self, network: nn.Module, calibration: list[Any]) -> nn.Module:
        """The network with the statistics of its batch norms taken anew, where it has any."""
        recalibrate(network, calibration)
        return network.eval()


JOBS = {
    "resnet56": Job(
        name="resnet56",
        options={"model": "resnet56"},
        recipe=Recipe(steps=240, weight_decay=5e-4, grad_clip=1.0),
        lrs=(0.01, 0.05),
        preparing=None,
        stream=("conv1", "bn1", "layer?.*.conv2", "layer?.*.bn2", "linear"),
        stream_names=("bn1.*", "layer?.*.bn2.*"),
        never=(),
        heads={},
        bare={},
        valid_batches=4,
    ),
    "minilm": Job(
        name="minilm",
        options={"length": 32},
        recipe=Recipe(steps=108, optimizer="adamw", weight_decay=0.01, warmup=0.1, grad_clip=1.0),
        lrs=(1e-4, 4e-4),
        preparing=Recipe(
            epochs=1, optimizer="adamw", lr=1e-4, weight_decay=0.01, warmup=0.1, grad_clip=1.0
        ),
        stream=("embeddings.*", "*.output.dense", "*.LayerNorm", "classifier"),
        stream_names=("embeddings.*",),
        never=("*.head_size*",),
        heads={"*.self.query": "heads", "*.self.key": "heads", "*.self.value": "heads"},
        bare={"embeddings.token_type_embeddings.weight": 1},
    ),
}
"""By name."""
