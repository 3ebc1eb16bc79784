"""Which buffers a captured graph updates while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import fx

from supple.trace import Capture

__all__ = ["batch_statistics"]

_NORMS = ("aten::batch_norm", "aten::instance_norm")


def batch_statistics(
    captures: Sequence[Capture], canonical: Mapping[str, str]
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Buffers that are written in training mode, and the batch counters beside them.

    Returns:
        Canonical names of all buffers that some call writes, and of those ``num_batches_tracked``
        counters that a graph captured in evaluation mode does not count up by itself.
    """
    written: set[str] = set()
    for one in captures:
        for node in one.calls:
            for argument in _written_arguments(node):
                source = one.sources.get(argument)
                if source is not None and source.kind == "buffer":
                    written.add(canonical[source.name])
    counters = {
        name.rpartition(".")[0] + ".num_batches_tracked"
        for name in written
        if name.endswith("running_mean")
    }
    known = {name.lstrip(".") for name in counters} & set(canonical)
    return frozenset(written | known), tuple(sorted(known))


def _written_arguments(node: fx.Node) -> list[fx.Node]:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return []
    named = dict(zip([a.name for a in target._schema.arguments], node.args, strict=False))
    if target._schema.name in _NORMS:
        candidates = [named.get("running_mean"), named.get("running_var")]
    elif target._schema.is_mutable:
        candidates = [node.args[0] if node.args else None]
    else:
        candidates = []
    return [c for c in candidates if isinstance(c, fx.Node)]
