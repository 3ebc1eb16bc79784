"""Search: strategies that propose which config to measure next.

Every strategy is an Optuna sampler that proposes all choices together. Its proposals follow from
the seed and the trials before, so a search that was killed goes on as if it had not been.
``supple.search.tables`` compares strategies on recorded results.
"""

from supple.search._registry import names, strategy
from supple.search._strategy import Strategy
from supple.search.gp_ehvi import GPEHVI
from supple.search.linas import LINAS
from supple.search.local_search import LocalSearch
from supple.search.neu_fast_cb import NeuFastCB
from supple.search.neu_square_cb import NeuSquareCB
from supple.search.nsga2 import NSGA2
from supple.search.nsga3 import NSGA3
from supple.search.op_gflownet import OPGFlowNet
from supple.search.optuna_sampler import OptunaSampler
from supple.search.random_search import RandomSearch
from supple.search.regularized_evolution import RegularizedEvolution
from supple.search.reinforce import Reinforce
from supple.search.weaknas import WeakNAS

__all__ = [
    "GPEHVI",
    "LINAS",
    "NSGA2",
    "NSGA3",
    "LocalSearch",
    "NeuFastCB",
    "NeuSquareCB",
    "OPGFlowNet",
    "OptunaSampler",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
    "Strategy",
    "WeakNAS",
    "names",
    "strategy",
]
