"""Blocks of a network, found by tracing, and networks put together from blocks of several.

A residual network is a stem, a stack of blocks that each map a stream to a stream of the same
shape, and a head. `find_stack` finds the stack in the traced graph, so that nobody has to say how
a model is written; `assembled` makes a network of the stem of one model, blocks of others and the
head of a third; `Joined` runs the front of one model and the back of another.

Networks made here share weights with those they come from: training one trains the other. Take
`copy.deepcopy` for weights of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from supple.elastic import Elastic
from supple.elastic._call import call, evaluating, input_arguments
from supple.errors import CompressError, SuppleError, near_misses

__all__ = [
    "Joined",
    "Stack",
    "assembled",
    "find_stack",
    "find_stacks",
    "front_stream",
    "shared_copy",
    "streams",
]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack of blocks on one residual stream.

    Attributes:
        container: Qualified name of the module that holds the blocks; empty for the model itself.
        blocks: Qualified names of the blocks, in order.
    """

    container: str
    blocks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.blocks)

    def of(self, model: nn.Module) -> list[nn.Module]:
        """The blocks of a model of this kind."""
        return list(self.holder(model).children())

    def holder(self, model: nn.Module) -> nn.Module:
        """The module that holds the blocks.

        Raises:
            CompressError: The model has no such module.
        """
        try:
            return model.get_submodule(self.container)
        except AttributeError:
            raise CompressError(
                f"a {type(model).__name__} has no module '{self.container}'.",
                why="The stack of blocks was found in another kind of model.",
                hint="find_stack(model, example) of this model.",
            ) from None

    def fill(self, model: nn.Module, blocks: Iterable[nn.Module]) -> None:
        """Puts blocks into a model in the place of its own, in place."""
        holder = self.holder(model)
        holder._modules.clear()
        for number, block in enumerate(blocks):
            holder._modules[str(number)] = block


def find_stacks(model: nn.Module, example: Any) -> dict[str, Stack]:
    """The stacks of blocks of a model, by the name of the container, in order.

    A stack is a residual stage of the traced graph whose blocks are all the children of one
    `nn.Sequential` or `nn.ModuleList`. That the container takes any number of blocks is tried.

    Args:
        model: A model that ``torch.export`` captures.
        example: Inputs of one call.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.join import find_stacks
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear = nn.Linear(4, 4)
        ...     def forward(self, x):
        ...         return x + self.linear(x).relu()
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(Block(), Block()), nn.Linear(4, 2))
        >>> find_stacks(model, torch.ones(2, 3))
        {'1': Stack(container='1', blocks=('1.0', '1.1'))}
    """
    args, kwargs = input_arguments(example)
    net = Elastic(model, kwargs or args)
    found: dict[str, Stack] = {}
    for stage in net.structure.stages:
        names = [block.name for block in stage.blocks]
        container = names[0].rpartition(".")[0]
        try:
            holder = model.get_submodule(container)
        except AttributeError:
            continue
        children = [f"{container}.{name}".lstrip(".") for name, _ in holder.named_children()]
        is_list = isinstance(holder, (nn.Sequential, nn.ModuleList))
        # A block whose shortcut is not plain (a stride, other channels) is not in the stage.
        if is_list and children == names and len(names) > 1:
            stack = Stack(container=container, blocks=tuple(names))
            if _takes_any_number(model, stack, example):
                found[container] = stack
    return found


def find_stack(model: nn.Module, example: Any, container: str | None = None) -> Stack:
    """The one stack of blocks of a model, or that of a container.

    Raises:
        CompressError: There is none, or there are several and no container is named.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.join import find_stack
        >>> from supple.errors import CompressError
        >>> try:
        ...     find_stack(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)), torch.ones(1, 2))
        ... except CompressError as error:
        ...     print(error.message)
        the Sequential has no stack of blocks to split at.
    """
    found = find_stacks(model, example)
    if not found:
        raise CompressError(
            f"the {type(model).__name__} has no stack of blocks to split at.",
            why="A stack is two residual blocks x + f(x) or more that fill one nn.Sequential or "
            "nn.ModuleList.",
            hint="supple.Elastic(model, example).report() shows the stages that were found.",
        )
    if container is None and len(found) == 1:
        return next(iter(found.values()))
    if container not in found:
        raise CompressError(
            f"there is no stack '{container}'." if container else "the model has several stacks.",
            hint=near_misses(container, found)
            if container
            else "name one: " + ", ".join(f"container='{name}'" for name in found),
        )
    return found[container]


def _takes_any_number(model: nn.Module, stack: Stack, example: Any) -> bool:
    """Whether the model runs with one block, and gives what the blocks say."""
    twin = shared_copy(model)
    blocks = stack.of(twin)
    stack.fill(twin, blocks[:1])
    seen: list[Any] = []
    hook = blocks[0].register_forward_hook(lambda m, i, o: seen.append(o))
    try:
        with evaluating(twin), torch.no_grad():
            call(twin, example)
    except Exception:
        return False
    finally:
        hook.remove()
    return len(seen) == 1 and isinstance(_stream_of(seen[0]), Tensor)


def shared_copy(model: nn.Module) -> nn.Module:
    """The same tree of modules around the same parameters and buffers.

    Modules may then be put into the copy without a change of the model.

    Example:
        >>> from torch import nn
        >>> from supple.compress.join import shared_copy
        >>> model = nn.Sequential(nn.Linear(2, 2))
        >>> twin = shared_copy(model)
        >>> twin[0] is model[0], twin[0].weight is model[0].weight
        (False, True)
    """
    memo: dict[int, nn.Module] = {}

    def copied(module: nn.Module) -> nn.Module:
        if id(module) not in memo:
            twin = copy.copy(module)
            memo[id(module)] = twin
            for own in ("_parameters", "_buffers", "_modules", "_forward_hooks",
                        "_forward_pre_hooks"):  # fmt: skip
                twin.__dict__[own] = copy.copy(module.__dict__[own])
            for name, child in module._modules.items():
                twin._modules[name] = None if child is None else copied(child)
        return memo[id(module)]

    return copied(model)


def assembled(
    sources: Sequence[nn.Module], parts: Sequence[Sequence[nn.Module]], stack: Stack
) -> nn.Module:
    """A network of the stem of the first source, the parts' blocks, and the head of the last.

    What a model computes before its blocks is the stem, and belongs to the first part; what it
    computes after them is the head, and belongs to the last.

    Args:
        sources: The model that each part is of; all of one kind, widths of the stream equal.
        parts: Blocks of each part, in order.
        stack: Where the blocks are.

    Example:
        See `supple.compress.join.DeepIncubation`.
    """
    whole = shared_copy(sources[0])
    stack.fill(whole, [block for part in parts for block in part])
    if sources[-1] is not sources[0]:
        last = shared_copy(sources[-1])
        for name in _after(whole, stack):
            whole.set_submodule(name, last.get_submodule(name))
    return whole


def _after(model: nn.Module, stack: Stack) -> list[str]:
    """Children registered after the container: by convention those that run after the blocks."""
    top, _, _ = stack.container.partition(".")
    names = [name for name, _ in model.named_children()]
    if not top:
        return []
    return names[names.index(top) + 1 :]


def _stream_of(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


class _Reached(Exception):
    """The front is done."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream


class _Stop(nn.Module):
    """Ends a front: what comes after it in the model is not run."""

    held: Any = None

    def forward(self, stream: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            # An exporter cannot leave modules by an exception; what follows is not in its graph,
            # since nothing uses it.
            self.held = _stream_of(stream)
            return stream
        raise _Reached(_stream_of(stream))


class _Start(nn.Module):
    """Begins a back: gives the stream it holds for the one that the stem gives."""

    held: Any = None

    def forward(self, stream: Any, *args: Any, **kwargs: Any) -> Any:
        return self.held


class Joined(nn.Module):
    """The first blocks of one model, a layer between, and the last blocks of another.

    Both models are called with the inputs. The front ends behind its blocks, its head is not run.
    The back's stem is run and its stream thrown away; an ONNX graph leaves it out.

    Args:
        front: The model that begins.
        back: The model that ends.
        front_stack: Where the blocks of the front are.
        back_stack: Where those of the back are.
        front_blocks: How many blocks of the front, from 1 up.
        back_from: The first block of the back.
        between: Maps the front's stream to the back's.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.join import find_stack, Joined
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear = nn.Linear(4, 4)
        ...     def forward(self, x):
        ...         return x + self.linear(x)
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(Block(), Block()), nn.Linear(4, 2))
        >>> x = torch.randn(5, 3)
        >>> stack = find_stack(model, x)
        >>> joined = Joined(model, model, stack, stack, front_blocks=1, back_from=1)
        >>> torch.equal(joined(x), model(x))
        True
    """

    def __init__(
        self,
        front: nn.Module,
        back: nn.Module,
        front_stack: Stack,
        back_stack: Stack,
        *,
        front_blocks: int,
        back_from: int,
        between: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= front_blocks <= len(front_stack) or not 0 <= back_from <= len(back_stack):
            raise CompressError(
                f"{front_blocks} blocks of {len(front_stack)} and those from {back_from} of "
                f"{len(back_stack)} cannot be joined.",
                hint="from one block of the front to all, and any first block of the back.",
            )
        self.front, self.back = shared_copy(front), shared_copy(back)
        front_stack.fill(self.front, [*front_stack.of(self.front)[:front_blocks], _Stop()])
        back_stack.fill(self.back, [_Start(), *back_stack.of(self.back)[back_from:]])
        self.between = nn.Identity() if between is None else between
        _drop_head(self.front, front_stack)

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        """What the front hands over, before the layer between."""
        return front_stream(self.front, *args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the back makes of the front's stream."""
        start = next(m for m in self.back.modules() if isinstance(m, _Start))
        start.held = self.between(self.stream(*args, **kwargs))
        try:
            return self.back(*args, **kwargs)
        finally:
            start.held = None


def _drop_head(front: nn.Module, stack: Stack) -> None:
    """Takes the modules away that a front never runs."""
    for name in _after(front, stack):
        front.set_submodule(name, nn.Identity())


def front_stream(front: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Runs a model up to where its front ends."""
    try:
        front(*args, **kwargs)
    except _Reached as reached:
        return reached.stream
    stop = next((m for m in front.modules() if isinstance(m, _Stop)), None)
    if stop is not None and stop.held is not None:
        stream, stop.held = stop.held, None
        return stream
    raise SuppleError("the front of a joined network ran past its end.")


def streams(
    model: nn.Module, stack: Stack, inputs: Any, *, keep: Callable[[Tensor], Tensor] | None = None
) -> list[Tensor]:
    """What flows between the blocks: before the first, after the first, …, after the last.

    Args:
        model: Run once in eval mode without gradients.
        stack: Where its blocks are.
        inputs: Of one call.
        keep: What to keep of each stream; all by default.
    """
    kept: list[Tensor] = []

    def store(stream: Any) -> None:
        value = _stream_of(stream).detach()
        kept.append(value if keep is None else keep(value))

    blocks = stack.of(model)
    hooks = [blocks[0].register_forward_pre_hook(lambda m, inputs: store(inputs[0]))]
    hooks += [block.register_forward_hook(lambda m, i, output: store(output)) for block in blocks]
    try:
        with evaluating(model), torch.no_grad():
            call(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return kept
