"""The full network run call by call, with every value shown to a visitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from supple.elastic._call import input_arguments
from supple.elastic._extract import Specialiser
from supple.elastic._skeleton import owner_of

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Recorder"]

Visit = Callable[[fx.Node, Tensor], None]
"""Takes a node of the captured graph and its value."""


class Recorder:
    """Runs the full network in evaluation mode, and shows the values of its graph.

    Args:
        net: The network, in evaluation mode.

    Attributes:
        graph: The captured graph, whose nodes the visitor is given.
    """

    def __init__(self, net: Elastic) -> None:
        runner = net._runners[0]
        device = net._cutter.device
        plan = net.plan(net.space.largest)
        self._specialiser = Specialiser(
            net.structure, runner.one, plan, [], net.signature, (net._device, device)
        )
        self._net = net
        self._graph = self._specialiser.build()
        self._origin = {new: old for old, new in self._specialiser._made.items()}
        self.graph = runner.one.graph
        self._positions = [
            int(source.name) for source in runner.one.sources.values() if source.kind == "input"
        ]

    def run(self, inputs: Any, visit: Visit) -> None:
        """Runs one batch; ``visit`` is called for every call whose value is one tensor."""
        args, kwargs = input_arguments(inputs)
        leaves = self._net.signature.flatten(args, kwargs)
        interpreter = _Interpreter(self._net, self._graph, self._specialiser.blocks)
        interpreter.origin, interpreter.visit = self._origin, visit
        with torch.no_grad():
            interpreter.run(*(leaves[position] for position in self._positions))


class _Interpreter(fx.Interpreter):
    origin: dict[fx.Node, fx.Node]
    visit: Visit

    def __init__(self, net: Elastic, graph: fx.Graph, blocks: dict[str, Any]) -> None:
        super().__init__(net, graph=graph)
        self._net = net
        self._blocks = blocks

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in self._blocks:
            return self._blocks[target]
        if target == "training":
            return False
        # Not by getattr: a part of the model may have the name of an attribute of the network.
        holder, leaf = owner_of(self._net, target)
        return holder[leaf]

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "call_function" and n in self.origin and isinstance(value, Tensor):
            self.visit(self.origin[n], value)
        return value
