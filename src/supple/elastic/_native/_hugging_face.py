"""Correcting the config of a Hugging Face model, so that saving and loading give the network.

A config has one number for all layers. Which number each of its settings must have is found by
building the model from it, without weights, and counting what differs. Where no setting of the
config gives the network (layers of unlike widths), that is said.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["correct_config", "has_config"]

_MOST_BUILDS = 120
_TENSOR = 1_000_000  # a tensor of another shape weighs more than all numbers
_COUNTS = ("layer", "depth", "block")
# Settings that may be None, and then follow from another one.
_DERIVED = ("inner", "head_dim", "intermediate", "ffn", "kv", "d_ff")

Setting = tuple[Any, str]
"""A config (or one inside it) and the name of a number in it."""


def has_config(network: nn.Module) -> bool:
    """A model that builds itself from a config and saves it with the weights."""
    config = getattr(network, "config", None)
    return hasattr(network, "save_pretrained") and hasattr(config, "to_dict")


def correct_config(
    network: nn.Module,
    shell: nn.Module,
    changes: Sequence[tuple[int, int]],
    check: Callable[[nn.Module], None],
) -> list[str]:
    """Corrects the config of a network in place, where it has one.

    Args:
        network: A network of its model's own classes.
        shell: The model that was brought, with or without weights.
        changes: All pairs of a full and a kept size.
        check: Raises where a network computes something else.

    Returns:
        Whether loading what ``save_pretrained`` writes gives this network.
    """
    if not has_config(network):
        return []
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

    def run(self, check: Callable[[nn.Module], None]) -> list[str]:
        """Corrects, then builds the network from its config and compares."""
        before = copy.deepcopy(vars(self._network.config))
        if self._search() >= _TENSOR:
            _restore(self._network.config, before)
            return ["no settings of its config give the network, so from_pretrained cannot load it"]
        try:
            twin = _built(self._network, torch.device("cpu"))
            twin.load_state_dict(self._network.state_dict())
            check(twin.to(next(self._network.parameters()).device))
            _adopt_numbers(self._network, twin)
            check(self._network)
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            return [f"from_pretrained would build another network: {first}"]
        return ["save_pretrained and from_pretrained give this network; its config was corrected"]

    def count_layers(self) -> None:
        """Sets only the numbers of layers, which a model also reads when it runs."""
        for owner, name in _settings(self._network.config):
            left = self._lengths.get(getattr(owner, name), [])
            if _is_count(name) and len(left) == 1:
                _set(owner, name, left[0])

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
            for value in self._values(*setting)
        ]  # fmt: skip
        for tried in itertools.combinations(options, together):
            if not best or self._builds >= _MOST_BUILDS:
                break
            before = [(owner, copy.deepcopy(vars(owner))) for (owner, _), _ in tried]
            for (owner, name), value in tried:
                _set(owner, name, value)
            found = self._differences()
            if found < best:
                best = found
                continue
            for owner, old in reversed(before):
                _restore(owner, old)
        return best

    def _values(self, owner: Any, name: str) -> list[int]:
        current = getattr(owner, name)
        if current is None:
            return sorted({k for options in self._options.values() for k in options})
        values = (self._lengths if _is_count(name) else self._options).get(current, [])
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


def _is_count(name: str) -> bool:
    return any(word in name for word in _COUNTS)


def _set(owner: Any, name: str, value: int) -> None:
    """Sets a setting; a list with an entry for every layer follows the number of layers."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    if _is_count(name):
        for other, entries in list(vars(owner).items()):
            if type(entries) is list and len(entries) == before:
                setattr(owner, other, entries[:value])


def _restore(owner: Any, before: dict[str, Any]) -> None:
    owner.__dict__.update(before)


def _settings(config: Any) -> Iterator[Setting]:
    """The numbers of a config, and of the configs in it, that may be sizes."""
    for name, value in list(vars(config).items()):
        if name.startswith("_"):
            continue
        is_derived = value is None and any(word in name for word in _DERIVED)
        if (type(value) is int and value > 1) or is_derived:
            yield config, name
        elif hasattr(value, "to_dict"):
            yield from _settings(value)


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
