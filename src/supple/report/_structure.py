"""The structure of a sub-network in few words: what is kept, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from supple.report._result import Layer, Option, Result

__all__ = ["describe_config", "dropped_blocks", "full_sizes", "kept_share"]

_MOST_LINES = 8
_MOST_PER_LINE = 5


def full_sizes(result: Result) -> dict[str, Option]:
    """The full size of every choice, from the structure, the cuts, or the largest option tried."""
    sizes: dict[str, Option] = {}
    for trial in result.trials:
        for name, option in trial.config.items():
            known = sizes.get(name)
            if known is None or _is_larger(option, known):
                sizes[name] = option
    sizes |= {axis.name: axis.size for axis in result.structure.elastic if axis.name in sizes}
    sizes |= {cut.name: cut.of for cut in result.cuts if cut.name in sizes}
    return sizes


def _is_larger(option: Option, known: Option) -> bool:
    return not isinstance(option, str) and not isinstance(known, str) and option > known


def kept_share(kept: Option, of: Option) -> float | None:
    """The fraction kept, or ``None`` where the option is a name."""
    if isinstance(kept, str) or isinstance(of, str) or of == 0:
        return None
    return min(1.0, kept / of)


def describe_config(config: Mapping[str, Option], sizes: Mapping[str, Option]) -> tuple[str, ...]:
    """A config in a few lines, one for each part of the network: "layer1  8/16 · 12/16".

    Choices are grouped by the first part of their name; a choice at its full size is left out.
    """
    groups: dict[str, list[str]] = {}
    for name, option in config.items():
        if option == sizes.get(name, option):
            continue
        part, _, rest = name.partition(".")
        shown = f"{option}/{sizes[name]}" if isinstance(option, int | float) else str(option)
        groups.setdefault(part, []).append(f"{rest} {shown}".strip())
    if not groups:
        return ("nothing is cut",)
    lines = [f"{part}: {_joined(items)}" for part, items in groups.items()]
    if len(lines) > _MOST_LINES:
        left = len(lines) - _MOST_LINES + 1
        lines = [*lines[: _MOST_LINES - 1], f"… and {left} more parts"]
    return tuple(lines)


def _joined(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_MOST_PER_LINE])
    left = len(items) - _MOST_PER_LINE
    return f"{shown}, … {left} more" if left > 0 else shown


def dropped_blocks(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The blocks that went as a whole: the shortest names under which no layer is left.

    ``layer2.1.conv1`` and ``layer2.1.conv2`` dropped, ``layer2.0.conv1`` kept: ``("layer2.1",)``.
    """
    kept = {prefix for layer in layers if layer.after is not None for prefix in _prefixes(layer)}
    blocks: dict[str, None] = {}
    for layer in layers:
        if layer.after is None:
            shortest = next((p for p in _prefixes(layer) if p not in kept), layer.name)
            blocks[shortest] = None
    return tuple(blocks)


def _prefixes(layer: Layer) -> list[str]:
    parts = layer.name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
