"""Gradient-boosted networks (paper 51, 1909.12098): units learned one step after the other."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from supple.claims import Arms, Rule, claim, table
from supple.compress.join import BoostedMLPClassifier

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes.

    Attributes:
        units: Hidden units of both networks.
        per_step: Units of one step.
        max_iter: L-BFGS steps of one small network; the whole network gets as many in all.
        tables: Data sets.
    """

    units: int = 60
    per_step: int = 3
    max_iter: int = 200
    tables: tuple[str, ...] = ("breast_cancer", "wine", "digits")


@claim(
    paper=51,
    says="A network whose units are trained by gradient boosting is as accurate as the same "
    "network trained at once, and its last units can be left out at little loss.",
    reported="Comparable or better accuracy on classification and regression sets, and the last "
    "units may be switched off when a result has to be quick.",
    here="Networks with one hidden layer on three tables of scikit-learn, learning rate 0.5 for "
    "the boosted one, an L2 penalty of 1e-4 and L-BFGS for the other. The mean over the tables. "
    "Cut to half, the network trained at once loses its last units as they come, or random ones; a "
    "network of half the size is the fair one.",
    rules=(
        Rule(metric="accuracy", method="boosted", baseline="at once", expects="not worse",
             margin=0.01),
        Rule(metric="accuracy", method="boosted, first half", baseline="at once, first half",
             margin=0.02),
        Rule(metric="accuracy", method="boosted, first half", baseline="boosted, random half",
             margin=0.02),
        Rule(metric="accuracy", method="boosted, first half", baseline="small, at once",
             expects="not worse", margin=0.01),
    ),
    quick=Settings(units=24, per_step=2, max_iter=60, tables=("breast_cancer", "wine")),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """All arms on each table, averaged."""
    found: dict[str, list[float]] = {}
    for name in settings.tables:
        for arm, value in _on(name, seed, settings).items():
            found.setdefault(arm, []).append(value)
    return {arm: {"accuracy": float(np.mean(values))} for arm, values in found.items()}


def _on(name: str, seed: int, settings: Settings) -> dict[str, float]:
    data = table(name, seed)  # type: ignore[arg-type]
    x, y = data.train_x.double().numpy(), data.train_y.numpy()
    test_x, test_y = data.test_x.double().numpy(), data.test_y.numpy()
    boosted = BoostedMLPClassifier(
        settings.units, units_per_step=settings.per_step, learning_rate=0.5,
        max_iter=settings.max_iter, random_state=seed,
    ).fit(x, y)  # fmt: skip
    stages = list(boosted.staged_predict(test_x))
    found = {
        "boosted": float((stages[-1] == test_y).mean()),
        "boosted, first half": float((stages[len(stages) // 2 - 1] == test_y).mean()),
    }
    rng = np.random.default_rng(seed)
    steps = boosted.steps_
    boosted.steps_ = [steps[i] for i in sorted(rng.permutation(len(steps))[: len(steps) // 2])]
    found["boosted, random half"] = float((boosted.predict(test_x) == test_y).mean())
    whole = _at_once(settings.units, x, y, seed, settings)
    found["at once"] = float(whole.score(test_x, test_y))
    found["small, at once"] = float(
        _at_once(settings.units // 2, x, y, seed, settings).score(test_x, test_y)
    )
    whole.coefs_[1][settings.units // 2 :] = 0
    found["at once, first half"] = float(whole.score(test_x, test_y))
    return found


def _at_once(
    units: int, x: np.ndarray, y: np.ndarray, seed: int, settings: Settings
) -> MLPClassifier:
    steps = settings.units // settings.per_step
    model = MLPClassifier(
        (units,), activation="logistic", solver="lbfgs", alpha=1e-4,
        max_iter=settings.max_iter * steps // 4, random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
