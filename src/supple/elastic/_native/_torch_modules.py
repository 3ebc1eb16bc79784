"""Sizes that the modules of torch.nn keep as attributes, corrected from their tensors and calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from supple.elastic._native._sizes import Sizes
from supple.elastic._plan import Plan

__all__ = ["KNOWN", "correct_known"]

Literal = Callable[[str], Any]
"""From an argument's name to what the module's calls are given for it in the sub-network."""


def correct_known(network: nn.Module, sizes: Sizes, plan: Plan) -> None:
    """Corrects every module of torch.nn in a tree that already has its smaller tensors."""
    done: set[int] = set()
    for path, module in network.named_modules(remove_duplicate=False):
        has_calls = path in sizes.calls
        if id(module) in done and not has_calls:
            continue  # a shared module; its calls are recorded under one of its names
        done.add(id(module))
        for kind, correct in KNOWN.items():
            if isinstance(module, kind):
                correct(module, lambda name, path=path: sizes.literal(path, name, plan))  # type: ignore[misc]


def _linear(module: nn.Linear, _: Literal) -> None:
    module.out_features, module.in_features = module.weight.shape


def _bilinear(module: nn.Bilinear, _: Literal) -> None:
    module.out_features, module.in1_features, module.in2_features = module.weight.shape


def _convolution(module: nn.modules.conv._ConvNd, literal: Literal) -> None:
    groups = literal("groups")
    module.groups = module.groups if groups is None else groups
    first, second, *window = module.weight.shape
    if module.transposed:
        module.in_channels, module.out_channels = first, second * module.groups
    else:
        module.out_channels, module.in_channels = first, second * module.groups
    module.kernel_size = tuple(window)
    padding = literal("padding")
    if padding is not None and module.padding_mode == "zeros":
        module.padding = tuple(padding)
        module._reversed_padding_repeated_twice = [n for n in reversed(padding) for _ in range(2)]


def _batch_norm(module: nn.modules.batchnorm._NormBase, _: Literal) -> None:
    sized = module.weight if module.weight is not None else module.running_mean
    if isinstance(sized, Tensor):
        module.num_features = len(sized)


def _layer_norm(module: nn.LayerNorm | nn.RMSNorm, literal: Literal) -> None:
    shape = literal("normalized_shape") if module.weight is None else module.weight.shape
    if shape is not None:
        module.normalized_shape = tuple(shape)


def _group_norm(module: nn.GroupNorm, literal: Literal) -> None:
    groups = literal("num_groups")
    module.num_groups = module.num_groups if groups is None else groups
    if module.weight is not None:
        module.num_channels = len(module.weight)


def _embedding(module: nn.Embedding | nn.EmbeddingBag, _: Literal) -> None:
    module.num_embeddings, module.embedding_dim = module.weight.shape


def _p_relu(module: nn.PReLU, _: Literal) -> None:
    module.num_parameters = module.weight.numel()


def _attention(module: nn.MultiheadAttention, _: Literal) -> None:
    """Widths; heads and head size are attributes like those of any module."""
    before = module.head_dim
    module.embed_dim = module.out_proj.weight.shape[0]
    if module.in_proj_weight is not None:
        module.kdim = module.vdim = module.embed_dim
        inner = module.in_proj_weight.shape[0] // 3
    else:
        module.kdim, module.vdim = module.k_proj_weight.shape[1], module.v_proj_weight.shape[1]
        inner = module.q_proj_weight.shape[0]
    if inner != module.embed_dim:
        raise ValueError(
            f"MultiheadAttention is {module.embed_dim} wide and has {inner} = heads × head size"
        )
    _keep_scale(module, inner, before)


def _keep_scale(module: nn.MultiheadAttention, inner: int, before: int) -> None:
    """Its scale follows the head size; queries make up for the difference."""
    now = inner // module.num_heads
    module.head_dim = now
    factor = math.sqrt(now / before)
    if factor == 1.0:
        return
    with torch.no_grad():
        if module.in_proj_weight is None:
            _scale(module, "q_proj_weight", inner, factor)
        else:
            _scale(module, "in_proj_weight", inner, factor)
        if module.in_proj_bias is not None:
            _scale(module, "in_proj_bias", inner, factor)


def _scale(module: nn.Module, name: str, rows: int, factor: float) -> None:
    old = module._parameters[name]
    assert old is not None
    value = old.detach().clone()
    value[:rows] *= factor
    module._parameters[name] = nn.Parameter(value, requires_grad=old.requires_grad)


KNOWN: dict[type[nn.Module], Callable[[Any, Literal], None]] = {
    nn.Linear: _linear,
    nn.Bilinear: _bilinear,
    nn.modules.conv._ConvNd: _convolution,
    nn.modules.batchnorm._NormBase: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding,
    nn.PReLU: _p_relu,
    nn.MultiheadAttention: _attention,
}
"""How the attributes of each class follow from its tensors and the literals of its calls."""
