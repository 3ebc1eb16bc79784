"""The one training loop: any network, any rule; seeded, checkpointed, resumable.

All that happens in step ``k`` follows from the seed, ``k`` and the state of network and optimiser
before it. A run that was interrupted and resumed therefore gives bit for bit what it would have
given undisturbed (on the same machine with the same number of threads).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from supple.elastic.training._batch import Batch, all_finite, to_device
from supple.elastic.training._checkpoint import Progress, load_checkpoint, save_checkpoint
from supple.elastic.training._interrupt import Interrupt, deferred_interrupt
from supple.elastic.training._log import TrainingLog, TrainingProgress
from supple.elastic.training._modes import in_mode
from supple.elastic.training._recipe import Recipe
from supple.elastic.training._registry import rule_settings
from supple.elastic.training._rule import Loss, Rule, StepContext, losses_of, rule_name
from supple.elastic.training._seeding import (
    Purpose,
    check_seed,
    forked_torch_rng,
    generator,
    seed_for,
    seed_torch,
)
from supple.elastic.training._stream import Loader, batches_per_epoch, stream
from supple.errors import TrainingError

__all__ = ["train"]


def train(
    net: nn.Module,
    loader: Loader,
    loss: Loss,
    rule: Rule,
    recipe: Recipe,
    *,
    teacher: nn.Module | None = None,
    seed: int = 0,
    start: int = 0,
    stop: int | None = None,
    progress: Callable[[TrainingProgress], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
) -> TrainingLog:
    """Train ``net`` in place.

    Train or eval mode of every module, and torch's random state, are afterwards as before. Ctrl-C
    takes effect between two steps and leaves a checkpoint to go on from, if one was asked for.

    Args:
        net: An elastic network, or any module for a rule that samples no sub-networks.
        loader: Gives batches ``(inputs, targets)``, again and again: ``Batches``, a DataLoader, a
            list. Of these, ``Batches`` resumes without reading again what came before.
        loss: ``loss(outputs, targets)`` to a scalar tensor.
        rule: What to do with a batch, such as ``Plain()`` or ``Sandwich()``.
        recipe: How long and how fast.
        teacher: A network to learn from; it is not changed.
        seed: Where every random draw follows from, dropout included.
        start: Step to begin at: learning rate, batches and draws are those of an undisturbed run
            from there on, the optimiser is fresh. For weights rewound to that step.
        stop: Step to end before, where that is not the end of the recipe.
        progress: Called after every step.
        checkpoint: File to keep the state in. If it is there, the run goes on from it.
        checkpoint_every: Steps between two checkpoints; one is also written at the end.

    Raises:
        TrainingError: The loss or its gradient is not finite, the rule does not fit the network,
            or the checkpoint is damaged or of another run.
        DataError: The loader gives no batches, or something else than batches.

    Example:
        >>> import torch
        >>> from supple.elastic.training import Batches, Plain, Recipe, train
        >>> x = torch.linspace(-1, 1, 32)[:, None]
        >>> net = torch.nn.Linear(1, 1)
        >>> log = train(net, Batches(x, 3 * x, batch_size=8), torch.nn.functional.mse_loss,
        ...             Plain(), Recipe(epochs=30, lr=0.3))
        >>> round(net.weight.item(), 2)
        3.0
    """
    check_seed(seed)
    if teacher is not None and not getattr(rule, "takes_teacher", True):
        raise _no_use_for_teacher(rule)
    run = _Run(
        net=net,
        loader=loader,
        loss=loss,
        rule=rule,
        recipe=recipe,
        teacher=teacher,
        seed=int(seed),
        optimizer=recipe.build(net.parameters()),
        epoch_length=batches_per_epoch(loader),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        start=start,
    )
    resumed_at = run.resume()
    with _training(net, teacher, run.device), deferred_interrupt() as interrupt:
        try:
            last = run.steps if stop is None else min(stop, run.steps)
            _all_steps(run, last, progress, checkpoint_every, interrupt)
            run.save()
        except KeyboardInterrupt:
            if not run.in_step:
                run.save()
            raise
    return TrainingLog(
        losses=tuple(run.state.losses),
        steps=run.state.step,
        epochs=run.state.step / run.epoch_length,
        seconds=run.state.seconds,
        resumed_at=resumed_at,
        rule=rule_settings(rule),
        recipe=recipe.to_json(),
        seed=run.seed,
    )


def _all_steps(
    run: _Run,
    last: int,
    report: Callable[[TrainingProgress], object] | None,
    checkpoint_every: int,
    interrupt: Interrupt,
) -> None:
    state = run.state
    began = time.perf_counter() - state.seconds
    place = {"epoch": state.epoch, "batch": state.batch}
    with closing(stream(run.loader, run.seed, run.device, **place)) as batches:
        while state.step < last:
            epoch, index, batch = next(batches)
            run.in_step = True
            lr = run.recipe.lr_at(state.step, run.steps)
            loss = run.update(to_device(batch, run.device), epoch, lr)
            state.losses.append(loss)
            state.step, state.epoch, state.batch = state.step + 1, epoch, index + 1
            state.seconds = time.perf_counter() - began
            run.in_step = False
            if state.step % checkpoint_every == 0:
                run.save()
            if report is not None:
                report(
                    TrainingProgress(
                        step=state.step,
                        steps=run.steps,
                        epoch=epoch,
                        loss=loss,
                        lr=lr,
                        seconds=state.seconds,
                    )
                )
            interrupt.raise_if_asked()


@dataclass(kw_only=True)
class _Run:
    """The parts of one run and its state."""

    net: nn.Module
    loader: Loader
    loss: Loss
    rule: Rule
    recipe: Recipe
    teacher: nn.Module | None
    seed: int
    optimizer: torch.optim.Optimizer
    epoch_length: int
    checkpoint: Path | None
    start: int = 0
    state: Progress = field(default_factory=lambda: Progress(losses=[]))
    in_step: bool = False

    def __post_init__(self) -> None:
        self.steps = self.recipe.total_steps(self.epoch_length)
        self.trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.device = self.trained[0].device
        if not 0 <= self.start < self.steps:
            raise TrainingError(
                f"A run of {self.steps} steps was asked to begin at step {self.start!r}.",
                hint="a step of the run, from 0",
            )
        self.state.step = self.start
        self.state.epoch, self.state.batch = divmod(self.start, self.epoch_length)

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be of this run, as JSON data."""
        shapes = [
            (name, list(t.shape), str(t.dtype))
            for name, t in self.net.state_dict().items()
            if isinstance(t, Tensor)
        ]
        return {
            "rule": rule_settings(self.rule),
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "batches per epoch": self.epoch_length,
            "teacher": self.teacher is not None,
            **({"start": self.start} if self.start else {}),
            "network": hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:12],
        }

    def resume(self) -> int:
        """Take up the checkpoint, if there is one; the step at which the run goes on."""
        if self.checkpoint is not None and self.checkpoint.exists():
            self.state = load_checkpoint(self.checkpoint, self.net, self.optimizer, self.describe())
        return self.state.step

    def save(self) -> None:
        """Write the checkpoint, if one is asked for."""
        if self.checkpoint is not None:
            save_checkpoint(self.checkpoint, self.net, self.optimizer, self.state, self.describe())

    def update(self, batch: Batch, epoch: int, lr: float) -> float:
        """One optimiser step; the step's loss."""
        step = self.state.step
        seed_torch(seed_for(self.seed, Purpose.STEP, step), self.device)
        context = StepContext(
            rng=generator(self.seed, Purpose.RULE, step),
            loss=self.loss,
            teacher=self.teacher,
            step=step,
            epoch=epoch,
        )
        self.optimizer.zero_grad(set_to_none=True)
        total: float | None = None
        for loss in losses_of(self.rule, self.net, batch, context):
            value = self._checked(loss, batch)
            total = value if total is None else total + value
            loss.backward()  # type: ignore[no-untyped-call]
        if total is None:
            raise TrainingError(f"The training rule '{rule_name(self.rule)}' gave no loss.")
        self._clip(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        return total

    def _checked(self, loss: Any, batch: Batch) -> float:
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise _no_loss(loss, self.rule)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._not_finite("loss", value, batch)
        return value

    def _clip(self, batch: Batch) -> None:
        gradients = [p.grad for p in self.trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not math.isfinite(float(norm)):
            raise self._not_finite("norm of the gradient", float(norm), batch)
        if self.recipe.grad_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.recipe.grad_clip, norm)

    def _not_finite(self, what: str, value: float, batch: Batch) -> TrainingError:
        losses = self.state.losses
        step = self.state.step
        last = f"{losses[-1]:.6g}, at step {step - 1}" if losses else "none, this is the first step"
        hint = "a smaller lr, a longer warmup, or grad_clip=1.0 in the recipe"
        if not all_finite(batch):
            hint = "look at the data: this batch holds values that are nan or infinite"
        if self.checkpoint is not None and self.checkpoint.exists():
            hint += f"; the last checkpoint is kept in '{self.checkpoint}'"
        return TrainingError(
            f"The {what} is {value} at step {step} of {self.steps}, "
            f"under the rule '{rule_name(self.rule)}'.",
            why=f"The last finite loss is {last}. The weights are those before this step.",
            hint=hint,
            step=step,
            rule=rule_name(self.rule),
            last_finite_loss=losses[-1] if losses else None,
        )


@contextmanager
def _training(net: nn.Module, teacher: nn.Module | None, device: torch.device) -> Iterator[None]:
    """Inside, ``net`` is in train mode and its teacher in eval mode; after, all is as before."""
    with ExitStack() as stack:
        stack.callback(net.zero_grad, set_to_none=True)
        stack.enter_context(in_mode(net, training=True))
        if teacher is not None:
            stack.enter_context(in_mode(teacher, training=False))
        stack.enter_context(forked_torch_rng(device))
        stack.enter_context(torch.enable_grad())
        yield


def _no_use_for_teacher(rule: Rule) -> TrainingError:
    return TrainingError(
        f"The training rule '{rule_name(rule)}' was given a teacher, which it does not use.",
        hint="the rule 'distil' for a network as it is, or 'sandwich' for an elastic one",
        rule=rule_name(rule),
    )


def _no_loss(loss: Any, rule: Rule) -> TrainingError:
    if isinstance(loss, Tensor):
        found = f"a tensor of shape {tuple(loss.shape)}"
        if not loss.requires_grad:
            found += " that depends on no parameter"
    else:
        found = f"a {type(loss).__name__}"
    return TrainingError(
        f"The loss under the rule '{rule_name(rule)}' is {found}.",
        why="Training follows the gradient of one number that depends on the weights.",
        hint="a loss that returns a scalar tensor, without detach() or item(), "
        "such as torch.nn.CrossEntropyLoss()",
        rule=rule_name(rule),
    )
