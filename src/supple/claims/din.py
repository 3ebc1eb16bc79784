"""Dice (paper 48, 1706.06978) in the click predictor it was made for, Deep Interest Network.

The data are MovieLens 100K (Harper and Konstan, "The MovieLens Datasets: History and Context",
2015), which may be used for research but not passed on: get ``ml-100k.zip`` from
https://grouplens.org/datasets/movielens/100k and put its ``u.data`` and ``u.item`` into the folder
``movielens_100k`` of the folder that ``SUPPLE_DATA`` names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from supple.blocks.dice import Dice
from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, fit, parameters, seeded
from supple.errors import DataError
from supple.seeds import generator
from supple.tasks._data_folder import find

__all__ = ["Settings", "measure"]


BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Size of the data and length of the training.

    Attributes:
        per_user: Ratings of each user that are examples.
        history: Films in a history.
        epochs: Passes over the training part.
        lrs: Learning rates every arm chooses from.
    """

    per_user: int = 50
    history: int = 15
    epochs: int = 2
    lrs: tuple[float, ...] = (3e-3, 1e-2)


@claim(
    paper=48,
    says="Deep Interest Network ranks better with Dice, whose corner follows the data, than with "
    "PReLU.",
    reported="AUC by user on MovieLens 0.7348 with Dice, 0.7337 with PReLU; on Amazon's "
    "electronics 0.8871 and 0.8818; the authors later corrected these to 0.871 and 0.870.",
    here="As there, does a user who was not trained on rate a film 4 or 5, from the films the user "
    "liked before: MovieLens 100K (to be fetched from GroupLens), up to 50 ratings of each of 943 "
    "users, 30 % of the users for the test. The network is small (embeddings of 16, attention of "
    "36, layers of 80 and 40), its activations in attention and layers are one of four; padding "
    "does not enter Dice's statistics. Since Dice is also a normalisation, batch norm with PReLU "
    "is there too. Same weights at the start; every arm chooses its learning rate on users held "
    "out. The paper's effect is a tenth of a point on these data.",
    rules=(
        Rule(metric="AUC by user", method="dice", baseline="prelu", margin=0.001),
        Rule(metric="AUC by user", method="dice", baseline="relu", margin=0.001),
        Rule(metric="AUC by user", method="dice", baseline="batch norm, prelu",
             expects="not worse", margin=0.002),
    ),
    quick=Settings(per_user=20, history=8, lrs=(6e-3,)),
    full=Settings(),
    full_seeds=8,
    figure=Dots(metric="AUC by user"),
    tried="The size of the data and the learning rates to choose from were set, for all arms "
    "alike, by the time a run takes and by the AUC of the ReLU network alone, on one seed.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """The same network with four activations."""
    data, genres = _films(seed, settings)
    arms: dict[str, dict[str, float]] = {}
    for arm in ("dice", "prelu", "relu", "batch norm, prelu"):
        model = _best(partial(_Interest, arm, genres), data, seed, settings)
        arms[arm] = {
            "AUC by user": _auc_by_user(model, data),
            "accuracy": accuracy(model, data),
            "parameters": float(parameters(model)),
        }
    return arms


def _best(build: Callable[[], nn.Module], data: Data, seed: int, settings: Settings) -> nn.Module:
    """Trained at the learning rate that ranks best for a fifth of the training users, held out."""

    def trained(lr: float, part: Data) -> nn.Module:
        with seeded(seed, "weights"):
            model = build()
        fit(model, part, epochs=settings.epochs, lr=lr, seed=seed, batch_size=BATCH)
        return model.eval()

    part, lr = data.held_out(), settings.lrs[0]
    if len(settings.lrs) > 1:
        lr = max(settings.lrs, key=lambda one: _auc_by_user(trained(one, part), part))
    return trained(lr, data)


class _Interest(nn.Module):
    """Deep Interest Network: a user is the sum of past films, each as far as it fits this one."""

    genres: Tensor

    def __init__(self, arm: str, genres: Tensor, size: int = 8) -> None:
        super().__init__()
        self.register_buffer("genres", genres)
        self.film = nn.Embedding(len(genres), size)
        self.genre = nn.Linear(genres.shape[1], size, bias=False)
        self.fits = nn.Sequential(nn.Linear(8 * size, 36), _activation(arm, 36), nn.Linear(36, 1))
        self.scores = nn.Sequential(
            nn.BatchNorm1d(6 * size),
            nn.Linear(6 * size, 80), _activation(arm, 80),
            nn.Linear(80, 40), _activation(arm, 40),
            nn.Linear(40, 2),
        )  # fmt: skip
        nn.init.normal_(self.film.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Rows of user, film and past films, 0 for none, to scores of disliked and liked."""
        this, past = x[:, 1], x[:, 2:]
        row, place = past.nonzero(as_tuple=True)
        film, films = self._embedded(this), self._embedded(past[row, place])
        asked = film[row]
        weight = self.fits(torch.cat((asked, films, asked - films, asked * films), 1))
        user = torch.zeros_like(film).index_add(0, row, weight * films)
        scores: Tensor = self.scores(torch.cat((user, film, user * film), 1))
        return scores

    def _embedded(self, films: Tensor) -> Tensor:
        return torch.cat((self.film(films), self.genre(self.genres[films])), 1)


def _activation(arm: str, width: int) -> nn.Module:
    if arm == "dice":
        return Dice(num_features=width)
    if arm == "relu":
        return nn.ReLU()
    slopes = nn.PReLU(width)
    return slopes if arm == "prelu" else nn.Sequential(nn.BatchNorm1d(width), slopes)


def _auc_by_user(model: nn.Module, data: Data) -> float:
    """Mean over test users, by their number of examples; those of one class say nothing."""
    from scipy.stats import rankdata

    with torch.no_grad():
        scores = model(data.test_x)
    liked, found = data.test_y.numpy(), (scores[:, 1] - scores[:, 0]).double().numpy()
    users, total, weight = data.test_x[:, 0].numpy(), 0.0, 0
    for user in np.unique(users):
        own = users == user
        count, ones = int(own.sum()), int(liked[own].sum())
        if 0 < ones < count:
            places = rankdata(found[own])[liked[own] == 1].sum() - ones * (ones + 1) / 2
            total += count * places / (ones * (count - ones))
            weight += count
    return float(total / weight)


# The data


def _films(seed: int, settings: Settings) -> tuple[Data, Tensor]:
    """Examples of shape (user, film, past films), users in a random order, and genres by film."""
    ratings = _ratings()
    rng = generator(seed, "users")
    order = rng.permutation(np.unique(ratings[:, 0]))
    examples: list[NDArray[np.int64]] = []
    labels: list[int] = []
    ends: list[int] = []
    for user in order:
        own = ratings[ratings[:, 0] == user]
        own = own[np.argsort(own[:, 3], kind="stable")]
        places = rng.permutation(np.arange(1, len(own)))[: settings.per_user]
        for place in places:
            before = own[:place]
            past = before[before[:, 2] >= 4, 1][-settings.history :]
            none = np.zeros(settings.history - len(past), dtype=np.int64)
            examples.append(np.concatenate((own[place, :2], past, none)))
            labels.append(int(own[place, 2] >= 4))
        ends.append(len(labels))
    x, y = torch.from_numpy(np.stack(examples)), torch.tensor(labels)
    cut = ends[round(0.7 * len(order))]
    whole = cut - cut % (5 * BATCH)  # four fifths of it too: a batch of one has no statistics
    data = Data(
        name="films", classes=2,
        train_x=x[:whole], train_y=y[:whole], test_x=x[cut:], test_y=y[cut:],
    )  # fmt: skip
    return data, _genres()


def _ratings() -> NDArray[np.int64]:
    """Rows of user, film, rating and time."""
    return np.loadtxt(_file("u.data"), dtype=np.int64)


def _genres() -> Tensor:
    """A row for each film, from number 1 up, with its genres' shares."""
    lines = _file("u.item").read_text(encoding="latin-1").splitlines()
    flags = np.array([line.rsplit("|", 19)[1:] for line in lines if line], dtype=np.float32)
    shares = torch.from_numpy(flags / flags.sum(1, keepdims=True))
    return torch.cat((torch.zeros(1, shares.shape[1]), shares))


def _file(name: str) -> Path:
    path = find(f"movielens_100k/{name}")
    if path is None:
        raise DataError(
            f"There is no file 'movielens_100k/{name}'.",
            why="MovieLens 100K may not be passed on, so it does not come with supple.",
            hint="take it from ml-100k.zip of https://grouplens.org/datasets/movielens/100k, and "
            "set SUPPLE_DATA to the folder that holds the folder movielens_100k",
        )
    return path
