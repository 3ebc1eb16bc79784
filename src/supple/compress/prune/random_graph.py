"""Recurrent networks whose wiring is a random graph (paper 3), and what describes a graph."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any, Literal

import networkx as nx
import torch
from torch import Tensor, nn

from supple.compress.mask import apply_masks
from supple.errors import CompressError
from supple.papers import implements
from supple.seeds import generator

__all__ = ["RandomGraphRNN", "graph_features", "layered", "random_graph"]

Kind = Literal["rnn_tanh", "rnn_relu", "gru", "lstm"]


@implements(3)
def random_graph(family: Literal["ba", "ws"], nodes: int, seed: int) -> Any:
    """A random graph of the paper: Barabási-Albert with m = n // 10 or Watts-Strogatz, k = n // 5.

    Args:
        family: ``ba`` or ``ws`` (connected, every edge rewired).
        nodes: Number of nodes n, 10 or more.
        seed: Of the graph.

    Example:
        >>> from supple.compress.prune.random_graph import random_graph
        >>> random_graph("ba", 20, 0).number_of_edges()
        36
    """
    if nodes < 10 or family not in ("ba", "ws"):
        raise CompressError(
            f"a random graph of family {family!r} with {nodes} nodes was asked for.",
            hint="'ba' or 'ws', and 10 nodes or more",
        )
    state = int(generator(seed, "random graph", family, nodes).integers(2**31))
    if family == "ba":
        return nx.barabasi_albert_graph(nodes, nodes // 10, seed=state)
    return nx.connected_watts_strogatz_graph(nodes, max(2, nodes // 5), 1.0, seed=state)


def layered(graph: Any) -> tuple[tuple[int, ...], ...]:
    """The layers of an undirected graph: edges lead from lower to higher nodes.

    A node's layer is the length of the longest path to it.

    Example:
        >>> from supple.compress.prune.random_graph import layered
        >>> layered(nx.path_graph(3))
        ((0,), (1,), (2,))
    """
    order = sorted(graph.nodes)
    if len(order) < 2 or not nx.is_connected(graph):
        raise CompressError(
            f"a graph of {len(order)} nodes that is not connected, or has one node, was given.",
            why="Every node must be on a way from the input to the output.",
            hint="nx.connected_watts_strogatz_graph, or another seed",
        )
    depth: dict[int, int] = {}
    for node in order:
        before = [depth[other] for other in graph[node] if other < node]
        depth[node] = 1 + max(before) if before else 0
    last = max(depth.values())
    return tuple(tuple(n for n in order if depth[n] == level) for level in range(last + 1))


@implements(3)
class RandomGraphRNN(nn.Module):
    """Recurrent layers wired as a random graph.

    Each layer of the graph is a recurrent layer with as many units, which are connected to those of
    the layer before by the graph's edges. Edges that jump over layers are further recurrent layers
    whose outputs are added. Units without edges from earlier layers read the input.

    The input is padded: sequences are read at their own ends, so the state never runs over
    padding (the paper's code reads after the padding).

    Args:
        graph: A connected ``networkx.Graph`` of numbered nodes.
        in_features: Numbers per step.
        out_features: Numbers that come out, of the last step of each sequence.
        kind: The cell.

    Example:
        >>> import torch
        >>> from supple.compress.prune.random_graph import RandomGraphRNN
        >>> net = RandomGraphRNN(
        ...     nx.path_graph(4), in_features=3, out_features=2, kind="gru")
        >>> net(torch.randn(5, 7, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, graph: Any, *, in_features: int, out_features: int, kind: Kind = "gru"
    ) -> None:
        super().__init__()
        self.layers = layered(graph)
        self.kind = kind
        self.entry = _cell(kind, in_features, len(self.layers[0]))
        self.inner = nn.ModuleDict()
        for late in range(1, len(self.layers)):
            for early in range(late):
                mask = _edges(graph, self.layers[early], self.layers[late])
                if mask.any():
                    cell = _cell(kind, len(self.layers[early]), len(self.layers[late]))
                    apply_masks(cell, {"weight_ih_l0": mask.repeat(_GATES[kind], 1)})
                    self.inner[f"{early}>{late}"] = cell
        self.head = nn.Linear(len(self.layers[-1]), out_features)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores of shape (batch, out_features), for sequences of shape (batch, steps, features).

        Args:
            x: The sequences, padded at their ends.
            lengths: Steps of each; None if all have the same.
        """
        outputs = [self.entry(x)[0]]
        for late in range(1, len(self.layers)):
            parts = [
                self.inner[f"{early}>{late}"](outputs[early])[0]
                for early in range(late)
                if f"{early}>{late}" in self.inner
            ]
            outputs.append(torch.stack(parts).sum(0))
        last = outputs[-1]
        read = last[:, -1] if lengths is None else last[torch.arange(len(last)), lengths - 1]
        scores: Tensor = self.head(read)
        return scores


_GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}


def _cell(kind: Kind, into: int, out: int) -> nn.RNNBase:
    if kind == "lstm":
        return nn.LSTM(into, out, batch_first=True)
    if kind == "gru":
        return nn.GRU(into, out, batch_first=True)
    if kind in ("rnn_tanh", "rnn_relu"):
        return nn.RNN(into, out, batch_first=True, nonlinearity=kind.removeprefix("rnn_"))
    raise CompressError(f"there is no cell {kind!r}.", hint="'rnn_tanh', 'rnn_relu', 'gru', 'lstm'")


def _edges(graph: Any, early: Iterable[int], late: Iterable[int]) -> Tensor:
    """True where the graph joins a later node (row) to an earlier one (column)."""
    return torch.tensor([[graph.has_edge(a, b) for a in early] for b in late])


@implements(3)
def graph_features(graph: Any) -> dict[str, float]:
    """What may foretell how well a network wired as the graph learns: 23 numbers.

    Sizes, sources, sinks, diameter, density, mean shortest path, and mean, variance and standard
    deviation over nodes (edges) of eccentricity, degree, closeness, betweenness and edge
    betweenness.

    Example:
        >>> from supple.compress.prune.random_graph import graph_features
        >>> found = graph_features(nx.path_graph(3))
        >>> found["layers"], found["diameter"], len(found)
        (3, 2, 23)
    """
    layers = layered(graph)
    order = sorted(graph.nodes)
    found: dict[str, float] = {
        "layers": len(layers),
        "nodes": graph.number_of_nodes(),
        "edges": graph.number_of_edges(),
        "sources": sum(not any(other < node for other in graph[node]) for node in order),
        "sinks": sum(not any(other > node for other in graph[node]) for node in order),
        "diameter": nx.diameter(graph),
        "density": nx.density(graph),
        "mean shortest path": nx.average_shortest_path_length(graph),
    }
    spreads = {
        "eccentricity": nx.eccentricity(graph),
        "degree": nx.degree_centrality(graph),
        "closeness": nx.closeness_centrality(graph),
        "betweenness": nx.betweenness_centrality(graph),
        "edge betweenness": nx.edge_betweenness_centrality(graph),
    }
    for name, values in spreads.items():
        numbers = [float(value) for value in values.values()]
        found[f"{name} mean"] = statistics.fmean(numbers)
        found[f"{name} variance"] = statistics.pvariance(numbers)
        found[f"{name} deviation"] = statistics.pstdev(numbers)
    return found
