"""Networks put together from parts of others: stitched, incubated, distilled module by module.

All of it works on the blocks that `find_stack` finds in the traced graph of a residual model.
"""

from supple.compress.join.blocks import (
    Joined,
    Stack,
    assembled,
    find_stack,
    find_stacks,
    shared_copy,
    streams,
)
from supple.compress.join.boosting import BoostedMLPClassifier, BoostedMLPRegressor
from supple.compress.join.deep_incubation import DeepIncubation, frozen_but, split_blocks
from supple.compress.join.learngene_pool import LearngenePool
from supple.compress.join.module_distillation import ModuleDistiller, hybrid_loss
from supple.compress.join.stitching import (
    Stitch,
    StitchedNet,
    StitchingLayer,
    least_squares_stitch,
    stitch_pairs,
)

__all__ = [
    "BoostedMLPClassifier",
    "BoostedMLPRegressor",
    "DeepIncubation",
    "Joined",
    "LearngenePool",
    "ModuleDistiller",
    "Stack",
    "Stitch",
    "StitchedNet",
    "StitchingLayer",
    "assembled",
    "find_stack",
    "find_stacks",
    "frozen_but",
    "hybrid_loss",
    "least_squares_stitch",
    "shared_copy",
    "split_blocks",
    "stitch_pairs",
    "streams",
]
