"""Correcting the config of a Hugging Face model, so that saving and loading give the network.

A config has one number for all layers. Which number each of its settings must have is found by
building the model from it, without weights, and counting what differs. Where no setting of the
config gives the network (layers of unlike widths), that is said. A model inside a module of the
user's own is treated alike.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["correct_config", "has_config"]

_MOST_BUILDS = 120
_MOST_CHECKS = 24
_MOST_ITEMS = 8
_TENSOR = 1_000_000  # a tensor of another shape weighs more than all numbers
_COUNTS = ("layer", "depth", "block")
# Settings that may be None, and then follow from another one.
_DERIVED = ("inner", "head_dim", "intermediate", "ffn", "kv", "d_ff")

Check = Callable[[nn.Module], None]
"""Raises where a network computes something else than it has to."""


@dataclass(frozen=True)
class _Setting:
    """A number of a config, of a config inside it, or of one of their lists.

    Attributes:
        owner: The config.
        name: Of the attribute.
        item: Position in a list; None for a plain number.
    """

    owner: Any
    name: str
    item: int | None = None

    @property
    def value(self) -> Any:
        """The number; None where it follows from others."""
        value = getattr(self.owner, self.name)
        return value if self.item is None else value[self.item]

    @property
    def is_count(self) -> bool:
        """It says how many layers there are."""
        return any(word in self.name for word in _COUNTS)

    def write(self, value: int) -> None:
        """Sets the number; a list with an entry for every layer follows the number of layers."""
        if self.item is not None:
            entries = list(getattr(self.owner, self.name))
            entries[self.item] = value
            setattr(self.owner, self.name, entries)
            return
        before = self.value
        setattr(self.owner, self.name, value)
        if self.is_count:
            for other, entries in list(vars(self.owner).items()):
                if type(entries) is list and len(entries) == before:
                    setattr(self.owner, other, entries[:value])


def has_config(network: nn.Module) -> bool:
    """A model that builds itself from a config and saves it with the weights."""
    config = getattr(network, "config", None)
    return hasattr(network, "save_pretrained") and hasattr(config, "to_dict")


def correct_config(
    network: nn.Module, shell: nn.Module, changes: Sequence[tuple[int, int]], check: Check
) -> list[str]:
    """Corrects the config of a network in place, where it or a part of it has one.

    Args:
        network: A network of its model's own classes.
        shell: The model that was brought, with or without weights.
        changes: All pairs of a full and a kept size.
        check: Raises where a network computes something else.

    Returns:
        Whether loading what ``save_pretrained`` writes gives this network.
    """
    notes = []
    for path in _paths_with_config(network):
        part, before = network.get_submodule(path), shell.get_submodule(path)
        settings = [(owner, copy.deepcopy(vars(owner))) for owner in _configs(part.config)]
        try:
            found = _corrected(part, before, changes, _check_of_part(network, path, check))
        except Exception as error:  # whatever a model's own code raises when it is built
            for owner, values in settings:
                _restore(owner, values)
            found = [f"its config could not be corrected: {str(error).partition(chr(10))[0]}"]
        notes += [f"{path}: {note}" if path else note for note in found]
    return notes


def _paths_with_config(network: nn.Module) -> list[str]:
    """The outermost parts that have a config."""
    found: list[str] = []
    for path, module in network.named_modules():
        if has_config(module) and not any(_is_inside(path, outer) for outer in found):
            found.append(path)
    return found


def _is_inside(path: str, outer: str) -> bool:
    return not outer or path.startswith(f"{outer}.")


def _check_of_part(network: nn.Module, path: str, check: Check) -> Check:
    """Checks the whole network with something else as one of its parts."""
    if not path:
        return check
    parent, _, leaf = path.rpartition(".")
    owner = network.get_submodule(parent)

    def check_part(part: nn.Module) -> None:
        own = owner._modules[leaf]
        owner._modules[leaf] = part
        try:
            check(network)
        finally:
            owner._modules[leaf] = own

    return check_part


def _corrected(
    network: nn.Module, shell: nn.Module, changes: Sequence[tuple[int, int]], check: Check
) -> list[str]:
    unlike = _unlike_layers(network, shell)
    correction = _Correction(network, shell, changes)
    if unlike:
        correction.count_layers()
        return [f"no config says what the network is: {unlike} differs from layer to layer"]
    return correction.run(check)


def _unlike_layers(network: nn.Module, shell: nn.Module) -> str:
    """A tensor that had one shape in all items of a list and now has several; empty if none."""
    before = {n: t.shape for n, t in [*shell.named_parameters(), *shell.named_buffers()]}
    for path, items in network.named_modules():
        if not isinstance(items, nn.ModuleList):
            continue
        shapes: dict[str, set[torch.Size]] = {}
        for item in items.children():
            for name, tensor in item.named_parameters():
                shapes.setdefault(name, set()).add(tensor.shape)
        for name, found in shapes.items():
            old = {
                s for n, s in before.items() if n.startswith(f"{path}.") and n.endswith(f".{name}")
            }
            if len(found) > 1 and len(old) == 1:
                return f"{path}.*.{name}"
    return ""


class _Correction:
    """Finds the settings of one network's config."""

    def __init__(
        self, network: nn.Module, shell: nn.Module, changes: Sequence[tuple[int, int]]
    ) -> None:
        self._network = network
        self._shapes = {n: tuple(t.shape) for n, t in network.state_dict().items()}
        self._numbers = _numbers_of(network)
        self._builds = 0
        self._options: dict[int, list[int]] = {}
        for full, kept in changes:
            if kept != full:
                self._options.setdefault(full, []).append(kept)
        self._lengths = _shortened(network, shell)

    def run(self, check: Check) -> list[str]:
        """Corrects, then builds the network from its config and compares."""
        before = copy.deepcopy(vars(self._network.config))
        if self._search() >= _TENSOR:
            left = self._unlike_tensor()
            _restore(self._network.config, before)
            why = "no settings of its config give the network, so from_pretrained cannot load it"
            return [f"{why}{left}"]
        problem = self._problem(check)
        if problem and not self._others_hold(check):
            return [f"from_pretrained would build another network: {problem}"]
        return ["save_pretrained and from_pretrained give this network; its config was corrected"]

    def _unlike_tensor(self) -> str:
        """The first tensor that is another in a model built from the config as it is now."""
        with contextlib.suppress(Exception):
            twin = _built(self._network, torch.device("meta"))
            shapes = {n: tuple(t.shape) for n, t in twin.state_dict().items()}
            for name, shape in self._shapes.items():
                if shapes.get(name) != shape:
                    there = shapes.get(name, "missing")
                    return f" ({name} is {shape} here and {there} in what comes nearest)"
        return ""

    def _problem(self, check: Check) -> str:
        """What is wrong with a network built from the config; empty if nothing is."""
        try:
            twin = _built(self._network, torch.device("cpu"))
            twin.load_state_dict(self._network.state_dict())
            twin.to(next(self._network.parameters()).device).train(self._network.training)
            check(twin)
            _adopt_numbers(self._network, twin)
            check(self._network)
        except Exception as error:
            return str(error).strip().partition("\n")[0] or type(error).__name__
        return ""

    def _others_hold(self, check: Check) -> bool:
        """Another value of one setting also gives all shapes, and the network."""
        options = [(one, value) for one in _settings(self._network.config)
                   for value in self._values(one)]  # fmt: skip
        checks = 0
        for one, value in options:
            if checks >= _MOST_CHECKS:
                break
            before = copy.deepcopy(vars(one.owner))
            with contextlib.suppress(Exception):  # a config may refuse a value
                one.write(value)
                if self._differences() < _TENSOR:
                    checks += 1
                    if not self._problem(check):
                        return True
            _restore(one.owner, before)
        return False

    def count_layers(self) -> None:
        """Sets only the numbers of layers, which a model also reads when it runs."""
        for one in _settings(self._network.config):
            left = self._lengths.get(one.value, [])
            if one.item is None and one.is_count and len(left) == 1:
                one.write(left[0])

    # -- the search ---------------------------------------------------------------------------
    def _search(self) -> float:
        """What still differs after setting one setting after the other, then pairs of them."""
        best = self._differences()
        for together in (1, 2):
            improved = together == 1 or best >= _TENSOR
            while best and improved and self._builds < _MOST_BUILDS:
                found = self._improve(best, together)
                improved, best = found < best, found
        return best

    def _improve(self, best: float, together: int) -> float:
        options = [
            (setting, value) for setting in _settings(self._network.config)
            for value in self._values(setting)
        ]  # fmt: skip
        for tried in itertools.combinations(options, together):
            if not best or self._builds >= _MOST_BUILDS:
                break
            before = [(one.owner, copy.deepcopy(vars(one.owner))) for one, _ in tried]
            found = math.inf
            with contextlib.suppress(Exception):  # a config may refuse a value
                for one, value in tried:
                    one.write(value)
                found = self._differences()
            if found < best:
                best = found
                continue
            for owner, old in reversed(before):
                _restore(owner, old)
        return best

    def _values(self, one: _Setting) -> list[int]:
        current = one.value
        if current is None:
            return sorted({k for options in self._options.values() for k in options})
        values = (self._lengths if one.is_count else self._options).get(current, [])
        return [value for value in dict.fromkeys(values) if value != current]

    def _differences(self) -> float:
        """How many tensors and numbers of a model built from the config are others."""
        self._builds += 1
        try:
            twin = _built(self._network, torch.device("meta"))
        except Exception:
            return math.inf
        shapes = {n: tuple(t.shape) for n, t in twin.state_dict().items()}
        numbers = _numbers_of(twin)
        return _TENSOR * _unlike(self._shapes, shapes) + _unlike(self._numbers, numbers)


def _unlike(mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> int:
    return sum(mine.get(key) != theirs.get(key) for key in {**mine, **theirs})


def _shortened(network: nn.Module, shell: nn.Module) -> dict[int, list[int]]:
    """The lengths of the lists that lost items, by their full length."""
    found: dict[int, list[int]] = {}
    old = dict(shell.named_modules())
    for path, items in network.named_modules():
        before = old.get(path)
        if isinstance(items, nn.ModuleList) and isinstance(before, nn.ModuleList):
            lengths = found.setdefault(len(before), [])
            if len(items) not in (len(before), *lengths):
                lengths.append(len(items))
    return found


def _restore(owner: Any, before: dict[str, Any]) -> None:
    owner.__dict__.update(before)


def _settings(config: Any) -> Iterator[_Setting]:
    """The numbers of a config, and of the lists and configs in it, that may be sizes."""
    for name, value in list(vars(config).items()):
        if name.startswith("_"):
            continue
        is_derived = value is None and any(word in name for word in _DERIVED)
        if (type(value) is int and value > 1) or is_derived:
            yield _Setting(config, name)
        elif type(value) in (list, tuple) and len(value) <= _MOST_ITEMS:
            for item, entry in enumerate(value):
                if type(entry) is int and entry > 1:
                    yield _Setting(config, name, item)
        elif hasattr(value, "to_dict"):
            yield from _settings(value)


def _configs(config: Any) -> Iterator[Any]:
    """A config and those inside it."""
    yield config
    for value in vars(config).values():
        if hasattr(value, "to_dict"):
            yield from _configs(value)


def _built(network: nn.Module, device: torch.device) -> nn.Module:
    with torch.random.fork_rng(devices=[]), device:
        twin: nn.Module = type(network)(copy.deepcopy(network.config))
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    return twin.to(dtype)


def _adopt_numbers(network: nn.Module, twin: nn.Module) -> None:
    """What a model built from the config says of itself, where the network guessed otherwise."""
    modules = dict(network.named_modules())
    for (path, name), value in _numbers_of(twin).items():
        if path in modules and type(vars(modules[path]).get(name)) is int:
            setattr(modules[path], name, value)


def _numbers_of(network: nn.Module) -> dict[tuple[str, str], int]:
    """The whole numbers that modules keep as attributes."""
    return {
        (path, name): value
        for path, module in network.named_modules()
        for name, value in vars(module).items()
        if type(value) is int
    }
