"""Operators whose axes are deliberately left whole, each with the reason."""

from __future__ import annotations

import torch

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__ = ["FIXED", "NUMBERS"]

FIXED: dict[str, str] = {
    **dict.fromkeys(
        ("as_strided", "as_strided_scatter", "empty_strided", "new_empty_strided", "empty_permuted",
         "resize", "resize_as"),
        "is laid out by strides in memory, which say nothing of axes",
    ),
    **dict.fromkeys(
        ("nonzero", "nonzero_static", "argwhere", "masked_select", "unique_consecutive",
         "unique_dim", "_unique", "_unique2", "bincount", "histogram"),
        "gives as many values as the data decide",
    ),
    **dict.fromkeys(
        ("take", "put", "index_reduce", "multinomial", "searchsorted", "segment_reduce",
         "_unsafe_masked_index", "_unsafe_masked_index_put_accumulate", "tril_indices",
         "triu_indices", "combinations", "cartesian_prod"),
        "is looked up by number",
    ),
    **dict.fromkeys(
        ("_pdist_forward", "pdist", "cov", "corrcoef", "trace", "linalg_cross", "cross",
         "block_diag", "diagonal_scatter", "rot90", "cumulative_trapezoid", "trapezoid", "trapz",
         "gradient", "quantile", "nanquantile", "stft", "istft", "vander", "linalg_vander",
         "affine_grid_generator", "fractional_max_pool2d", "fractional_max_pool3d", "fill_diagonal",
         "ctc_loss", "pad_sequence", "_pack_padded_sequence", "_pad_packed_sequence"),
        "is used as a whole, in order",
    ),
    **dict.fromkeys(
        ("cond", "while_loop", "scan", "map_impl", "associative_scan", "flex_attention",
         "triton_kernel_wrapper_functional", "triton_kernel_wrapper_mutation"),
        "is used by a graph of its own, which is left whole",
    ),
    **dict.fromkeys(
        ("cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "lu_solve",
         "lu_unpack", "matrix_exp", "matrix_power", "pinverse", "qr", "slogdet", "svd",
         "triangular_solve", "linalg_cholesky", "linalg_cholesky_ex", "linalg_det", "linalg_eig",
         "linalg_eigh", "_linalg_eigh", "linalg_eigvals", "linalg_eigvalsh",
         "linalg_householder_product", "linalg_inv", "linalg_inv_ex", "linalg_lstsq", "linalg_lu",
         "linalg_lu_factor", "linalg_lu_solve", "linalg_matrix_exp", "linalg_matrix_norm",
         "linalg_matrix_power", "linalg_matrix_rank", "linalg_multi_dot", "linalg_pinv",
         "linalg_qr", "linalg_slogdet", "linalg_solve", "linalg_solve_ex", "_linalg_solve_ex",
         "linalg_solve_triangular", "linalg_svd", "_linalg_svd", "linalg_svdvals", "_linalg_det",
         "_linalg_slogdet"),
        "is a matrix taken as a whole",
    ),
}  # fmt: skip
"""Operators that make tensors, with what they do to every axis of their inputs."""

NUMBERS: dict[str, str] = {
    "_local_scalar_dense": "reads one element as a number; what is read stays whole",
    "item": "reads one element as a number; what is read stays whole",
    **dict.fromkeys(
        ("sym_size", "sym_numel", "sym_stride", "sym_storage_offset", "sym_is_contiguous"),
        "reads a size, which stays what it is",
    ),
}
"""Operators that make no tensor: what they read is left whole by the pass over the graph."""


@rule(*FIXED)
def fixed(op: Operation) -> Axes | list[Axes]:
    """Nothing that goes in or comes out may be cut."""
    reason = FIXED[op.name.removesuffix("_") if op.name not in FIXED else op.name]
    for node in op.tensors():
        op.fix(op.analysis.axes_of(node), reason)
    fresh = [tuple(op.fixed(n, reason) for n in shape) for shape in op.out_shapes]
    return fresh[0] if isinstance(op.node.meta["val"], torch.Tensor) else fresh
