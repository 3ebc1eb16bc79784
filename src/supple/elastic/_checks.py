"""What is tried on a new elastic network before anybody relies on it.

The captured graph must be the model, in evaluation and in training, on the example's batch and
on another; and every choice must run at its smallest. What fails is fixed, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._attention_dropout import Attentions
from supple.elastic._compare import output_shapes, relative_difference
from supple.elastic._gradient_stops import GradientStops, has_plain_gradients
from supple.elastic._inputs import call_example, copied_arguments, resize_batch
from supple.elastic._plan import Plan
from supple.elastic._resizing import plain_attributes, unchanged_attributes
from supple.elastic._skeleton import unchanged_buffers
from supple.elastic._sub_network import SubNetwork
from supple.errors import TraceError
from supple.space import Config
from supple.trace import Capture, Example, same_randomness
from supple.trace._deadline import check_time
from supple.trace._modes import in_mode
from supple.trace._places import line_that_sets

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = [
    "Shapes",
    "broken_choices",
    "check_evaluation",
    "other_batch",
    "runs_alike",
    "size_problem",
    "trains_alike",
]

_FAITHFUL = 1e-5  # relative difference up to which the captured graph counts as the model
_LIMITS = {False: _FAITHFUL, True: 1e-4}  # in training: of outputs, and with gradients
_ROW = 1 << 12  # gradients up to this are compared as they are, larger ones added up in rows
_OTHER_BATCH = 2  # small, since what is checked costs some forward passes of it


def _output(
    network: nn.Module,
    example: Example,
    *,
    training: bool = False,
    attentions: Attentions | None = None,
) -> Any:
    """What a network gives, with nothing about it changed."""
    args, kwargs = copied_arguments(example)
    with (
        in_mode(network, training),
        unchanged_buffers(network),
        torch.no_grad(),
        same_randomness(example),
        _watching(attentions, training),
    ):
        return network(*args, **kwargs)


def _watching(attentions: Attentions | None, training: bool) -> AbstractContextManager[None]:
    return nullcontext() if attentions is None else attentions.watching(training)


Shapes = list[tuple[int, ...]]
"""Of the leaves of an output."""


def check_evaluation(
    net: Elastic, model: nn.Module, example: Example, attentions: Attentions
) -> Shapes:
    """Raises TraceError where the captured graph is not the model; the shapes of its output."""
    output = _output(net, example)
    before = plain_attributes(model)
    difference = relative_difference(output, _output(model, example, attentions=attentions))
    if difference > _FAITHFUL:
        raise TraceError(
            f"the captured graph of {type(model).__name__} differs from the model by "
            f"{difference:.2g} of the output's scale.",
            why=_what_changed(model, before),
            hint="make forward depend on its arguments and parameters only.",
            difference=difference,
        )
    return output_shapes(output)


def _what_changed(model: nn.Module, before: Mapping[nn.Module, Mapping[str, Any]]) -> str:
    """The attribute of the model that a call changed, with the line that did it."""
    for path, module in model.named_modules():
        for name, value in plain_attributes(model)[module].items():
            if name not in before[module] or before[module][name] != value:
                owner = f"'{path}.{name}'" if path else f"'{name}'"
                line = line_that_sets(module, name)
                return f"Every call changes its attribute {owner}{f', at {line}' if line else ''}."
    return "Something in the model depends on state that torch.export froze."


def trains_alike(
    net: Elastic, model: nn.Module, example: Example, attentions: Attentions, *, gradients: bool
) -> bool | None:
    """Whether network and model are the same in training; None if the model does not train.

    Args:
        net: The network.
        model: The model it was made from.
        example: Arguments of a call.
        attentions: Those of the network's graphs, which learn their dropout from the model.
        gradients: Compare the gradients too where the outputs do not tell them: code that asks for
            the mode may change only those.
    """
    try:
        want = (
            _trained(model, example, attentions, net.structure.analysis.captures)
            if gradients
            else [_output(model, example, training=True, attentions=attentions)]
        )
    except Exception:  # the user's code: batch norm of one value, a missing target
        return None
    has_rates = attentions.take_rates()
    if has_rates:
        net.renew_programs()
    try:
        has_gradients = len(want) > 1
        got = _trained(net, example) if has_gradients else [_output(net, example, training=True)]
        is_alike = relative_difference(got, want) <= _LIMITS[gradients]
    except Exception:
        is_alike = False
    if has_rates and not is_alike:
        attentions.forget_rates()
        net.renew_programs()
    return is_alike


def _trained(
    network: nn.Module,
    example: Example,
    attentions: Attentions | None = None,
    captures: Sequence[Capture] = (),
) -> list[Any]:
    """Output in training mode, and the gradients: of large parameters few numbers each.

    Where the graphs of the network are given and the output tells the gradients, only the output.
    """
    weights = {n: w for n, w in network.named_parameters() if w.requires_grad}
    args, kwargs = copied_arguments(example)
    with in_mode(network, True), unchanged_buffers(network), same_randomness(example):
        with GradientStops() as stops, _watching(attentions, True):
            output = network(*args, **kwargs)
        if captures and not stops.is_any and has_plain_gradients(network, output, captures):
            return [pytree.tree_map_only(Tensor, torch.detach, output)]
        leaves = [v for v in pytree.tree_leaves(output) if isinstance(v, Tensor)]
        parts = [_real(v).double() for v in leaves if v.requires_grad]
        total = torch.stack([part.square().sum() + part.sum() for part in parts]).sum()
        sums = _gradient_sums(total, weights)
    names = sorted(sums)
    small = [sums[n] for n in names if weights[n].numel() <= _ROW]
    large = [sums[n] for n in names if weights[n].numel() > _ROW]
    return [output, names, *(torch.cat(found) for found in (small, large) if found)]


def _gradient_sums(total: Tensor, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Of each gradient as it comes, so that never all of them are there at a time."""
    sums: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[Tensor], None]:
        def take(weight: Tensor) -> None:
            assert weight.grad is not None
            sums[name] = _sums(weight.grad) if weight.numel() > _ROW else _flat(weight.grad)
            weight.grad = None

        return take

    before = {name: weight.grad for name, weight in weights.items()}
    hooks = []
    try:
        for name, weight in weights.items():
            weight.grad = None
            hook = weight.register_post_accumulate_grad_hook(watch(name))  # type: ignore[no-untyped-call]
            hooks.append(hook)
        torch.autograd.backward(total, inputs=list(weights.values()))
    finally:
        for hook in hooks:
            hook.remove()
        for name, weight in weights.items():
            weight.grad = before[name]
    return sums


def _real(value: Tensor) -> Tensor:
    return torch.view_as_real(value) if value.is_complex() else value


def _flat(gradient: Tensor) -> Tensor:
    return _real(gradient.detach()).reshape(-1)


def _sums(gradient: Tensor) -> Tensor:
    """Weighted sums over rows, in which two gradients that differ would hardly agree."""
    flat = _flat(gradient)
    if flat.dtype.itemsize < torch.float32.itemsize:
        flat = flat.float()
    weights = torch.arange(_ROW, dtype=flat.dtype, device=flat.device).cos()
    whole = len(flat) // _ROW * _ROW
    rest = flat[whole:]
    rows = flat[:whole].view(-1, _ROW) @ weights
    return torch.cat([rows, (rest @ weights[: len(rest)])[None]])


def other_batch(example: Example, size: int) -> Example:
    """The example with another number of samples, a small one."""
    return resize_batch(example, 3 if size == _OTHER_BATCH else _OTHER_BATCH)


def runs_alike(
    net: Elastic, model: nn.Module, example: Example, attentions: Attentions
) -> Shapes | None:
    """The shapes of the output where network and model are the same in evaluation, else None."""
    try:
        output = _output(net, example)
        want = _output(model, example, attentions=attentions)
        is_alike = relative_difference(output, want) <= _FAITHFUL
    except Exception:  # either refuses the batch; which one does not matter
        return None
    return output_shapes(output) if is_alike else None


def size_problem(
    net: Elastic, plan: Plan, model: nn.Module, example: Example, smaller: Example, want: Shapes
) -> str:
    """Why a size of the input cannot be offered; empty if it can.

    Args:
        net: The network.
        plan: All of it, on inputs made smaller.
        model: What it was made from.
        example: Arguments of a call, as large as always.
        smaller: The same made smaller.
        want: The shapes of the output on the whole example.
    """
    try:
        with in_mode(net, False), torch.no_grad(), same_randomness(example):
            got = call_example(SubNetwork(net, net.space.largest, plan), example)
        with unchanged_attributes(model):
            difference = relative_difference(got, _output(model, smaller))
    except Exception as error:
        return str(error).strip().partition("\n")[0] or repr(error)
    if output_shapes(got) != want:
        return "the output has another shape"
    return (
        "" if difference <= _FAITHFUL else f"its graph differs from the model by {difference:.2g}"
    )


def broken_choices(net: Elastic, example: Example, want: Shapes) -> dict[str, str]:
    """The choices that cannot be at their smallest, each with what went wrong.

    Args:
        net: The network.
        example: What it is called with.
        want: The shapes of the output it gives then.
    """
    space = net.space
    if not space:
        return {}
    deep = space.smallest.replace(
        {name: choice.options[-1] for name, choice in space.items() if choice.kind == "depth"}
    )
    if not _problem(net, space.smallest, example, want) and not _problem(net, deep, example, want):
        return _broken_swaps(net, example, want)
    culprits = _Culprits(net, example, want)
    depths = [name for name, choice in space.items() if choice.kind == "depth"]
    sizes = [name for name in space if name not in depths and space[name].kind != "swap"]
    # Depths come last: what is skipped cannot show that its sizes do not fit.
    return _broken_swaps(net, example, want) | culprits.among(sizes) | culprits.among(depths)


class _Culprits:
    """Finds the choices that cannot be at their smallest, by halves."""

    def __init__(self, net: Elastic, example: Example, want: Shapes) -> None:
        self._net, self._example, self._want = net, example, want
        self._config = net.space.largest  # with all that is known to work at its smallest

    def among(self, names: Sequence[str]) -> dict[str, str]:
        """Those of some choices, each with what went wrong."""
        check_time(lambda: "the trial of its choices")
        if not names:
            return {}
        space = self._net.space
        config = self._config.replace({name: space[name].options[0] for name in names})
        problem = _problem(self._net, config, self._example, self._want)
        if not problem:
            self._config = config
            return {}
        if len(names) == 1:
            return {names[0]: problem}
        half = len(names) // 2
        return self.among(names[:half]) | self.among(names[half:])


def _broken_swaps(net: Elastic, example: Example, want: list[tuple[int, ...]]) -> dict[str, str]:
    """The swap points with an alternative that does not run, all else as it was brought."""
    space = net.space
    return {
        name: problem
        for name, choice in space.items()
        if choice.kind == "swap"
        for option in choice.options
        if (problem := _problem(net, space.largest.replace({name: option}), example, want))
    }


def _problem(net: Elastic, config: Config, example: Example, shapes: Shapes) -> str:
    """What goes wrong with a sub-network; empty if it runs and keeps the output's shapes."""
    try:
        with in_mode(net, False), torch.no_grad(), same_randomness(example):
            # Not through net.at: one choice at a time may break a constraint of the space.
            got = call_example(SubNetwork(net, config, net._make_plan(config)), example)
    except Exception as error:
        return str(error).strip().partition("\n")[0] or repr(error)
    return "" if output_shapes(got) == shapes else "the output has another shape"
