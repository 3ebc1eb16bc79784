"""Pruning: which weights of a network may go.

`prune` is the one call; a pruner gives every weight a score, and one function of
`supple.compress.sparsity` turns scores into masks. Every public file with a class of its own name
and ``scores`` is a pruner, found by `pruner`.
"""

from supple.compress.prune._find import find_masks
from supple.compress.prune._prune import Pruned, prune
from supple.compress.prune._pruner import Pruner
from supple.compress.prune._registry import pruner, pruner_names
from supple.compress.prune.against_random import (
    AgainstRandom,
    LuckyMasks,
    compare_to_random,
    lucky_masks,
)
from supple.compress.prune.comparison import METHODS, Advice, Arm, SparseMethod, check_comparison
from supple.compress.prune.dead_neurons import DeadNeurons, dead_neurons
from supple.compress.prune.dynamic import DynamicSparse
from supple.compress.prune.gradual import Gradual
from supple.compress.prune.grasp import GraSP
from supple.compress.prune.magnitude import Magnitude
from supple.compress.prune.merge_channels import Merged, feature_complexity, merge_channels
from supple.compress.prune.movement import Movement
from supple.compress.prune.random import Random
from supple.compress.prune.rigl import RigL
from supple.compress.prune.set import SET
from supple.compress.prune.snip import SNIP
from supple.compress.prune.synflow import SynFlow
from supple.compress.prune.taylor import Taylor

__all__ = [
    "METHODS",
    "SET",
    "SNIP",
    "Advice",
    "AgainstRandom",
    "Arm",
    "DeadNeurons",
    "DynamicSparse",
    "GraSP",
    "Gradual",
    "LuckyMasks",
    "Magnitude",
    "Merged",
    "Movement",
    "Pruned",
    "Pruner",
    "Random",
    "RigL",
    "SparseMethod",
    "SynFlow",
    "Taylor",
    "check_comparison",
    "compare_to_random",
    "dead_neurons",
    "feature_complexity",
    "find_masks",
    "lucky_masks",
    "merge_channels",
    "prune",
    "pruner",
    "pruner_names",
]
