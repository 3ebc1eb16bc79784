"""Recorded results as a search task: strategies compared without training anything.

A table knows what every config measured. ``load_table`` reads one from a CSV file or from an
object in a Python file; ``compare`` runs strategies on it and says how many distinct
measurements each of them needed.
"""

from supple.search.tables._compare import Comparison, Outcome, compare, run_strategy
from supple.search.tables._listed import ListedSpace
from supple.search.tables._load import load_table, shipped_tables
from supple.search.tables._table import RecordedTable

__all__ = [
    "Comparison",
    "ListedSpace",
    "Outcome",
    "RecordedTable",
    "compare",
    "load_table",
    "run_strategy",
    "shipped_tables",
]
