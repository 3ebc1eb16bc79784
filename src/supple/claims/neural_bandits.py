"""Neural bandits by inverse gaps (paper 71, 2312.07145): fewer mistakes than by upper bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from supple.claims import Arms, Curve, Data, Lines, Rule, claim, table
from supple.search._neural_bandit import PerturbedNetwork
from supple.search.neu_fast_cb import fast_chances
from supple.search.neu_square_cb import square_chances
from supple.seeds import generator

__all__ = ["Settings", "measure"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The stream of contexts and the networks.

    Attributes:
        rounds: Decisions of a run.
        tuning: Decisions of each run on other contexts by which settings are chosen.
        width: Hidden units.
        rates: Learning rates that are tried, for every method.
    """

    rounds: int = 1200
    tuning: int = 400
    width: int = 64
    rates: tuple[float, ...] = (0.3, 1.0)


# What each method tries: how much it follows what it knows, or how much it explores.
TRIED = {
    "NeuSquareCB": (100.0, 1000.0),
    "NeuFastCB": (100.0, 1000.0),
    "NeuralUCB": (0.01, 0.1),
    "greedy": (0.02, 0.1),
    "uniform": (0.0,),
}


@claim(
    paper=71,
    says="Drawing actions by inverse gaps of an online network's predicted losses makes fewer "
    "mistakes than upper confidence bounds or greedy choices of the same network.",
    reported="Lower cumulative regret than NeuralUCB, NeuralTS and epsilon-greedy on six data "
    "sets, the variant with the logistic loss best.",
    here="Digits as a bandit of ten actions: the image comes, an action is taken, and only whether "
    "it names the image is told. 1,200 decisions. All methods use one hidden layer of 64 and "
    "online gradient steps; each chooses its learning rate and its exploration, out of four "
    "settings, on 400 other images. NeuralUCB keeps the diagonal of its covariance.",
    rules=(
        Rule(metric="mistakes", method="NeuSquareCB", baseline="NeuralUCB", better="lower",
             scale="ratio", margin=1.05),
        Rule(metric="mistakes", method="NeuSquareCB", baseline="greedy", better="lower",
             scale="ratio", margin=1.05),
        Rule(metric="mistakes", method="NeuFastCB", baseline="NeuSquareCB", better="lower",
             scale="ratio", margin=1.05),
        Rule(metric="mistakes", method="NeuSquareCB", baseline="uniform", better="lower",
             scale="ratio", margin=1.5),
    ),
    quick=Settings(rounds=400, tuning=100, width=32),
    full=Settings(),
    tried="With perturbations of 0.1 instead of 0.01 of the weights' moves, the networks with the "
    "square loss, of all methods alike, learned nothing: the perturbation's own slope made the "
    "steps diverge.",
    figure=Lines(metric="mistakes so far", x="decisions", title="mistakes so far"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """All methods on the same images in the same order."""
    data = table("digits", seed)
    tune, run = _stream(data, settings)
    arms: dict[str, dict[str, float | Curve]] = {}
    for method, tried in TRIED.items():
        choices = [(rate, level) for rate in settings.rates for level in tried]
        least = {c: _mistakes(method, tune, c, seed, settings.width).sum() for c in choices}
        best = min(choices, key=lambda choice: float(least[choice]))
        mistakes = np.cumsum(_mistakes(method, run, best, seed + 1_000, settings.width))
        arms[method] = {
            "mistakes": float(mistakes[-1]),
            "mistakes so far": [(float(n + 1), float(mistakes[n]))
                                for n in range(49, len(mistakes), 50)],
        }  # fmt: skip
    return arms


Stream = tuple[Array, NDArray[np.int64]]


def _stream(data: Data, settings: Settings) -> tuple[Stream, Stream]:
    """The images to tune on, and then those that count; of length about 1."""
    x = np.vstack([data.train_x.numpy(), data.test_x.numpy()]).astype(np.float64)
    y = np.concatenate([data.train_y.numpy(), data.test_y.numpy()]).astype(np.int64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    first, last = settings.tuning, settings.tuning + settings.rounds
    return (x[:first], y[:first]), (x[first:last], y[first:last])


def _mistakes(
    method: str, stream: Stream, choice: tuple[float, float], seed: int, width: int
) -> Array:
    """1 for each decision that was wrong, else 0."""
    rate, level = choice
    (x, y), classes, size = stream, 10, stream[0].shape[1]
    rng = generator(seed, "bandit", method)
    loss: Literal["square", "kl"] = "kl" if method == "NeuFastCB" else "square"
    network = PerturbedNetwork(
        classes * size, width=width, perturbation=0.01, copies=4, loss=loss, rng=rng
    )
    seen = np.ones(len(network.theta))  # the diagonal of NeuralUCB's covariance
    wrong = np.zeros(len(x))
    for number, (image, label) in enumerate(zip(x, y, strict=True), start=1):
        # The image stands in the block of the action.
        contexts = np.kron(np.eye(classes), image)
        predicted = network.predict(contexts)
        if method == "NeuralUCB":
            slopes = _slopes(network, contexts)
            action = int(np.argmin(predicted - level * np.sqrt(slopes**2 @ (1.0 / seen))))
            seen += slopes[action] ** 2
        else:
            chances = CHANCES[method](predicted, level)
            action = int(rng.choice(classes, p=chances / chances.sum()))
        wrong[number - 1] = float(action != label)
        network.update(contexts[action], wrong[number - 1], rate / number**0.25, radius=50.0)
    return wrong


def _slopes(network: PerturbedNetwork, contexts: Array) -> Array:
    """The slope of the plain output by all weights, one row for each context."""
    inner, outer = network._parts(network.theta)
    hidden = contexts @ inner.T
    first = ((hidden > 0) * outer)[:, :, None] * contexts[:, None, :]
    both = np.hstack([first.reshape(len(contexts), -1), np.maximum(hidden, 0.0)])
    found: Array = both / network.width**0.5
    return found


def _greedy(predicted: Array, level: float) -> Array:
    """The best one, and any with a small chance."""
    chances = np.full(len(predicted), level / len(predicted))
    chances[int(np.argmin(predicted))] += 1.0 - level
    return chances


CHANCES: dict[str, Callable[[Array, float], Array]] = {
    "NeuSquareCB": square_chances,
    "NeuFastCB": fast_chances,
    "greedy": _greedy,
    "uniform": lambda predicted, level: np.full(len(predicted), 1.0 / len(predicted)),
}
