"""Claims: what papers say, measured again.

A claim is one file of this folder, named as its paper is known: a sentence of the paper, the rules
that decide it (data, written before measuring), and a function that measures method and baseline
for one seed. Evidence is stored beside it, with the machine, the date, and a hash of the sources
that were measured. ``supple claims list|run|show|verify`` is the same from a terminal.

What a claim is written with is here too: data sets, one training loop, fair baselines. Names load
on first use, so a list of claims costs no import of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supple.claims._claim import Arms, Budget, Claim, Curve, claim
    from supple.claims._data import Data, digits, made, spirals, table
    from supple.claims._evidence import Evidence, load_evidence, store_evidence
    from supple.claims._fair import equal_time_epochs, match_width, parameters
    from supple.claims._figure import Dots, Lines
    from supple.claims._fingerprint import fingerprint
    from supple.claims._fit import Fit, accuracy, best_lr, fit, score, squared_error
    from supple.claims._interval import bootstrap_interval, t_interval
    from supple.claims._page import index_page, page, write_pages
    from supple.claims._registry import Entry, entries, entry, load
    from supple.claims._rule import VERDICTS, Finding, Rule, Verdict, decide, overall
    from supple.claims._run import Step, run, run_all
    from supple.claims._status import State, Status, status, statuses
    from supple.claims._torch_seed import seeded

_HOMES = {
    "_claim": "Arms Budget Claim Curve claim",
    "_data": "Data digits made spirals table",
    "_evidence": "Evidence load_evidence store_evidence",
    "_fair": "equal_time_epochs match_width parameters",
    "_figure": "Dots Lines",
    "_fingerprint": "fingerprint",
    "_fit": "Fit accuracy best_lr fit score squared_error",
    "_interval": "bootstrap_interval t_interval",
    "_page": "index_page page write_pages",
    "_registry": "Entry entries entry load",
    "_rule": "VERDICTS Finding Rule Verdict decide overall",
    "_run": "Step run run_all",
    "_status": "State Status status statuses",
    "_torch_seed": "seeded",
}
_PLACE = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "VERDICTS",
    "Arms",
    "Budget",
    "Claim",
    "Curve",
    "Data",
    "Dots",
    "Entry",
    "Evidence",
    "Finding",
    "Fit",
    "Lines",
    "Rule",
    "State",
    "Status",
    "Step",
    "Verdict",
    "accuracy",
    "best_lr",
    "bootstrap_interval",
    "claim",
    "decide",
    "digits",
    "entries",
    "entry",
    "equal_time_epochs",
    "fingerprint",
    "fit",
    "index_page",
    "load",
    "load_evidence",
    "made",
    "match_width",
    "overall",
    "page",
    "parameters",
    "run",
    "run_all",
    "score",
    "seeded",
    "spirals",
    "squared_error",
    "status",
    "statuses",
    "store_evidence",
    "t_interval",
    "table",
    "write_pages",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)
    value = getattr(importlib.import_module(f"{__name__}.{_PLACE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
