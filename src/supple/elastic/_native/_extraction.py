"""What extracting gave: the network, whether it is of the user's own classes, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import nn

from supple.errors import ConfigError, near_misses

__all__ = ["Extraction", "Prefer", "checked_preference"]

Prefer = Literal["native", "graph"]
"""What an extracted network should be made of: the model's own modules, or its graph."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """A sub-network as a module of its own.

    Attributes:
        network: The module.
        kind: ``"native"``: the model's own classes, shrunk in place; ``"graph"``: a plain module
            around the captured graph. Both compute the same.
        reason: Why it is that.
        notes: What else a user should know, for instance whether a Hugging Face config can say
            what the network is.
        renamed: Where blocks that were left out closed the ranks: the module that is now at a
            path, by its path in the model that was brought.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.elastic import Elastic
        >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
        >>> net = Elastic(model, (torch.randn(2, 8),))
        >>> found = net.extraction(net.space.smallest, prefer="native")
        >>> found.kind, type(found.network).__name__, found.network[0].out_features
        ('native', 'Sequential', 8)
    """

    network: nn.Module
    kind: Prefer
    reason: str
    notes: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def original_name(self, name: str) -> str:
        """The name that a parameter of the network has in the model that was brought."""
        for now, before in self.renamed.items():
            if name.startswith(f"{now}."):
                return before + name[len(now) :]
        return name


def checked_preference(prefer: str) -> Prefer:
    """The preference, if it is one.

    Raises:
        ConfigError: It is not.
    """
    for known in get_args(Prefer):
        if prefer == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError(
        f"a sub-network cannot be extracted as {prefer!r}.",
        hint=f"{near_misses(str(prefer), get_args(Prefer))} 'native' gives the model's own "
        "classes, 'graph' the captured graph.",
    )
