"""Networks wired as graphs: a complete graph is a dense stack; features equal networkx."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

from supple.compress.mask import masks_of
from supple.compress.prune.random_graph import (
    RandomGraphRNN,
    graph_features,
    layered,
    random_graph,
)
from supple.errors import CompressError


def layered_complete(sizes):
    """Every node joined to all nodes of the next layer."""
    starts = np.cumsum([0, *sizes])
    graph = nx.Graph()
    for level in range(len(sizes) - 1):
        for a in range(starts[level], starts[level + 1]):
            for b in range(starts[level + 1], starts[level + 2]):
                graph.add_edge(int(a), int(b))
    return graph


@pytest.mark.parametrize("kind", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
def test_a_complete_layered_graph_is_the_dense_stack(kind):
    net = RandomGraphRNN(layered_complete([3, 4, 2]), in_features=5, out_features=2, kind=kind)
    x = torch.randn(6, 7, 5)
    out = net.entry(x)[0]
    for cell in (net.inner["0>1"], net.inner["1>2"]):
        assert masks_of(cell)["weight_ih_l0"].all()
        out = cell(out)[0]
    torch.testing.assert_close(net(x), net.head(out[:, -1]))
    assert {*net.inner} == {"0>1", "1>2"}


def test_edges_that_jump_are_added_and_absent_ones_do_not_count():
    graph = nx.path_graph(3)
    graph.add_edge(0, 2)
    graph.add_edge(1, 3)
    net = RandomGraphRNN(graph, in_features=2, out_features=2, kind="gru")
    assert net.layers == ((0,), (1,), (2, 3))
    assert {*net.inner} == {"0>1", "0>2", "1>2"}
    mask = masks_of(net.inner["0>2"])["weight_ih_l0"]
    assert mask.shape == (6, 1)
    assert mask.flatten().tolist() == [True, False] * 3
    # Node 3 hears nothing of node 0 directly, so its own cell in that layer ignores it.
    x = torch.randn(1, 4, 2)
    net(x).sum().backward()
    original = net.inner["0>2"].parametrizations.weight_ih_l0.original
    assert (original.grad[~mask] == 0).all()


def test_lengths_read_the_last_real_step():
    net = RandomGraphRNN(nx.path_graph(3), in_features=2, out_features=2)
    x = torch.randn(2, 6, 2)
    padded = x.clone()
    padded[0, 4:] = 99.0
    found = net(padded, torch.tensor([4, 6]))
    torch.testing.assert_close(found[0], net(x[:1, :4])[0])
    torch.testing.assert_close(found[1], net(x[1:])[0])


@pytest.mark.parametrize("family", ["ba", "ws"])
def test_random_graphs_and_their_features(family):
    graph = random_graph(family, 24, 1)
    assert nx.is_connected(graph)
    assert nx.utils.graphs_equal(graph, random_graph(family, 24, 1))
    found = graph_features(graph)
    assert len(found) == 23
    assert found["diameter"] == nx.diameter(graph)
    assert found["mean shortest path"] == nx.average_shortest_path_length(graph)
    closeness = list(nx.closeness_centrality(graph).values())
    assert found["closeness deviation"] == pytest.approx(np.std(closeness))
    assert found["closeness variance"] == pytest.approx(np.var(closeness))
    levels = layered(graph)
    assert found["layers"] == len(levels)
    assert len(levels[0]) == found["sources"]
    level = {node: i for i, nodes in enumerate(levels) for node in nodes}
    directed = nx.DiGraph((min(e), max(e)) for e in graph.edges)
    assert len(levels) == nx.dag_longest_path_length(directed) + 1
    assert all(level[a] < level[b] for a, b in directed.edges)
    net = RandomGraphRNN(graph, in_features=3, out_features=2, kind="rnn_tanh")
    assert net(torch.randn(2, 5, 3)).shape == (2, 2)
    assert sum(int(masks_of(c)["weight_ih_l0"].sum()) for c in net.inner.values()) == len(
        graph.edges
    )


def test_what_does_not_fit_is_said():
    with pytest.raises(CompressError, match="not connected"):
        layered(nx.empty_graph(3))
    with pytest.raises(CompressError, match="1 nodes"):
        layered(nx.path_graph(1))
    with pytest.raises(CompressError, match="'er'"):
        random_graph("er", 20, 0)
    with pytest.raises(CompressError, match="no cell 'cnn'"):
        RandomGraphRNN(nx.path_graph(3), in_features=1, out_features=1, kind="cnn")
    assert isinstance(RandomGraphRNN(nx.path_graph(3), in_features=1, out_features=1), nn.Module)
