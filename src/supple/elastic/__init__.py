"""One set of weights, many networks: making a model elastic, running, training, extracting."""

from supple.elastic._call import call
from supple.elastic._choices import Elasticity
from supple.elastic._elastic import Elastic
from supple.elastic._module import Extracted
from supple.elastic._native import Extraction
from supple.elastic._report import ElasticRow, Report
from supple.elastic._sub_network import SubNetwork

__all__ = [
    "Elastic",
    "ElasticRow",
    "Elasticity",
    "Extracted",
    "Extraction",
    "Report",
    "SubNetwork",
    "call",
]
