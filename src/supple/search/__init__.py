"""Search: strategies that propose which config to measure next.

Every strategy is an Optuna sampler that proposes all choices together. Its proposals follow from
the seed and the trials before, so a search that was killed goes on as if it had not been.
"""

from supple.search._registry import names, strategy
from supple.search._strategy import Strategy
from supple.search.linas import LINAS
from supple.search.nsga2 import NSGA2
from supple.search.optuna_sampler import OptunaSampler
from supple.search.random_search import RandomSearch

__all__ = [
    "LINAS",
    "NSGA2",
    "OptunaSampler",
    "RandomSearch",
    "Strategy",
    "names",
    "strategy",
]
