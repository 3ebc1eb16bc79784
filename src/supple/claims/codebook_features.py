"""Codebook features (paper 73, 2310.17230): hidden states as codes, to be read and forced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.claims import Arms, Data, Rule, claim, fit, seeded
from supple.compress.quantize import (
    code_scores,
    forced_codes,
    insert_codebooks_,
    recorded_codes,
)
from supple.seeds import generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The automaton and the network.

    Attributes:
        states: Of the automaton; each has three successors.
        length: States in a sequence.
        width: Of the network.
        codes: Of the codebook.
        sequences: For training.
        epochs: Passes.
    """

    states: int = 30
    length: int = 16
    width: int = 64
    codes: int = 200
    sequences: int = 4000
    epochs: int = 10


@claim(
    paper=73,
    says="A network keeps its accuracy when hidden states go through a codebook, single codes name "
    "states better than single neurons, and forcing a code makes it go on as from that state.",
    reported="On automata and language models: a modest loss, codes that match single states, and "
    "steering by forcing them.",
    here="A recurrent network with 30 states of a random automaton as alphabet: each symbol is an "
    "ambiguous emission (state modulo a third), so the state has to be inferred from two symbols. "
    "The codebook stands behind the recurrent layer. Forced random codes are the control.",
    rules=(
        Rule(metric="forced", method="codebook", baseline="random codes", margin=0.3),
        Rule(metric="valid", method="codebook", baseline="plain", expects="not worse", margin=0.03),
        Rule(metric="best F1", method="codebook", baseline="plain", margin=0.2),
    ),
    quick=Settings(states=12, width=32, codes=60, sequences=1000, epochs=6),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """The network with and without a codebook."""
    rng = generator(seed, "automaton")
    successors = np.stack([rng.permutation(settings.states)[:3] for _ in range(settings.states)])
    train, test = (_walks(successors, settings, rng, count) for count in (settings.sequences, 300))
    symbols = max(2, settings.states // 3)
    data = Data(
        name="automaton", classes=settings.states,
        train_x=train[:, :-1], train_y=train[:, 1:], test_x=test[:, :-1], test_y=test[:, 1:],
    )  # fmt: skip
    found: dict[str, dict[str, float]] = {}
    allowed = torch.zeros(settings.states, settings.states, dtype=torch.bool)
    allowed.scatter_(1, torch.from_numpy(successors), True)
    for arm in ("plain", "codebook"):
        with seeded(seed, "weights"):
            model = _Recurrent(symbols, settings)
            if arm == "codebook":
                insert_codebooks_(model, ["hidden"], features=settings.width, codes=settings.codes)
        fit(model, data, epochs=settings.epochs, lr=5e-3, seed=seed, loss=_loss)
        found[arm] = {"valid": _valid(model, data, allowed)}
        if arm == "plain":
            found[arm]["best F1"] = _neurons_f1(model, data, settings)
        else:
            scores = _code_table(model, data, settings)
            found[arm]["best F1"] = float(scores.amax(0).median())
            found[arm]["forced"] = _forced(model, data, scores.argmax(0), allowed, settings)
            drawn = torch.from_numpy(rng.integers(settings.codes, size=settings.states))
            found["random codes"] = {"forced": _forced(model, data, drawn, allowed, settings)}
    return found


def _walks(
    successors: np.ndarray, settings: Settings, rng: np.random.Generator, count: int
) -> Tensor:
    state = rng.integers(settings.states, size=count)
    walk = [state]
    for _ in range(settings.length):
        state = successors[state, rng.integers(3, size=count)]
        walk.append(state)
    return torch.from_numpy(np.stack(walk, 1))


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


class _Recurrent(nn.Module):
    """Reads ambiguous symbols, predicts the next state."""

    def __init__(self, symbols: int, settings: Settings) -> None:
        super().__init__()
        self.symbols = symbols
        self.emit = nn.Embedding(symbols, settings.width)
        self.previous = nn.Embedding(settings.states, settings.width)
        self.gru = nn.GRU(settings.width, settings.width, batch_first=True)
        self.hidden = nn.Linear(settings.width, settings.width)
        self.head = nn.Linear(settings.width, settings.states)

    def forward(self, states: Tensor) -> Tensor:
        x = self.emit(states % self.symbols)
        # The first state is given, the others have to be followed from their symbols.
        x = torch.cat([x[:, :1] + self.previous(states[:, :1]), x[:, 1:]], 1)
        scores: Tensor = self.head(self.hidden(self.gru(x)[0]))
        return scores


def _valid(model: nn.Module, data: Data, allowed: Tensor) -> float:
    with torch.no_grad():
        guess = model(data.test_x).argmax(-1)
    return float(allowed[data.test_x, guess].double().mean())


def _code_table(model: nn.Module, data: Data, settings: Settings) -> Tensor:
    with torch.no_grad(), recorded_codes(model) as found:
        model(data.train_x[:500])
    ids = found["hidden"][0].flatten(0, 2)
    labels = data.train_x[:500].flatten()
    return code_scores(ids, labels, codes=settings.codes, classes=settings.states)["f1"]


def _neurons_f1(model: _Recurrent, data: Data, settings: Settings) -> float:
    """The best F1 of a neuron above one of 20 thresholds, for each state; the median of them."""
    kept: list[Tensor] = []
    hook = model.hidden.register_forward_hook(lambda m, i, output: kept.append(output))
    with torch.no_grad():
        model(data.train_x[:500])
    hook.remove()
    values, labels = kept[0].flatten(0, 1), data.train_x[:500].flatten()
    is_state = F.one_hot(labels, settings.states).double()
    best = torch.zeros(settings.states)
    for quantile in torch.linspace(0.02, 0.98, 20):
        for sign in (1, -1):
            fired = (sign * values > (sign * values).quantile(quantile, dim=0)).double()
            both = fired.T @ is_state
            f1 = 2 * both / (fired.sum(0)[:, None] + is_state.sum(0)[None]).clamp(min=1)
            best = torch.maximum(best, f1.amax(0).float())
    return float(best.median())


def _forced(
    model: nn.Module, data: Data, codes: Tensor, allowed: Tensor, settings: Settings
) -> float:
    """How often the network goes on validly from the state whose code is forced."""
    right = []
    x = data.test_x[:100]
    for state in range(settings.states):
        with torch.no_grad(), forced_codes(model, {"hidden": codes[state]}):
            guess = model(x)[:, -1].argmax(-1)
        others = x[:, -1] != state  # where the network is in another state
        right.append(allowed[state, guess[others]].double().mean())
    return float(torch.stack(right).mean())
