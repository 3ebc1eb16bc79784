"""What every export format can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

__all__ = ["Format", "Loaded"]

Loaded = Callable[[Any], Any]
"""A network read back from its file: inputs -> outputs."""


class Format(ABC):
    """Writes a network to a file and reads it back as something that runs.

    Attributes:
        name: What reports call it.
        holds_graph: Whether the file holds the computation, recorded for one batch size or any,
            or the weights alone.
    """

    name: ClassVar[str]
    holds_graph: ClassVar[bool] = True

    def require(self) -> None:  # noqa: B027  most formats need nothing
        """Raises MissingExtraError where a package the format needs is not installed."""

    @abstractmethod
    def write(
        self,
        network: nn.Module,
        example: Any,
        path: Path,
        notes: Mapping[str, Any],
        *,
        any_batch: bool,
    ) -> None:
        """Writes ``path`` and, where the format needs them, files beside it.

        ``notes`` is JSON-able and stored with the network. With ``any_batch`` the batch stays
        open; raises whatever the recorder raises where the network does not allow that.
        """

    @abstractmethod
    def load(self, path: Path, network: nn.Module) -> Loaded:
        """Reads ``path`` again; ``network`` lends its Python where the file holds weights only."""
