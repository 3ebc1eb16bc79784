"""Axes: what a model's tensor dimensions are made of, and which of them may be cut together.

The room turns any module that ``torch.export`` captures into a graph whose every tensor dimension
carries an axis expression. `rules/` says for each operator how its output's axes follow from its
inputs'; what no rule can express is left whole, with the reason.
"""

from supple.trace._analyse import Analysis, Edit, Resized
from supple.trace._axis import ONE, Axis, Reason
from supple.trace._capture import Capture, Example, capture, same_randomness, split_example
from supple.trace._modes import asks_for_mode
from supple.trace._operation import Axes, Operation
from supple.trace._program import Average, Flag, Padding, Program, Rate, planned_edits
from supple.trace._residual import Block, Branch, Stage
from supple.trace._structure import ElasticAxis, ElasticKernel, FixedAxis, Member, Structure
from supple.trace._swap import CHOOSE, SwapPoint, SwapSite, all_alternatives
from supple.trace._table import all_rules, find_rule, rule

__all__ = [
    "CHOOSE",
    "ONE",
    "Analysis",
    "Average",
    "Axes",
    "Axis",
    "Block",
    "Branch",
    "Capture",
    "Edit",
    "ElasticAxis",
    "ElasticKernel",
    "Example",
    "FixedAxis",
    "Flag",
    "Member",
    "Operation",
    "Padding",
    "Program",
    "Rate",
    "Reason",
    "Resized",
    "Stage",
    "Structure",
    "SwapPoint",
    "SwapSite",
    "all_alternatives",
    "all_rules",
    "asks_for_mode",
    "capture",
    "find_rule",
    "planned_edits",
    "rule",
    "same_randomness",
    "split_example",
]
