"""How much each index of an axis, and each block of a stage, matters.

A scorer gives every elastic axis one number for each of its indices, and may give every stage the
order in which its blocks are kept. `Elastic.reorder` then stores the indices by importance, so
that a narrower sub-network keeps the most important ones and is a prefix of the wider.
"""

from supple.elastic.importance._base import Scorer, Scores
from supple.elastic.importance.magnitude import Magnitude
from supple.elastic.importance.taylor import Taylor

__all__ = ["Magnitude", "Scorer", "Scores", "Taylor"]
