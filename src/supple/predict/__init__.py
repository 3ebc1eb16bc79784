"""Predict: regressors that guess what a config would measure, and say how sure they are.

All are scikit-learn estimators on encoded configs, with ``predict(X, return_std=True)``.
"""

from supple.predict.additive_latency import AdditiveLatency
from supple.predict.boosted_trees import BoostedTrees
from supple.predict.gaussian_process import GaussianProcess
from supple.predict.gp_mixture import GPMixture
from supple.predict.kernel_ridge import PairwiseRidge
from supple.predict.network_ensemble import NetworkEnsemble
from supple.predict.ridge_svr import RidgeSVR
from supple.predict.stacked import Stacked

__all__ = [
    "AdditiveLatency",
    "BoostedTrees",
    "GPMixture",
    "GaussianProcess",
    "NetworkEnsemble",
    "PairwiseRidge",
    "RidgeSVR",
    "Stacked",
]
