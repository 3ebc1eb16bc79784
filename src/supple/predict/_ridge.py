"""Ridge regression for all penalties at once, from one singular value decomposition."""

from __future__ import annotations

import numpy as np

from supple.predict._cross_validation import Array

__all__ = ["ridge_path"]


def ridge_path(features: Array, target: Array, alphas: Array) -> tuple[Array, Array]:
    """Coefficients (D, A) and intercepts (A,) that minimise squared error + alpha |w|².

    Features and target are centred, so the intercept is not penalised:
    w = V diag(s / (s² + alpha)) Uᵀ y for the decomposition X = U diag(s) Vᵀ.
    """
    mean, middle = features.mean(axis=0), target.mean()
    u, s, vt = np.linalg.svd(features - mean, full_matrices=False)
    shrunk = s[:, None] / (s[:, None] ** 2 + alphas[None, :])
    weights = vt.T @ (shrunk * (u.T @ (target - middle))[:, None])
    return weights, middle - mean @ weights
