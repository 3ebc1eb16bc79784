"""One forward pass watched operator by operator, for the measures that count."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from supple.elastic._call import Network, call, evaluating
from supple.elastic._formats._recording import plain_attention
from supple.errors import ExampleError, SuppleError

__all__ = ["run_under"]


def run_under(mode: TorchDispatchMode, network: Network, example: Any) -> None:
    """Runs ``network`` on ``example`` in eval mode with ``mode`` seeing every operator."""
    with evaluating(network), plain_attention(), mode:
        try:
            call(network, example)
        except SuppleError:
            raise
        except Exception as error:
            raise ExampleError(
                f"The network does not run on the example: {error}",
                hint="pass the inputs as a tuple of arguments or a dict of keyword arguments",
            ) from error
