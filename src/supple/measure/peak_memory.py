"""The most memory a forward pass needs at one time, counted tensor by tensor.

Counted, not sampled from the process: every storage that an operator returns is added when it
appears and dropped when the last tensor on it is gone, so the figure is exact, the same on every
run, and free of what else the process holds. Work space inside one operator is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from supple.elastic._call import Network, tensors_in
from supple.measure._collection import no_collection
from supple.measure._counting import run_under
from supple.measure.measurement import Direction, Measure, Measurement, plain_module

__all__ = ["PeakMemory"]


@dataclass(frozen=True, kw_only=True)
class PeakMemory(Measure):
    """Peak bytes of live tensors in one forward pass: parameters, buffers, inputs, activations.

    ``details`` holds ``fixed_bytes`` (parameters, buffers and inputs), ``activation_bytes`` (the
    rest of the peak) and ``operator``, during which the peak was first reached.

    Attributes:
        example: Inputs to run on; the figure is for their batch size.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: Less is better.
    """

    example: Any = field(repr=False, compare=False)
    name: str = "peak_memory_bytes"
    unit: str = "byte"
    direction: Direction = "min"

    def measure(self, network: Network) -> Measurement:
        """Runs the example once in eval mode without gradients."""
        module = plain_module(network, self.name)
        fixed = [*module.parameters(), *module.buffers(), *tensors_in(self.example)]
        ledger = _Ledger(fixed)
        # Whether a tensor in a reference cycle is gone must not depend on the collector's mood.
        with no_collection():
            run_under(ledger, network, self.example)
        return Measurement.exact(
            ledger.peak,
            self.unit,
            fixed_bytes=ledger.fixed,
            activation_bytes=ledger.peak - ledger.fixed,
            operator=ledger.operator,
        )


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The storages alive at each operator, each once however many tensors view it."""

    def __init__(self, fixed: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: dict[int, tuple[Any, int]] = {}
        for tensor in fixed:
            self._enter(tensor)
        self.fixed = self.peak = self._total()
        self.operator = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        # Only now: the arguments are still held, so what the operator read counts with its output.
        self._drop_dead()
        for leaf in pytree.tree_leaves((args, kwargs, output)):
            if isinstance(leaf, Tensor):
                self._enter(leaf)
        if self._total() > self.peak:
            self.peak, self.operator = self._total(), str(func)
        return output

    def _enter(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference: Any = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        # The size is renewed, since an operator may have resized a storage it was given.
        self._alive[reference.cdata] = (reference, storage.nbytes())

    def _drop_dead(self) -> None:
        self._alive = {k: held for k, held in self._alive.items() if not held[0].expired()}

    def _total(self) -> int:
        return sum(size for _, size in self._alive.values())
