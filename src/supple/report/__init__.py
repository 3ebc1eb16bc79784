"""The report of a run: ``result.json`` read strictly, and one HTML page a colleague can open.

``write_report(Result.load("runs/digits"), "runs/digits/report.html")`` is all there is to it.
"""

from __future__ import annotations

from supple.report._markdown import render_markdown
from supple.report._page import render_report, write_report
from supple.report._result import (
    SCHEMA,
    Asked,
    Cut,
    Direction,
    ElasticAxis,
    FixedAxis,
    Hypervolume,
    Layer,
    Metric,
    NetworkResult,
    Option,
    PickResult,
    Result,
    Structure,
    TaskResult,
    TrialResult,
)
from supple.report._structure import dropped_blocks
from supple.report._structure_page import (
    cuts_text,
    elastic_groups,
    elastic_share,
    fixed_groups,
    offered_text,
    render_structure,
    write_structure,
)
from supple.report._tables import Comparison, CutRow, compare, cut_rows
from supple.report._wording import asked_for, extracted_text, headline

__all__ = [
    "SCHEMA",
    "Asked",
    "Comparison",
    "Cut",
    "CutRow",
    "Direction",
    "ElasticAxis",
    "FixedAxis",
    "Hypervolume",
    "Layer",
    "Metric",
    "NetworkResult",
    "Option",
    "PickResult",
    "Result",
    "Structure",
    "TaskResult",
    "TrialResult",
    "asked_for",
    "compare",
    "cut_rows",
    "cuts_text",
    "dropped_blocks",
    "elastic_groups",
    "elastic_share",
    "extracted_text",
    "fixed_groups",
    "headline",
    "offered_text",
    "render_markdown",
    "render_report",
    "render_structure",
    "write_report",
    "write_structure",
]
