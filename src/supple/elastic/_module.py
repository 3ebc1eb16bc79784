"""An extracted network: a plain module around one or two specialised graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from supple.elastic._inputs import Signature
from supple.elastic._skeleton import hold

__all__ = ["Extracted", "is_plain", "make_module"]


class Extracted(nn.Module):
    """A sub-network with weights of its own, under the names of the model it came from.

    Attributes:
        supple_graphs: Its graph in evaluation (False) and in training (True); often the same one.
            (A plainer name might be that of a part of the model.)
    """

    supple_graphs: Mapping[bool, fx.Graph]

    @property
    def supple_code(self) -> str:
        """The Python code of the graph of the current mode."""
        return str(self.supple_graphs[self.training].python_code("self").src)


def make_module(
    class_name: str,
    graphs: Mapping[bool, fx.Graph],
    signature: Signature,
    out_specs: Mapping[bool, pytree.TreeSpec],
    parameters: Mapping[str, nn.Parameter],
    buffers: Mapping[str, tuple[Tensor, bool]],
    blocks: Mapping[str, nn.Module],
) -> Extracted:
    """A module of a class of its own, whose ``forward`` takes what the model's takes.

    Args:
        class_name: Name of the class.
        graphs: The graph of each mode, evaluation first.
        signature: How it is called.
        out_specs: How the leaves of each graph's output make up what the model returns.
        parameters: By qualified name; a tied one is there under all its names.
        buffers: The same, with whether they belong to the state dict.
        blocks: Graphs that operators call, by name.
    """
    run: dict[bool, Callable[..., Any]] = {}
    for mode, graph in graphs.items():
        if mode and graph is graphs[False]:
            run[mode] = run[False]
            continue
        function = _function(graph, class_name)
        run[mode] = function if is_plain(out_specs[mode]) else _nested(function, out_specs[mode])
    body = {
        "__doc__": f"A sub-network of {class_name}.",
        "__module__": __name__,
        "supple_graphs": graphs,
        "forward": _forward(
            run, signature, class_name, is_own=all(map(is_plain, out_specs.values()))
        ),
    }
    module: Extracted = type(class_name, (Extracted,), body)()
    hold(module, parameters, buffers)
    module._modules.update(blocks)
    return module


def is_plain(spec: pytree.TreeSpec) -> bool:
    """A graph can return it as it is: tensors in tuples, lists and dicts."""
    if spec.is_leaf():
        return True
    return spec.type in (tuple, list, dict) and all(map(is_plain, spec.children()))


def _function(graph: fx.Graph, class_name: str) -> Callable[..., Any]:
    code = graph.python_code("self")
    found = _compiled(code.src, dict(code.globals), class_name)
    return found["forward"]  # type: ignore[no-any-return]


def _nested(function: Callable[..., Any], spec: pytree.TreeSpec) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        return pytree.tree_unflatten(function(*args), spec)

    return run


def _forward(
    run: Mapping[bool, Callable[..., Any]], signature: Signature, class_name: str, *, is_own: bool
) -> Callable[..., Any]:
    """``forward`` with the names of the arguments, and plain values as defaults."""
    if is_own and signature.is_flat and run[True] is run[False] and not _has_values(signature):
        return run[False]  # the graph's own function takes just these
    names = (*signature.heads, *signature.keys)
    defaults = _trailing_values(signature)
    given = ", ".join(f"{n}=DEFAULTS[{n!r}]" if n in defaults else n for n in names)
    heads = "".join(f"{n}, " for n in signature.heads)
    keys = ", ".join(f"{k!r}: {k}" for k in signature.keys)
    source = (
        f"def forward(self, {given}):\n"
        f"    leaves = FLATTEN(({heads}), {{{keys}}})\n"
        "    return RUN[self.training](self, *leaves)\n"
    )
    namespace = {"RUN": dict(run), "FLATTEN": signature.flatten_freely, "DEFAULTS": defaults}
    return _compiled(source, namespace, class_name)["forward"]  # type: ignore[no-any-return]


def _has_values(signature: Signature) -> bool:
    return any(not isinstance(leaf, torch.Size) for leaf in signature.leaves)


def _trailing_values(signature: Signature) -> dict[str, Any]:
    """The arguments at the end that are plain values, which may be left out."""
    values = dict(zip(signature.names, signature.leaves, strict=True))
    found: dict[str, Any] = {}
    for name in reversed((*signature.heads, *signature.keys)):
        if name not in values or isinstance(values[name], torch.Size):
            break
        found[name] = values[name]
    return found


def _compiled(source: str, namespace: dict[str, Any], class_name: str) -> dict[str, Any]:
    exec(compile(source, f"<{class_name}>", "exec"), namespace)
    return namespace
