"""What a run was asked to do, and the check that a repeated command asks the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supple.elastic import Elasticity
from supple.elastic.importance import Scorer, scorer_settings
from supple.elastic.training import Distil, Recipe, Rule, rule_settings
from supple.errors import StudyError
from supple.report._files import write_whole

__all__ = ["Settings", "claim_folder", "distillation"]

FILE_NAME = "run.json"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a run.

    Args:
        objectives: Names of the objectives.
        evaluations: Sub-networks to measure.
        strategy: Name of the search strategy.
        strategy_settings: Its settings.
        seed: Start of all random draws.
        importance: What the indices of the elastic network are ordered by: a scorer or its name.
        rule: Training rule of the elastic network.
        recipe: How long and how fast the elastic network is trained; None leaves it as it is.
        finetune: The same for the pick.
        distil: How the pick learns from the original network; None for the task's loss alone.
        calibration_batches: Training batches for batch norm and for importance.
        backend: What runs the networks when latency is measured.
        threads: Threads of one timed call.
        batch: Samples in one timed call; None for as many as the example has.
        elasticity: How far and how finely the model may vary.
        pick: Bounds of the pick.
        quantize: ``"int8"`` where layers may compute in int8; None where none does.
    """

    objectives: tuple[str, ...]
    evaluations: int
    strategy: str
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int
    importance: Scorer | str
    rule: Rule
    recipe: Recipe | None
    finetune: Recipe | None
    distil: Distil | None
    calibration_batches: int
    backend: str
    threads: int
    batch: int | None
    elasticity: Elasticity
    pick: Mapping[str, float | str]
    quantize: str | None = None

    def training(self) -> dict[str, Any]:
        """How the networks are trained, as JSON data."""
        return {
            "rule": rule_settings(self.rule),
            "recipe": self.recipe.to_json() if self.recipe else None,
            "finetune": self.finetune.to_json() if self.finetune else None,
            "distil": rule_settings(self.distil) if self.distil else None,
        }

    def identity(self) -> dict[str, Any]:
        """All that must be the same for two commands to be about the same measurements."""
        return {
            "objectives": list(self.objectives),
            "seed": self.seed,
            "importance": scorer_settings(self.importance),
            "rule": rule_settings(self.rule),
            "recipe": self.recipe.to_json() if self.recipe else None,
            "calibration_batches": self.calibration_batches,
            "backend": self.backend,
            "threads": self.threads,
            "batch": self.batch,
            "elasticity": json.loads(json.dumps(vars(self.elasticity))),
            # Left out where there is none, so that runs of before go on.
            **({"quantize": self.quantize} if self.quantize else {}),
        }


def distillation(asked: float | Mapping[str, Any] | Distil) -> Distil | None:
    """A share of the teacher, or the settings of `Distil`, as the rule; None for a share of 0."""
    if isinstance(asked, Distil):
        return asked
    if isinstance(asked, Mapping):
        return Distil(**asked)
    return Distil(weight=float(asked)) if asked else None


def claim_folder(out: Path, task: Mapping[str, Any], settings: Settings) -> None:
    """Makes the run's folder, or finds that it is of the same task and settings.

    Raises:
        StudyError: The folder holds another run; the message says what differs.
    """
    asked = {"task": dict(task), **settings.identity()}
    asked = json.loads(json.dumps(asked))
    path = out / FILE_NAME
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError) as error:
        raise StudyError(
            f"the folder of the run, {out}, cannot be used: {error}.",
            hint="choose another folder with --out.",
        ) from error
    if found is None:
        write_whole(path, json.dumps(asked, indent=1) + "\n")
        return
    different = sorted(k for k in asked.keys() | found.keys() if asked.get(k) != found.get(k))
    if different:
        first = different[0]
        raise StudyError(
            f"{out} holds a run of another {', '.join(different)}.",
            why=f"There '{first}' is {found.get(first)}, here it is {asked.get(first)}; its "
            "measurements would not be comparable.",
            hint="repeat the first command as it was, or choose another folder with --out.",
            different=different,
        )
