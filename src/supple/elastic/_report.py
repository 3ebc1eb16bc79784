"""What is elastic in a model and what is not, with the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from supple.elastic._layers import LayerRow, layer_rows, macs_of
from supple.space import Choice
from supple.trace import FixedAxis, Structure

__all__ = ["ElasticRow", "LayerRow", "Report", "make_report", "most_common_reason"]


@dataclass(frozen=True)
class ElasticRow:
    """One elastic choice: its name, kind, full size, what it cuts and how many weights that is.

    ``options`` are the sizes it may have, the full one included.
    """

    name: str
    kind: str
    size: int
    members: tuple[str, ...]
    params: int
    options: tuple[int | float | str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The elastic structure of a model.

    Attributes:
        elastic: One row for each choice.
        fixed: Every dimension of a parameter that is left whole, and why.
        params: Number of parameters.
        elastic_params: Those with an elastic dimension or inside a skippable block.
        unknown: Operators without a rule.
        notes: What else a user should know, for instance that the batch size is fixed.
        macs: Multiply-accumulates per sample.
        elastic_macs: Those of calls of which some size may vary, or that may be skipped.
        layers: The layers in the order they are called.
    """

    elastic: tuple[ElasticRow, ...]
    fixed: tuple[FixedAxis, ...]
    params: int
    elastic_params: int
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    macs: int = 0
    elastic_macs: int = 0
    layers: tuple[LayerRow, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "elastic": [
                {
                    "name": r.name,
                    "kind": r.kind,
                    "size": r.size,
                    "members": list(r.members),
                    "params": r.params,
                    "options": list(r.options),
                }
                for r in self.elastic
            ],
            "fixed": [
                {
                    "name": f.name,
                    "size": f.size,
                    "reason": f.reason,
                    "operator": f.operator,
                    "where": f.where,
                }
                for f in self.fixed
            ],
            "params": self.params,
            "elastic_params": self.elastic_params,
            "unknown": list(self.unknown),
            "notes": list(self.notes),
            "macs": self.macs,
            "elastic_macs": self.elastic_macs,
            "layers": [asdict(layer) for layer in self.layers],
        }

    def __str__(self) -> str:
        share = self.elastic_params / self.params if self.params else 0.0
        work = self.elastic_macs / self.macs if self.macs else 0.0
        lines = [
            f"{len(self.elastic)} choices; {share:.1%} of {self.params:,} parameters and "
            f"{work:.1%} of {self.macs:,} MACs are elastic",
            *(f"  {r.name:<40} {r.kind:<8} 1..{r.size:<6} {_few(r.members)}" for r in self.elastic),
        ]
        if self.fixed:
            lines.append(f"{len(self.fixed)} dimensions are fixed:")
            lines += [
                f"  {f.name:<40} {f.size:<6} {f.operator}: {f.reason} {f.where}".rstrip()
                for f in self.fixed
            ]
        if self.unknown:
            lines.append("operators without a rule: " + ", ".join(sorted(set(self.unknown))))
        return "\n".join([*lines, *self.notes])


def _few(members: tuple[str, ...]) -> str:
    shown = ", ".join(members[:3])
    return shown + (f" and {len(members) - 3} more" if len(members) > 3 else "")


def make_report(
    structure: Structure,
    choices: Mapping[str, Choice],
    tensors: Mapping[str, Tensor],
    notes: tuple[str, ...],
) -> Report:
    """The report of a structure, restricted to the choices that are offered."""
    parameters = set(structure.parameters)
    sizes = {n: t.numel() for n, t in tensors.items() if n in parameters}
    covered: set[str] = set()
    rows = []

    def add(name: str, kind: str, size: int, members: list[str], touched: set[str]) -> None:
        if name not in choices:
            return
        touched = touched & parameters
        covered.update(touched)
        rows.append(
            ElasticRow(
                name,
                kind,
                size,
                tuple(members),
                sum(map(sizes.__getitem__, touched)),
                tuple(choices[name].options),
            )
        )

    for stage in (*structure.stages, *structure.parts):
        inside = {p for block in stage.blocks for p in block.parameters}
        names = [block.name for block in stage.blocks]
        add(f"{stage.name}.depth", "depth", len(names), names, inside)
    for site in structure.swaps:
        own = {name for option in site.options for name in site.parameters(option)}
        add(site.choice, "swap", len(site.options), list(site.options), own)
    for axis in structure.axes:
        members = [f"{m.tensor}[{m.dim}]" for m in axis.members]
        add(axis.name, axis.role, axis.size, members, {m.tensor for m in axis.members})
    for kernel in structure.kernels:
        add(f"{kernel.name}.kernel", "kernel", kernel.size, [kernel.weight], {kernel.weight})
    for name, choice in choices.items():
        if choice.kind == "resolution":
            add(name, choice.kind, int(choice.options[-1]), [], set())
    macs, elastic_macs = macs_of(structure, choices)
    return Report(
        elastic=tuple(rows),
        fixed=tuple(structure.fixed()),
        params=sum(sizes.values()),
        elastic_params=sum(sizes[n] for n in covered),
        unknown=tuple(structure.analysis.unknown),
        notes=notes,
        macs=macs,
        elastic_macs=elastic_macs,
        layers=layer_rows(structure, choices, sizes),
    )


def most_common_reason(structure: Structure) -> str:
    """Why most sizes of a model that is elastic nowhere are fixed."""
    reasons = [f"{f.operator}: {f.reason} ({f.where or f.name})" for f in structure.fixed()]
    return (
        f"The sizes are fixed, most often by {max(set(reasons), key=reasons.count)}."
        if reasons
        else "It has no parameters with more than one index."
    )
