"""Lottery tickets (papers 98 and 123): iterate, train, prune, rewind.

A dense network is trained, its smallest weights are removed, the others go back to what they were
at the start or a little later, and the sparse network is trained again; so on for some rounds. The
sparse network that is left, at its early weights, is a ticket: it is to learn as well as the dense
one (1803.03635). For deeper networks "a little later" is what makes it work (1903.01611).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from supple.compress.mask import (
    Masks,
    apply_masks,
    density,
    full_masks,
    load_plain_state,
    plain_state,
    remove_masks,
)
from supple.compress.prune import Magnitude, Pruner, find_masks
from supple.compress.prune._pruner import Batch, Loss
from supple.compress.sparsity import Allocation, check_ratio
from supple.compress.tickets._controls import redrawn, shuffled
from supple.compress.tickets._files import read_round, write_round
from supple.elastic.training import Plain, Recipe, Rule, TrainingLog, train
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["LotteryTickets", "Round", "RoundPruner", "Ticket", "Tickets"]

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a pruner may look at when a round is over.

    Attributes:
        network: The trained network, masked.
        masks: Its masks.
        start: The weights the round began with.
        ratio: Share of the remaining weights to remove.
        scope: How it is allocated to layers.
        protect: Weights left whole.
        batches: A few batches of the data.
        loss: The task's loss.
        number: Number of the round, from 0.
        seed: Of the run.
    """

    network: nn.Module = field(repr=False)
    masks: Masks = field(repr=False)
    start: Mapping[str, Tensor] = field(repr=False)
    ratio: float
    scope: Allocation = "global"
    protect: tuple[str, ...] = ()
    batches: Sequence[Batch] = field(default=(), repr=False)
    loss: Loss = field(repr=False)
    number: int = 0
    seed: int = 0


@runtime_checkable
class RoundPruner(Protocol):
    """A pruner that needs to know what a round began with."""

    def prune_round(self, now: Round) -> dict[str, Tensor]:
        """The masks of the next round."""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A sparse network of one round.

    Attributes:
        round: 0 is the dense network.
        masks: Which weights it has.
        start: The weights it is trained from.
        end: The weights it was trained to.
        losses: Of every step of its training.
        values: What ``score`` gave for the trained network, by name.
    """

    round: int
    masks: Masks = field(repr=False)
    start: State = field(repr=False)
    end: State = field(repr=False)
    losses: tuple[float, ...] = field(repr=False)
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def density(self) -> float:
        """Share of the weights that can be masked which it has."""
        return density(self.masks)

    def network(self, model: nn.Module, *, trained: bool = False) -> nn.Module:
        """The ticket as a masked copy of ``model``, at its start or as it was trained."""
        twin = _bare(model)
        load_plain_state(twin, self.end if trained else self.start)
        return apply_masks(twin, self.masks)

    def redrawn(self, model: nn.Module, seed: int) -> nn.Module:
        """Control: the same structure with weights drawn anew."""
        return apply_masks(redrawn(_bare(model), seed), self.masks)

    def shuffled(self, model: nn.Module, seed: int) -> nn.Module:
        """Control: the same start and as many weights in each layer, at random places."""
        twin = load_plain_state(_bare(model), self.start)
        return apply_masks(twin, shuffled(self.masks, seed))


@dataclass(frozen=True, kw_only=True)
class Tickets(Sequence[Ticket]):
    """The tickets of a run, the dense network first.

    Attributes:
        tickets: One for each round.
    """

    tickets: tuple[Ticket, ...]

    def __len__(self) -> int:
        return len(self.tickets)

    def __getitem__(self, place: Any) -> Any:
        return self.tickets[place]

    def at_density(self, wanted: float) -> Ticket:
        """The ticket whose density is nearest."""
        return min(self.tickets, key=lambda ticket: abs(ticket.density - wanted))


@implements(98, 123)
@dataclass(frozen=True, kw_only=True)
class LotteryTickets:
    """Iterative pruning with rewinding.

    In every round the network is trained from step ``rewind`` to the end of the recipe, with the
    learning rates and batches of those steps and a fresh optimiser; the first time, from step 0.
    Then the share ``ratio`` of the weights that are left is removed and the others go back to
    their values at step ``rewind``, batch-norm statistics and biases too.

    Attributes:
        rounds: Prunings; there is one training more.
        ratio: Share of the remaining weights a round removes.
        rewind: Step to go back to; 0 is the original lottery ticket.
        scope: How the share is allocated to layers.
        protect: Patterns of weights that are left whole, such as the last layer.
        pruner: What scores the weights, or a `RoundPruner`.

    Example:
        >>> from torch import nn
        >>> from supple.compress.tickets import LotteryTickets
        >>> import torch
        >>> from supple.elastic.training import Batches, Recipe
        >>> x = torch.randn(64, 8)
        >>> data = Batches(x, (x[:, 0] > 0).long(), batch_size=16)
        >>> search = LotteryTickets(rounds=2, ratio=0.5)
        >>> found = search.run(nn.Linear(8, 2), data, nn.CrossEntropyLoss(), Recipe(epochs=2))
        >>> [ticket.density for ticket in found]
        [1.0, 0.5, 0.25]
    """

    rounds: int = 5
    ratio: float = 0.2
    rewind: int = 0
    scope: Allocation = "global"
    protect: tuple[str, ...] = ()
    pruner: Pruner | RoundPruner = field(default_factory=Magnitude)

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if self.rounds < 0 or self.rewind < 0:
            raise CompressError(
                f"tickets were asked for with rounds={self.rounds}, rewind={self.rewind}.",
                hint="0 or more of both",
            )

    def run(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss,
        recipe: Recipe,
        *,
        seed: int = 0,
        rule: Rule | None = None,
        score: Callable[[nn.Module], float | Mapping[str, float]] | None = None,
        folder: str | Path | None = None,
    ) -> Tickets:
        """Find tickets of ``model``, which is not changed: its weights are the initial ones.

        Args:
            model: The dense network as it was drawn.
            data: A loader as `supple.elastic.training.train` takes it.
            loss: ``loss(outputs, targets)``.
            recipe: Of every training.
            seed: Of the trainings; the order of the data is the same in all rounds.
            rule: What training does with a batch; by default plain.
            score: Called with every trained network (masked, in evaluation mode); its number, or
                numbers by name, are the ticket's ``values``.
            folder: Where to keep finished rounds and the training under way. With the same folder
                a run that was stopped goes on.

        Raises:
            CompressError: The folder is of another run.
        """
        store = _Store(None if folder is None else Path(folder), self, recipe, seed, model)
        masks: Masks = full_masks(model, protect=self.protect)
        rewound: State | None = plain_state(model) if self.rewind == 0 else None
        tickets: list[Ticket] = []
        for number in range(self.rounds + 1):
            ticket = store.load(number)
            if ticket is None:
                ticket = self._round(
                    model, masks, rewound, number, data, loss, recipe, seed, rule, score, store
                )
                store.save(ticket)
            tickets.append(ticket)
            rewound = ticket.start
            if number < self.rounds:
                masks = self._next(model, ticket, data, loss, number, seed)
        return Tickets(tickets=tuple(tickets))

    def _round(
        self,
        model: nn.Module,
        masks: Masks,
        rewound: State | None,
        number: int,
        data: Any,
        loss: Loss,
        recipe: Recipe,
        seed: int,
        rule: Rule | None,
        score: Callable[[nn.Module], float | Mapping[str, float]] | None,
        store: _Store,
    ) -> Ticket:
        """Train one sparse network, and for the first find what the others go back to."""
        network = apply_masks(_bare(model), masks)
        first, state = self.rewind, rewound
        if state is None:
            state = plain_state(model)
            if self.rewind:
                _train(
                    network, data, loss, rule, recipe, seed, stop=self.rewind,
                    checkpoint=store.checkpoint("early"),
                )  # fmt: skip
                state = plain_state(network)
        load_plain_state(network, state)
        log = _train(
            network, data, loss, rule, recipe, seed, start=first,
            checkpoint=store.checkpoint(f"round{number}"),
        )  # fmt: skip
        values: Mapping[str, float] = {}
        if score is not None:
            found = score(network.eval())
            values = found if isinstance(found, Mapping) else {"score": float(found)}
        return Ticket(
            round=number,
            masks={name: mask.clone() for name, mask in masks.items()},
            start=state,
            end=plain_state(network),
            losses=tuple(log.losses),
            values=values,
        )

    def _next(
        self, model: nn.Module, ticket: Ticket, data: Any, loss: Loss, number: int, seed: int
    ) -> dict[str, Tensor]:
        network = ticket.network(model, trained=True)
        is_simple = not isinstance(self.pruner, RoundPruner)
        needs_data = not is_simple or getattr(self.pruner, "needs_data", False)
        batches = list(_few(data, 8)) if needs_data else []
        if isinstance(self.pruner, RoundPruner):
            return self.pruner.prune_round(
                Round(
                    network=network,
                    masks=ticket.masks,
                    start=ticket.start,
                    ratio=self.ratio,
                    scope=self.scope,
                    protect=self.protect,
                    batches=batches,
                    loss=loss,
                    number=number,
                    seed=seed,
                )
            )
        return find_masks(
            network, self.pruner, self.ratio, scope=self.scope, among=ticket.masks,
            batches=batches, loss=loss, protect=self.protect,
        )  # fmt: skip


def _bare(model: nn.Module) -> nn.Module:
    return remove_masks(copy.deepcopy(model), keep_zeros=False)


def _few(data: Any, most: int) -> Iterator[Batch]:
    for count, batch in enumerate(data):
        if count == most:
            return
        yield batch


def _train(
    network: nn.Module,
    data: Any,
    loss: Loss,
    rule: Rule | None,
    recipe: Recipe,
    seed: int,
    *,
    start: int = 0,
    stop: int | None = None,
    checkpoint: Path | None,
) -> TrainingLog:
    return train(
        network, data, loss, rule or Plain(), recipe, seed=seed, start=start, stop=stop,
        checkpoint=checkpoint,
    )  # fmt: skip


class _Store:
    """Finished rounds on disk, if a folder was given."""

    def __init__(
        self, folder: Path | None, search: LotteryTickets, recipe: Recipe, seed: int,
        model: nn.Module,
    ) -> None:  # fmt: skip
        self.folder = folder
        sizes = {name: list(tensor.shape) for name, tensor in plain_state(model).items()}
        settings = {f.name: getattr(search, f.name) for f in dataclasses.fields(search)}
        self.run = {
            "search": {n: repr(v) for n, v in settings.items() if n != "rounds"},
            "recipe": recipe.to_json(),
            "seed": seed,
            "sizes": sizes,
        }
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def checkpoint(self, name: str) -> Path | None:
        """Where the training under way keeps its state."""
        return None if self.folder is None else self.folder / f"{name}.training.safetensors"

    def load(self, number: int) -> Ticket | None:
        """A finished round, or None."""
        path = self._path(number)
        if path is None or not path.exists():
            return None
        parts, about = read_round(path)
        if about["run"] != self.run:
            raise CompressError(
                f"'{path}' is of another search for tickets.",
                why="Its settings, recipe, seed or model differ.",
                hint="another folder, or the settings it was begun with",
            )
        return Ticket(
            round=number,
            masks=parts["masks"],
            start=parts["start"],
            end=parts["end"],
            losses=tuple(parts["log"]["losses"].tolist()),
            values=about["values"],
        )

    def save(self, ticket: Ticket) -> None:
        """Keep a finished round, and drop its training's checkpoints."""
        path = self._path(ticket.round)
        if path is None or self.folder is None:
            return
        losses = torch.tensor(ticket.losses, dtype=torch.float64)
        parts = {
            "masks": ticket.masks, "start": ticket.start, "end": ticket.end,
            "log": {"losses": losses},
        }  # fmt: skip
        write_round(path, parts, {"run": self.run, "values": dict(ticket.values)})
        for left in self.folder.glob("*.training.safetensors"):
            left.unlink()

    def _path(self, number: int) -> Path | None:
        return None if self.folder is None else self.folder / f"round{number}.safetensors"
