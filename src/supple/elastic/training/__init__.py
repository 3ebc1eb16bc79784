"""Training one set of weights so that many networks can use them.

Rules say what to do with a batch: ``plain``, ``sandwich``, ``sorted_net``, ``super_plus_random``,
``distil``; each is a file of this folder, found by its name. ``train`` is the one loop they share;
a ``Recipe`` says how long and how fast, and ``Batches`` is a loader that resumes anywhere.
"""

from supple.elastic.training._augment import CropFlip
from supple.elastic.training._batch import Batch
from supple.elastic.training._batches import Batches
from supple.elastic.training._log import TrainingLog, TrainingProgress
from supple.elastic.training._loop import train
from supple.elastic.training._recipe import Recipe
from supple.elastic.training._registry import rule_by_name, rule_names, rule_settings
from supple.elastic.training._rule import ElasticNetwork, Loss, Rule, StepContext
from supple.elastic.training._soft_targets import match_outputs
from supple.elastic.training.distil import Distil
from supple.elastic.training.plain import Plain
from supple.elastic.training.sandwich import Sandwich
from supple.elastic.training.sorted_net import SortedNet
from supple.elastic.training.super_plus_random import SuperPlusRandom

__all__ = [
    "Batch",
    "Batches",
    "CropFlip",
    "Distil",
    "ElasticNetwork",
    "Loss",
    "Plain",
    "Recipe",
    "Rule",
    "Sandwich",
    "SortedNet",
    "StepContext",
    "SuperPlusRandom",
    "TrainingLog",
    "TrainingProgress",
    "match_outputs",
    "rule_by_name",
    "rule_names",
    "rule_settings",
    "train",
]
