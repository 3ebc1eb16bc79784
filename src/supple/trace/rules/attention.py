"""Scaled dot-product attention, with its grouped-query form."""

from __future__ import annotations

import math

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule("scaled_dot_product_attention")
def scaled_dot_product_attention(op: Operation) -> Axes:
    """Shapes: q (…, L, E), k (…, S, E), v (…, S, V) to (…, L, V).

    The scale stays that of the full network: a narrower head must not change the function of
    what is kept.
    """
    q, k, v, mask = op.axes("query"), op.axes("key"), op.axes("value"), op.maybe_axes("attn_mask")
    op.unify_all([(q[-1], k[-1]), (k[-2], v[-2])])
    op.fix(k[-2], "is normalised by softmax")
    if op["scale"] is None:
        op.set_literal("scale", 1.0 / math.sqrt(q[-1].size))  # to the bit what torch takes
    batch = op.align(k[:-2], v[:-2])
    if op.get("enable_gqa") and q[-3].size != k[-3].size:
        shared, _ = op.factor(q[-3], k[-3].size)
        op.unify(shared, k[-3])
        op.align(q[:-3], batch[:-1])
        lead: Axes = q[:-2]
    else:
        lead = op.align(q[:-2], batch)
    if mask is not None:
        op.align(mask, (*lead, q[-2], k[-2]))
    if op.get("is_causal"):
        op.fix(q[-2], "is ordered by a causal mask")
    if len(q) >= 4:
        op.role(q[-3], "heads")
        op.role(k[-3], "heads")
    op.role(q[-1], "head_size")
    op.role(v[-1], "head_size")
    return (*lead, q[-2], v[-1])
