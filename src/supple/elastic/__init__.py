"""One set of weights, many networks: making a model elastic, running, training, extracting."""

from supple.elastic._call import call
from supple.elastic._choices import Elasticity
from supple.elastic._elastic import Elastic, SubNetwork
from supple.elastic._report import ElasticRow, Report

__all__ = ["Elastic", "ElasticRow", "Elasticity", "Report", "SubNetwork", "call"]
