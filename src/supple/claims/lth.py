"""Lottery tickets (paper 98, 1803.03635): sparse networks that learn as well as the dense one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from supple.claims import Arms, Data, Dots, Rule, accuracy, best_lr, claim, digits, fit
from supple.claims._small_networks import perceptron
from supple.compress.report import sparsity_report
from supple.compress.tickets import LotteryTickets, small_dense
from supple.elastic.training import Batches, Recipe

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How slowly to prune, and how long to train.

    Attributes:
        rounds: Prunings; the ticket has ``(1 - ratio) ** rounds`` of the weights.
        ratio: Share of the remaining weights a round removes.
        epochs: Of every training.
        lrs: Learning rates every arm may choose from.
    """

    rounds: int = 10
    ratio: float = 0.285
    epochs: int = 16
    lrs: tuple[float, ...] = (4e-3, 1.2e-2)


@claim(
    paper=98,
    says="A sparse sub-network found by iterative magnitude pruning, set back to its initial "
    "weights, learns as well as the dense network, and better than with new weights.",
    reported="LeNet-300-100 on MNIST: the accuracy of the dense network with 3.6 % of the weights, "
    "and faster learning; with weights drawn anew the same structure is worse.",
    here="The same network on 1,200 digits of 8x8, at 3.5 % of the weights, layers pruned alike. "
    "Ticket, redrawn ticket, random ticket and a small dense network of as many parameters are "
    "each trained for as long, at their own best learning rate.",
    rules=(
        Rule(metric="accuracy", method="ticket", baseline="redrawn", margin=0.01),
        Rule(metric="accuracy", method="ticket", baseline="dense", expects="not worse",
             margin=0.01),
        Rule(metric="accuracy", method="ticket", baseline="shuffled", margin=0.01),
        Rule(metric="accuracy", method="ticket", baseline="small dense", margin=0.01),
        Rule(metric="accuracy after an eighth", method="ticket", baseline="redrawn", margin=0.01),
    ),
    quick=Settings(rounds=5, ratio=0.488, epochs=8, lrs=(4e-3, 1.2e-2)),
    full=Settings(),
    figure=Dots(metric="accuracy"),
    tried="Both budgets were shortened, for all arms alike, to fit the time, before this evidence "
    "was measured; an earlier quick run was not decided either.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Find the ticket, then train it beside its controls."""
    data = digits(seed)
    model = perceptron((64, 300, 100, 10), seed)
    search = LotteryTickets(rounds=settings.rounds, ratio=settings.ratio, scope="uniform")
    ticket = search.run(
        model, Batches(data.train_x, data.train_y, batch_size=64, seed=seed), F.cross_entropy,
        Recipe(epochs=settings.epochs, optimizer="adamw", lr=1.2e-3), seed=seed,
    )[-1]  # fmt: skip
    others = sum(p.numel() for p in model.parameters() if p.dim() < 2)
    kept = sum(int(mask.sum()) for mask in ticket.masks.values()) + others
    arms: dict[str, Callable[[], nn.Module]] = {
        "ticket": lambda: ticket.network(model),
        "redrawn": lambda: ticket.redrawn(model, seed),
        "shuffled": lambda: ticket.shuffled(model, seed),
        "small dense": lambda: small_dense(model, kept, data.train_x[:2], seed=seed),
        "dense": lambda: perceptron((64, 300, 100, 10), seed),
    }
    return {arm: _trained(build, data, seed, settings) for arm, build in arms.items()}


def _trained(
    build: Callable[[], nn.Module], data: Data, seed: int, settings: Settings
) -> dict[str, float]:
    """Accuracy early on and at the end, at the arm's own best learning rate."""
    lr = best_lr(build, data, settings.lrs, seed=seed, epochs=settings.epochs)
    model, early = build(), build()
    fit(early, data, epochs=settings.epochs / 8, lr=lr, seed=seed)
    fit(model, data, epochs=settings.epochs, lr=lr, seed=seed)
    return {
        "accuracy": accuracy(model, data),
        "accuracy after an eighth": accuracy(early, data),
        "parameters": float(sparsity_report(model).parameters),
    }
