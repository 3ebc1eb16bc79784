"""Meta-pruning: graphs without loss, equivariance, messages by einsum, the penalty's gradient."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from supple.compress.prune.meta_pruning import (
    GraphMetaNetwork,
    NetworkGraph,
    _Layer,
    group_sparsity,
    train_metanetwork,
)
from supple.errors import CompressError

X = torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(0))


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 1),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
        )  # fmt: skip
        model[1].running_mean.normal_()
        nn.init.normal_(model[1].bias)
    return model.eval()


def metanet(**settings):
    torch.manual_seed(1)
    return GraphMetaNetwork(hidden=8, layers=2, **settings)


def test_to_a_graph_and_back_loses_nothing():
    model, other = network(), network(1)
    back = NetworkGraph.of(model).apply_to(other)
    back[1].running_mean.copy_(model[1].running_mean)
    assert all(torch.equal(a, back.state_dict()[n]) for n, a in model.state_dict().items())
    assert {*NetworkGraph.of(model).state(model)} == {n for n, _ in model.named_parameters()}
    assert [tuple(n.shape) for n in NetworkGraph.of(model).nodes] == [
        (2, 6),
        (5, 6),
        (4, 6),
        (3, 6),
    ]


def test_without_residual_nothing_changes_and_running_statistics_never_do():
    model = network()
    same = metanet(residual=0.0)(NetworkGraph.of(model)).apply_to(model)
    assert torch.equal(same(X), model(X))
    changed = metanet(residual=0.5)(NetworkGraph.of(model)).apply_to(model)
    assert torch.equal(changed[1].running_mean, model[1].running_mean)
    assert not torch.allclose(changed(X), model(X))


def permuted(model, order):
    twin = network()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        for tensor in (twin[0].weight, *twin[1].parameters(), twin[1].running_mean,
                       twin[1].running_var):  # fmt: skip
            tensor.copy_(tensor[order].clone())
        twin[3].weight.copy_(twin[3].weight[:, order].clone())
    return twin


def test_permuting_channels_permutes_what_comes_out():
    model, order = network(), torch.tensor([2, 0, 4, 1, 3])
    meta = metanet(residual=1.0)
    a = meta(NetworkGraph.of(model))
    b = meta(NetworkGraph.of(permuted(model, order)))
    torch.testing.assert_close(b.nodes[1], a.nodes[1][order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(b.edges[0], a.edges[0][order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(b.edges[1], a.edges[1][:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(b.edges[2], a.edges[2], rtol=1e-4, atol=1e-5)


def drawn(sizes=(2, 4, 3), hidden=6):
    nodes = [torch.randn(n, hidden) for n in sizes]
    edges = [torch.randn(b, a, hidden) for a, b in pairwise(sizes)]
    return nodes, edges


def test_messages_are_those_of_a_plain_loop():
    torch.manual_seed(0)
    layer = _Layer(6)
    nodes, edges = drawn()
    found, changes = layer(nodes, edges)
    sign = torch.tensor([1.0] * 3 + [-1.0] * 3)
    for j in range(4):  # a node in the middle hears both sides
        both = []
        for others, kernels in (
            (nodes[0], [edges[0][j, i] for i in range(2)]),
            (nodes[2], [edges[1][k, j] * sign for k in range(3)]),
        ):
            heard = torch.stack([
                layer.target(nodes[1][j]) * layer.source(other) * kernel
                for other, kernel in zip(others, kernels, strict=True)
            ])  # fmt: skip
            spread = (heard.var(0, unbiased=False) + 1e-6).sqrt()
            parts = [heard.mean(0), spread, heard.max(0).values, heard.min(0).values]
            both.append(layer.update(torch.cat(parts)))
        torch.testing.assert_close(found[1][j], both[0] + both[1])
    edge = edges[1][2, 1]
    expected = layer.edge_source(nodes[1][1]) * layer.edge_target(nodes[2][2]) * edge
    expected = expected + sign * (
        layer.edge_source(nodes[2][2]) * layer.edge_target(nodes[1][1]) * (sign * edge)
    )
    torch.testing.assert_close(changes[1][2, 1], expected)


def test_turning_every_edge_around_changes_nothing():
    torch.manual_seed(0)
    layer = _Layer(6)
    nodes, edges = drawn()
    found, changes = layer(nodes, edges)
    turned = [edge.transpose(0, 1) * layer.sign for edge in reversed(edges)]
    again, others = layer(nodes[::-1], turned)
    for a, b in zip(found, reversed(again), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(changes, reversed(others), strict=True):
        torch.testing.assert_close(a, b.transpose(0, 1) * layer.sign)


def test_the_gradient_of_the_penalty_is_the_factor_times_the_weight():
    graph = NetworkGraph.of(network())
    edges = tuple(edge.clone().requires_grad_() for edge in graph.edges)
    copy = NetworkGraph(nodes=graph.nodes, edges=edges, layers=graph.layers, norms=graph.norms)
    group_sparsity(copy, alpha=16).backward()
    importance = (edges[0].square().sum((1, 2)) + edges[1].square().sum((0, 2))).sqrt().detach()
    spread = importance.max() - importance.min()
    factor = 16 ** ((importance.max() - importance) / spread)
    torch.testing.assert_close(edges[0].grad, factor[:, None, None] * edges[0].detach())
    equal = NetworkGraph(nodes=graph.nodes, edges=tuple(torch.ones_like(e) for e in edges),
                         layers=graph.layers, norms=graph.norms)  # fmt: skip
    assert torch.isfinite(group_sparsity(equal))


def test_training_lowers_its_loss_and_leaves_the_models_alone():
    models = [network(s) for s in range(2)]
    states = [{n: t.clone() for n, t in m.state_dict().items()} for m in models]
    batch = (X, torch.arange(6) % 3)
    history = train_metanetwork(metanet(residual=0.1), models, [batch], epochs=15, lr=1e-2,
                                strength=1e-2)  # fmt: skip
    assert history[-1] < history[0]
    for model, state in zip(models, states, strict=True):
        assert all(torch.equal(state[n], t) for n, t in model.state_dict().items())
        assert not model.training


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)),
        nn.Sequential(nn.Conv2d(2, 4, 5)),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(36, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
        nn.ReLU(),
    ],
)
def test_what_is_no_chain_is_refused(model):
    with pytest.raises(CompressError, match="does not continue a chain"):
        NetworkGraph.of(model)


def test_settings_are_checked():
    with pytest.raises(CompressError, match="hidden=1"):
        GraphMetaNetwork(hidden=1)
    with pytest.raises(CompressError, match="0 models"):
        train_metanetwork(metanet(), [], [(X, X)])
