"""Meta-pruning (paper 39): a network that makes other networks easier to prune.

A network is read as a graph, channels as nodes and kernels as edges, and a message-passing network
gives back a slightly changed one. It is trained on a few networks so that what it gives loses
nothing on the task and has its channels' importance spread out; a new network then needs one pass
through it, a fine-tuning, ordinary pruning by magnitude, and another fine-tuning.

Read here are chains: convolutions without groups and linear layers one after another, each with a
batch norm or without. (The paper's graphs have residual connections too.)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from supple.compress.prune._pruner import Batch, Loss, default_loss
from supple.elastic._call import input_arguments
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["GraphMetaNetwork", "NetworkGraph", "group_sparsity", "train_metanetwork"]

_NODE, _EDGE = 6, 9


@implements(39)
@dataclass(frozen=True, kw_only=True)
class NetworkGraph:
    """A network as a graph, without loss.

    Attributes:
        nodes: For the input and each layer, shape (channels, 6): scale, shift, running mean and
            variance of the batch norm (1, 0, 0, 1 without one), bias, whether there is a norm.
        edges: For each layer, shape (outputs, inputs, 9): the kernel, smaller ones in the middle.
        layers: Names of the layers.
        norms: Names of their batch norms, or None.

    Example:
        >>> from torch import nn
        >>> from supple.compress.prune.meta_pruning import NetworkGraph
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        ...                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> [tuple(edge.shape) for edge in NetworkGraph.of(model).edges]
        [(4, 1, 9), (2, 4, 9)]
    """

    nodes: tuple[Tensor, ...] = field(repr=False)
    edges: tuple[Tensor, ...] = field(repr=False)
    layers: tuple[str, ...]
    norms: tuple[str | None, ...]

    @classmethod
    def of(cls, model: nn.Module) -> NetworkGraph:
        """The graph of a chain of layers, in the order of its modules.

        Raises:
            CompressError: The layers are no such chain.
        """
        layers, norms = _chain(model)
        modules = dict(model.named_modules())
        first: Any = modules[layers[0]]
        nodes, edges = [_no_norm(_sides(first)[1], first.weight)], []
        for name, norm in zip(layers, norms, strict=True):
            layer: Any = modules[name]
            nodes.append(_node_features(layer, None if norm is None else modules[norm]))
            edges.append(_kernels(layer.weight))
        return cls(nodes=tuple(nodes), edges=tuple(edges), layers=layers, norms=norms)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """The parameters it stands for, by name, in the shapes of ``model``. Differentiable.

        Running statistics are read but never given back.
        """
        modules = dict(model.named_modules())
        state: dict[str, Tensor] = {}
        for i, (name, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            layer: Any = modules[name]
            features = self.nodes[i + 1]
            state[f"{name}.weight"] = _from_kernels(self.edges[i], layer.weight.shape)
            if layer.bias is not None:
                state[f"{name}.bias"] = features[:, 4]
            if norm is not None:
                state[f"{norm}.weight"], state[f"{norm}.bias"] = features[:, 0], features[:, 1]
        return state

    def apply_to(self, model: nn.Module) -> nn.Module:
        """A copy of ``model`` with the graph's weights."""
        twin = copy.deepcopy(model)
        own = dict(twin.named_parameters())
        with torch.no_grad():
            for name, value in self.state(model).items():
                own[name].copy_(value)
        return twin


def _chain(model: nn.Module) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    layers: list[str] = []
    norms: list[str | None] = []
    channels = None
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            out, into = _sides(module)
            window = module.kernel_size if isinstance(module, nn.Conv2d) else (1, 1)
            is_plain = getattr(module, "groups", 1) == 1 and window in ((1, 1), (3, 3))
            if not is_plain or (channels is not None and into != channels):
                raise _no_chain(name, module, channels)
            layers.append(name)
            norms.append(None)
            channels = out
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            if not layers or norms[-1] is not None or module.num_features != channels:
                raise _no_chain(name, module, channels)
            norms[-1] = name
        elif any(True for _ in module.parameters(recurse=False)):
            raise _no_chain(name, module, channels)
    if not layers:
        raise _no_chain("", model, None)
    return tuple(layers), tuple(norms)


def _no_chain(name: str, module: nn.Module, channels: int | None) -> CompressError:
    return CompressError(
        f"'{name}' ({type(module).__name__}) does not continue a chain of {channels} channels.",
        why="Read as graphs are convolutions of 1x1 or 3x3 without groups and linear layers, one "
        "after another, with batch norms.",
        hint="a pooling to one position before the first linear layer",
    )


def _sides(layer: Any) -> tuple[int, int]:
    return int(layer.weight.shape[0]), int(layer.weight.shape[1])


def _no_norm(channels: int, like: Tensor) -> Tensor:
    row = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    return row.repeat(channels, 1).to(like)


def _node_features(layer: Any, norm: Any) -> Tensor:
    features = _no_norm(layer.weight.shape[0], layer.weight.detach())
    if layer.bias is not None:
        features[:, 4] = layer.bias.detach()
    if norm is not None:
        parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        for i, part in enumerate(parts):
            features[:, i] = part.detach()
        features[:, 5] = 1.0
    return features


def _kernels(weight: Tensor) -> Tensor:
    flat = weight.detach().flatten(2) if weight.dim() > 2 else weight.detach()[..., None]
    if flat.shape[-1] == _EDGE:
        return flat.clone()
    found = torch.zeros(*flat.shape[:2], _EDGE, dtype=flat.dtype)
    found[..., _EDGE // 2] = flat[..., 0]
    return found


def _from_kernels(edge: Tensor, shape: torch.Size) -> Tensor:
    if shape[2:].numel() == _EDGE:
        return edge.reshape(shape)
    return edge[..., _EDGE // 2].reshape(shape)


class _Layer(nn.Module):
    """One round of messages, forward along the edges and back, with the same weights."""

    sign: Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.source, self.target, self.edge_source, self.edge_target = (
            nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU()) for _ in range(4)
        )
        self.update = nn.Linear(4 * hidden, hidden)
        # Backward, half of an edge's features change their sign, so that direction is told apart.
        sign = torch.ones(hidden)
        sign[hidden // 2 :] = -1
        self.register_buffer("sign", sign)

    def forward(
        self, nodes: Sequence[Tensor], edges: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What is added to the nodes and to the edges."""
        source, target = ([part(h) for h in nodes] for part in (self.source, self.target))
        e_source, e_target = (
            [part(h) for h in nodes] for part in (self.edge_source, self.edge_target)
        )
        sums = [[torch.zeros(len(h), 4 * h.shape[1])] * 2 for h in nodes]
        changes = []
        for i, edge in enumerate(edges):
            back = edge * self.sign
            sums[i + 1][0] = _gathered(target[i + 1][:, None] * source[i][None] * edge, 1)
            sums[i][1] = _gathered(target[i][None] * source[i + 1][:, None] * back, 0)
            forward = e_source[i][None] * e_target[i + 1][:, None] * edge
            backward = e_source[i + 1][:, None] * e_target[i][None] * back
            changes.append(forward + backward * self.sign)
        return [self.update(a) + self.update(b) for a, b in sums], changes


def _gathered(messages: Tensor, dim: int) -> Tensor:
    """Mean, standard deviation, largest and smallest of the messages of each node."""
    spread = messages.var(dim, unbiased=False).add(1e-6).sqrt()  # a zero has no gradient
    parts = (messages.mean(dim), spread, messages.amax(dim), messages.amin(dim))
    return torch.cat(parts, -1)


@implements(39)
class GraphMetaNetwork(nn.Module):
    """Graph in, graph of the same shape out: each number changed by a little.

    Permuting the channels of a hidden layer permutes what comes out alike.

    Args:
        hidden: Features of nodes and edges inside.
        layers: Rounds of messages.
        residual: Size of the change.

    Example:
        >>> from torch import nn
        >>> from supple.compress.prune.meta_pruning import GraphMetaNetwork, NetworkGraph
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> changed = GraphMetaNetwork(hidden=8, layers=1)(NetworkGraph.of(model))
        >>> changed.apply_to(model)[0].weight.shape
        torch.Size([4, 3])
    """

    def __init__(self, *, hidden: int = 64, layers: int = 8, residual: float = 0.01) -> None:
        super().__init__()
        if hidden < 2 or layers < 1:
            raise CompressError(
                f"a meta-network got hidden={hidden}, layers={layers}.", hint="2 and 1 or more"
            )
        self.residual = residual
        self.node_in, self.edge_in = nn.Linear(_NODE, hidden), nn.Linear(_EDGE, hidden)
        self.rounds = nn.ModuleList(_Layer(hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.node_out, self.edge_out = (
            nn.Sequential(
                nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, out)
            )
            for out in (_NODE, _EDGE)
        )

    def forward(self, graph: NetworkGraph) -> NetworkGraph:
        """The changed graph."""
        nodes = [self.node_in(node) for node in graph.nodes]
        edges = [self.edge_in(edge) for edge in graph.edges]
        for part in self.rounds:
            more_nodes, more_edges = part([self.norm(h) for h in nodes], edges)
            nodes = [h + more for h, more in zip(nodes, more_nodes, strict=True)]
            edges = [e + more for e, more in zip(edges, more_edges, strict=True)]
        return NetworkGraph(
            nodes=tuple(
                node + self.residual * self.node_out(h)
                for node, h in zip(graph.nodes, nodes, strict=True)
            ),
            edges=tuple(
                edge + self.residual * self.edge_out(e)
                for edge, e in zip(graph.edges, edges, strict=True)
            ),
            layers=graph.layers,
            norms=graph.norms,
        )


@implements(39)
def group_sparsity(graph: NetworkGraph, *, alpha: float = 16.0) -> Tensor:
    """A penalty that drives weak channels to zero: half the squared norms, weak ones weighted most.

    A hidden channel owns its row of incoming and its column of outgoing kernels; its importance I
    is their norm and its weight ``alpha ** ((max I - I) / (max I - min I))``, without gradient, so
    that the gradient of a weight w is that factor times w.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune.meta_pruning import NetworkGraph, group_sparsity
        >>> model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
        >>> for part, values in ((model[0], [[1.0], [3.0]]), (model[1], [[0.0, 4.0]])):
        ...     _ = part.weight.data.copy_(torch.tensor(values))
        >>> group_sparsity(NetworkGraph.of(model)).item()  # 16 * 1 / 2 + 1 * 25 / 2
        20.5
    """
    total = torch.zeros(())
    for into, out in zip(graph.edges, graph.edges[1:], strict=False):
        squares = into.square().sum((1, 2)) + out.square().sum((0, 2))
        size = squares.detach().sqrt()
        spread = float(size.max() - size.min())
        rank = (size.max() - size) / spread if spread > 0 else torch.zeros_like(size)
        total = total + (alpha**rank * squares).sum() / 2
    return total


@implements(39)
def train_metanetwork(
    metanet: GraphMetaNetwork,
    models: Sequence[nn.Module],
    data: Sequence[Batch],
    *,
    epochs: int = 20,
    lr: float = 1e-3,
    strength: float = 1e-3,
    loss: Loss = default_loss,
) -> list[float]:
    """Train a meta-network in place on a few trained networks.

    Each step takes one of them in turn and one batch: the task's loss of the changed network, in
    training mode, plus ``strength`` times `group_sparsity` of it.

    Args:
        metanet: What is trained.
        models: Trained networks; they are not changed.
        data: ``(inputs, targets)`` batches.
        epochs: Passes over all pairs of model and batch.
        lr: Of AdamW; a tenth of it in the last third.
        strength: Weight of the penalty.
        loss: The task's loss.

    Returns:
        The mean loss of each epoch.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune.meta_pruning import GraphMetaNetwork, train_metanetwork
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> batch = (torch.randn(16, 3), torch.randint(2, (16,)))
        >>> len(train_metanetwork(GraphMetaNetwork(hidden=8, layers=1), [model], [batch], epochs=2))
        2
    """
    if not models or not data:
        raise CompressError(
            f"a meta-network was to be trained on {len(models)} models and {len(data)} batches.",
            hint="at least one of both",
        )
    optimizer = torch.optim.AdamW(metanet.parameters(), lr=lr, weight_decay=5e-4)
    pairs = [(copy.deepcopy(model).train(), NetworkGraph.of(model)) for model in models]
    history = []
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = lr if epoch < math.ceil(2 * epochs / 3) else lr / 10
        total = 0.0
        for inputs, targets in data:
            for twin, graph in pairs:
                changed = metanet(graph)
                args, kwargs = input_arguments(inputs)
                outputs = functional_call(twin, changed.state(twin), args, kwargs)
                value = loss(outputs, targets) + strength * group_sparsity(changed)
                optimizer.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(metanet.parameters(), 1.0)
                optimizer.step()
                total += float(value.detach())
        history.append(total / (len(data) * len(models)))
    return history
