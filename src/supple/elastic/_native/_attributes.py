"""Attributes of the user's own modules that name the size of an axis: ``num_heads``, ``width``.

What an attribute means is inferred: an axis of that size near the module. Where several are, the
name decides what is tried first, and only a network that computes the same is ever returned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import nn

from supple.elastic._native._sizes import Candidate, Sizes
from supple.elastic._native._torch_modules import KNOWN
from supple.elastic._plan import Plan

__all__ = ["Slot", "slots_of"]

_OWN = frozenset(vars(nn.Module()))
_MOST_ITEMS = 8
# Numbers that seldom are the size of an axis that can be cut.
_OTHER = {
    "idx", "index", "id", "stride", "patch", "window", "kernel", "padding", "dilation", "layer",
    "layers", "depth", "seed", "token", "length", "position", "positions", "step", "steps",
    "vocab", "classes", "labels", "buckets", "distance", "image", "resolution",
}  # fmt: skip
_WIDTHS = {
    "dim", "dims", "size", "features", "channels", "width", "embed", "embd", "hidden", "inner",
    "planes", "model", "ff", "ffn", "d",
}  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """One whole number that a module, or plain data it holds, keeps as an attribute.

    Attributes:
        owner: What has the attribute.
        attribute: Its name.
        item: Position in a tuple or list; None for a plain number.
        value: The number in the full network.
        candidates: What it may mean, the likeliest first; None: not a size that is cut.
        group: Slots of one group mean the same.
    """

    owner: Any
    attribute: str
    item: int | None
    value: int
    candidates: tuple[Candidate | None, ...]
    group: tuple[str, str, int | None, int, str]

    def values(self, sizes: Sizes, plan: Plan) -> tuple[int, ...]:
        """The number under each candidate."""
        return tuple(
            self.value if one is None else sizes.kept(one.axis, plan) for one in self.candidates
        )

    def write(self, value: int) -> None:
        """Sets the number."""
        if self.item is None:
            setattr(self.owner, self.attribute, value)
            return
        old = getattr(self.owner, self.attribute)
        new = [*old[: self.item], value, *old[self.item + 1 :]]
        setattr(self.owner, self.attribute, type(old)(new))


def slots_of(network: nn.Module, sizes: Sizes) -> list[Slot]:
    """Every whole number of a tree of modules that may name a size, with what it may mean."""
    found: list[Slot] = []
    data: dict[int, tuple[Any, dict[type, str]]] = {}
    modules: set[int] = set()
    for path, module in network.named_modules(remove_duplicate=False):
        if id(module) not in modules and not _is_torchs(module):
            modules.add(id(module))
            found += _slots(module, [path], sizes)
        for value in vars(module).values():
            if _is_plain_data(value):
                # Kept by many modules, a config: what a number means shows where it is read.
                data.setdefault(id(value), (value, {}))[1].setdefault(type(module), path)
    for value, paths in data.values():
        found += _slots(value, list(paths.values()), sizes)
    return found


def _slots(owner: Any, paths: Sequence[str], sizes: Sizes) -> Iterator[Slot]:
    for attribute, item, value in _numbers(owner):
        meant = sizes.named_at(paths, value)
        if meant:
            name = f"{type(owner).__module__}.{type(owner).__qualname__}"
            candidates = _ranked(attribute, meant)
            kinds = tuple(sorted(c.roles) for c in candidates if c is not None)
            group = (name, attribute, item, value, str(kinds))
            yield Slot(owner, attribute, item, value, candidates, group)


def _is_torchs(module: nn.Module) -> bool:
    """A class of torch.nn itself; the sizes of attention are left to be inferred."""
    is_inferred = isinstance(module, (nn.MultiheadAttention, nn.Unflatten))
    return type(module).__module__.startswith("torch.nn") and not is_inferred


def _is_plain_data(value: Any) -> bool:
    """A record of settings: a dataclass that is not frozen, or a namespace."""
    if isinstance(value, SimpleNamespace):
        return True
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return False
    return not vars(type(value))["__dataclass_params__"].frozen


def _numbers(owner: Any) -> Iterator[tuple[str, int | None, int]]:
    known = _KNOWN_ATTRIBUTES if isinstance(owner, tuple(KNOWN)) else set()
    for attribute, value in vars(owner).items():
        if attribute in known or (isinstance(owner, nn.Module) and attribute in _OWN):
            continue
        if _is_number(value):
            yield attribute, None, value
        elif type(value) in (tuple, list) and 0 < len(value) <= _MOST_ITEMS:
            for item, part in enumerate(value):
                if _is_number(part):
                    yield attribute, item, part


def _is_number(value: Any) -> bool:
    return type(value) is int and value > 1


_KNOWN_ATTRIBUTES = {
    "in_features", "out_features", "in1_features", "in2_features", "in_channels", "out_channels",
    "groups", "padding", "kernel_size", "stride", "dilation", "output_padding",
    "_reversed_padding_repeated_twice", "num_features", "normalized_shape", "num_groups",
    "num_channels", "num_embeddings", "embedding_dim", "padding_idx", "num_parameters",
    "embed_dim", "kdim", "vdim", "head_dim",
}  # fmt: skip
"""What `correct_known` sees to, and what never is the size of an axis."""


# -- which meaning is likeliest -----------------------------------------------------------------
def _ranked(attribute: str, meant: tuple[Candidate, ...]) -> tuple[Candidate | None, ...]:
    words = frozenset(attribute.strip("_").lower().split("_"))
    ranked = sorted(meant, key=lambda c: (_unlike(words, c), c.distance))
    return (None, *ranked) if words & _OTHER else (*ranked, None)


def _unlike(words: frozenset[str], candidate: Candidate) -> int:
    """0 where the attribute's name fits what the axis is to the network."""
    is_heads = bool(words & {"head", "heads", "nhead"}) and not words & _WIDTHS
    is_head_size = bool(words & {"head", "kv", "head_dim"}) and bool(words & _WIDTHS)
    is_fixed = candidate.axis.is_fixed
    if is_heads:
        return 0 if candidate.roles == {"heads"} and not is_fixed else 2
    if is_head_size and "all" not in words:
        return 0 if candidate.roles == {"head_size"} and not is_fixed else 2
    if words & {"group", "groups"}:
        return 0 if "groups" in candidate.roles and not is_fixed else 1
    is_inner = bool(words & {"inner", "all", "qkv", "split"})
    return int(is_fixed) + 2 * int(bool(candidate.roles) is not is_inner)
