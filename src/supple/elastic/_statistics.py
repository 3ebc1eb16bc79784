"""Which buffers a captured graph updates, and how a sub-network is kept from doing so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from supple.trace import Capture
from supple.trace._graph import module_path, named_arguments, writes

__all__ = ["Statistics", "counter_of"]

_NORMS = ("aten::batch_norm", "aten::instance_norm")


def counter_of(running_mean: str) -> str:
    """The name of the batch counter beside a running mean."""
    return f"{running_mean.rpartition('.')[0]}.num_batches_tracked".lstrip(".")


@dataclass(frozen=True)
class Statistics:
    """What one graph does to buffers; all names are canonical.

    Attributes:
        unread: Running statistics that norms only write in training mode, so that a sub-network
            need not have them there.
        written: Buffers that some call writes in any mode.
        counters: Batch counters that the graph, captured in evaluation mode, does not count up.
    """

    unread: frozenset[str]
    written: frozenset[str]
    counters: tuple[str, ...]

    @classmethod
    def of(cls, one: Capture, canonical: Mapping[str, str]) -> Statistics:
        """The statistics of a graph."""
        written = {
            canonical[one.sources[w].name]
            for node in one.calls
            for w in writes(node)
            if w in one.sources and one.sources[w].kind != "input"
        }
        unread = set()
        for node, source in one.sources.items():
            norms = [_is_switching_norm(user, node, one) for user in node.users]
            if source.kind == "buffer" and norms and all(norms):
                unread.add(canonical[source.name])
        means = (name for name in unread if name.endswith("running_mean"))
        counters = {canonical[c] for c in map(counter_of, means) if c in canonical}
        return cls(frozenset(unread), frozenset(written), tuple(sorted(counters - written)))


def _is_switching_norm(call: fx.Node, buffer: fx.Node, one: Capture) -> bool:
    schema = getattr(call.target, "_schema", None)
    if getattr(schema, "name", "") not in _NORMS or module_path(call) not in one.switching:
        return False
    given = named_arguments(call)
    return buffer in (given["running_mean"], given["running_var"])
