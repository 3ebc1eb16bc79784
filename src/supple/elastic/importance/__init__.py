"""How much each index of an axis, and each block of a stage, matters.

A scorer gives every elastic axis one number for each of its indices, and may give every stage the
order in which its blocks are kept. `Elastic.reorder` then stores the indices by importance, so
that a narrower sub-network keeps the most important ones and is a prefix of the wider. Every
public file of this folder is one scorer; `scorer` gives them by name.
"""

from supple.elastic.importance._base import Normalise, Scorer, Scores, normalised
from supple.elastic.importance._registry import scorer, scorer_names, scorer_settings
from supple.elastic.importance.activation import Activation
from supple.elastic.importance.batch_norm_scale import BatchNormScale
from supple.elastic.importance.fisher import Fisher
from supple.elastic.importance.hessian import Hessian
from supple.elastic.importance.magnitude import Magnitude
from supple.elastic.importance.random import Random
from supple.elastic.importance.taylor import Taylor

__all__ = [
    "Activation",
    "BatchNormScale",
    "Fisher",
    "Hessian",
    "Magnitude",
    "Normalise",
    "Random",
    "Scorer",
    "Scores",
    "Taylor",
    "normalised",
    "scorer",
    "scorer_names",
    "scorer_settings",
]
