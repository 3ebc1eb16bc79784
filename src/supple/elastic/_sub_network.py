"""A sub-network on shared weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supple.elastic._plan import Plan
from supple.space import Config

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["SubNetwork"]


class SubNetwork:
    """A sub-network that shares its weights, and its mode, with the network it belongs to.

    Attributes:
        net: The elastic network.
        config: Which of its sub-networks this is.
    """

    def __init__(self, net: Elastic, config: Config, plan: Plan | None = None) -> None:
        self.net = net
        self.config = config
        self._plan = plan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the sub-network on the shared weights."""
        return self.net.run(self._plan or self.net.plan(self.config), args, kwargs)

    @property
    def training(self) -> bool:
        """The mode of the elastic network."""
        return self.net.training

    def train(self, mode: bool = True) -> SubNetwork:
        """Sets the mode of the elastic network."""
        self.net.train(mode)
        return self

    def eval(self) -> SubNetwork:
        """Sets the elastic network to evaluation mode."""
        return self.train(False)

    def __repr__(self) -> str:
        return f"SubNetwork({self.config!r})"
