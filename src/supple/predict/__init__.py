"""Predict: regressors that guess what a config would measure, and say how sure they are.

All are scikit-learn estimators on encoded configs, with ``predict(X, return_std=True)``.
"""

from supple.predict.ridge_svr import RidgeSVR

__all__ = ["RidgeSVR"]
