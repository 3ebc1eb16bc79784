"""Facts about graphs of ATen calls: arguments by name, what is written, what shares memory."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

__all__ = [
    "clean",
    "memory_of",
    "module_path",
    "named_arguments",
    "remove_unused",
    "writes",
]


_GRAD_MODE = torch.ops.higher_order.wrap_with_set_grad_enabled
# What the exporter puts around a block under ``torch.autocast``, and what runs it again.
ENTER_AUTOCAST = torch.amp.autocast_mode._enter_autocast
EXIT_AUTOCAST = torch.amp.autocast_mode._exit_autocast


def named_arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of a call by their name in the operator's schema, defaults filled in.

    Calls whose target has no schema get names ``0``, ``1``, …
    """
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return {str(i): a for i, a in enumerate(node.args)} | dict(node.kwargs)
    named: dict[str, Any] = {}
    for i, parameter in enumerate(target._schema.arguments):
        if i < len(node.args):
            named[parameter.name] = node.args[i]
        elif parameter.name in node.kwargs:
            named[parameter.name] = node.kwargs[parameter.name]
        else:
            named[parameter.name] = (
                parameter.default_value if parameter.has_default_value() else None
            )
    return named


def module_path(node: fx.Node) -> str:
    """Qualified name of the module whose code made the call."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def writes(node: fx.Node) -> list[fx.Node]:
    """The tensors that a call writes in place, by the operator's schema."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
        return []
    given = named_arguments(node)
    written = [
        given[a.name]
        for a in target._schema.arguments
        if a.alias_info is not None and a.alias_info.is_write
    ]
    flat = [v for value in written for v in (value if isinstance(value, list) else [value])]
    return [v for v in flat if isinstance(v, fx.Node)]


# These may return their first argument itself, and their schemas do not say so.
_MAY_PASS_ON = frozenset(
    f"aten::{name}"
    for name in (
        "alpha_dropout", "atleast_1d", "atleast_2d", "atleast_3d", "dropout", "einsum",
        "feature_alpha_dropout", "feature_dropout", "type_as",
    )
)  # fmt: skip


def memory_of(node: fx.Node) -> fx.Node:
    """The call or input whose memory the node's tensor shares: itself, if it has its own."""
    while node.op == "call_function":
        source = _shares_with(node)
        if source is None:
            return node
        node = source
    return node


def _shares_with(node: fx.Node) -> fx.Node | None:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        first = node.args[0] if node.args else None  # getitem of a split
        return first if isinstance(first, fx.Node) else None
    schema = target._schema
    first = node.args[0] if node.args else None
    if schema.name in _MAY_PASS_ON:
        return node.all_input_nodes[0] if node.all_input_nodes else None
    if any(r.alias_info is not None for r in schema.returns):
        return first if isinstance(first, fx.Node) else None
    return None


# -- cleaning what the exporter returns -------------------------------------------------------
def clean(module: fx.GraphModule) -> None:
    """Makes one flat list of calls, without checks of dtype and device and copies onto itself."""
    _inline_modes(module)
    for node in reversed(list(module.graph.nodes)):
        if node.target is torch.ops.aten._assert_tensor_metadata.default or _is_self_copy(node):
            module.graph.erase_node(node)
    _spare_results(module.graph)
    remove_unused(module.graph)


# Their gradients need what they returned, so nothing may be written into it.
_REMEMBERED = frozenset(
    f"aten::{name}"
    for name in ("_softmax", "exp", "log_softmax", "sigmoid", "softmax", "sqrt", "rsqrt", "tanh")
)


def _spare_results(graph: fx.Graph) -> None:
    """What is written into a result that a gradient needs becomes a new tensor.

    The model's own code may do that inside a ``torch.autograd.Function``, whose ``backward`` the
    exporter does not record.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        written = writes(node)
        if len(written) != 1 or written[0] is not node.args[0]:
            continue
        source = getattr(getattr(written[0].target, "_schema", None), "name", "")
        other = _out_of_place(node)
        is_last = all(order[user] <= order[node] for user in written[0].users)
        if source in _REMEMBERED and other is not None and is_last:
            node.target = other


def _out_of_place(node: fx.Node) -> torch._ops.OpOverload | None:
    """The operator that computes the same into a new tensor."""
    namespace, _, name = node.target._schema.name.partition("::")  # type: ignore[union-attr]
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    overload = node.target._schema.overload_name or "default"  # type: ignore[union-attr]
    found = getattr(packet, overload, None) if name.endswith("_") else None
    return found if isinstance(found, torch._ops.OpOverload) else None


def remove_unused(graph: fx.Graph) -> None:
    """Erases calls whose result nobody reads; those that write or draw random numbers stay."""
    for node in reversed(list(graph.nodes)):
        if not node.users and (node.op == "get_attr" or _is_pure(node)):
            graph.erase_node(node)


def _is_pure(node: fx.Node) -> bool:
    """Without its result the call might as well not be made."""
    if node.op != "call_function":
        return False
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.target is operator.getitem
    schema = node.target._schema
    draws = torch.Tag.nondeterministic_seeded in node.target.tags
    return bool(schema.returns) and not schema.is_mutable and not draws


def _is_self_copy(node: fx.Node) -> bool:
    if node.target is not torch.ops.aten.copy_.default or node.users:
        return False
    target, source = node.args[:2]
    return isinstance(source, fx.Node) and memory_of(source) is target


def _inline_modes(module: fx.GraphModule) -> None:
    """Blocks under ``torch.no_grad`` and ``torch.autocast`` become plain calls.

    The former on detached inputs, the latter between a call that enters the mode and one that
    leaves it.
    """
    graph = module.graph
    for node in list(graph.nodes):
        is_autocast = node.target is torch.ops.higher_order.wrap_with_autocast
        if not is_autocast and node.target is not _GRAD_MODE:
            continue
        *setting, attribute = node.args[: 5 if is_autocast else 2]
        operands = node.args[5 if is_autocast else 2 :]
        block = getattr(module, attribute.target)
        _inline_modes(block)
        with graph.inserting_before(node):
            given = operands if is_autocast or setting[0] else map(_detached, operands)
            inner = dict(zip(_placeholders(block), given, strict=True))
            mode = graph.call_function(ENTER_AUTOCAST, tuple(setting)) if is_autocast else None
            results = graph.graph_copy(block.graph, inner)
            if mode is not None:
                graph.call_function(EXIT_AUTOCAST, (mode,))
        assert isinstance(results, (tuple, list))
        for user in list(node.users):
            user.replace_all_uses_with(results[user.args[1]])
            graph.erase_node(user)
        graph.erase_node(node)
        if not attribute.users:
            graph.erase_node(attribute)


def _detached(operand: Any) -> Any:
    if not isinstance(operand, fx.Node) or not isinstance(operand.meta.get("val"), torch.Tensor):
        return operand
    node = operand.graph.call_function(torch.ops.aten.detach.default, (operand,))
    node.meta = dict(operand.meta)
    return node


def _placeholders(module: fx.GraphModule) -> list[fx.Node]:
    return [n for n in module.graph.nodes if n.op == "placeholder"]
