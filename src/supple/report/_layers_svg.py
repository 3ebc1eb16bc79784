"""The layers of a network as a drawing: one row each, widths as bars, skippable blocks as arcs.

Colours come from the page's CSS classes, as in the other drawings.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["layers_svg"]

_ROW, _TOP, _BOTTOM = 24, 26, 10
_ARC, _LEFT, _RIGHT = 46, 210, 230
_WIDTH = 980
_LEAST_BAR = 3.0
_NAME_LENGTH = 29
_CHOICE_LENGTH = 33

Layer = Mapping[str, Any]


def layers_svg(layers: Sequence[Layer], alt: str) -> str:
    """The drawing.

    Args:
        layers: The ``layers`` of ``net.report().to_data()``.
        alt: What it shows, for those who cannot see it.
    """
    height = _TOP + _ROW * len(layers) + _BOTTOM
    widest = max((layer["width"] for layer in layers), default=1)
    parts = [
        _head(_ARC, "layer"),
        _head(_ARC + _LEFT, "width"),
        _head(_WIDTH - _RIGHT + 12, "varies with"),
    ]
    parts += [_arc(first, last, name) for name, first, last in _blocks(layers)]
    for place, layer in enumerate(layers):
        parts += _row(layer, _middle(place), widest)
    box = f'viewBox="0 0 {_WIDTH} {height}"'
    return "\n".join([f'<svg {box} role="img" aria-label="{html.escape(alt)}">', *parts, "</svg>"])


def _middle(place: int) -> float:
    return _TOP + _ROW * (place + 0.5)


def _head(x: float, text: str) -> str:
    return f'<text class="head" x="{x}" y="{_TOP - 10}">{text}</text>'


def _row(layer: Layer, y: float, widest: int) -> list[str]:
    start = _ARC + _LEFT
    room = _WIDTH - start - _RIGHT - 90
    full = max(_LEAST_BAR, room * layer["width"] / widest)
    least = max(_LEAST_BAR, room * layer["least"] / widest)
    is_elastic = layer["least"] < layer["width"]
    name = _shortened(layer["name"], _NAME_LENGTH, keep_end=True)
    parts = [
        "<g>",
        f"<title>{html.escape(_told(layer))}</title>",
        _text(_ARC, y, name, "layer-name"),
        _bar(start, y, full, "may-go" if is_elastic else "fixed-bar"),
    ]
    if is_elastic:
        parts.append(_bar(start, y, least, "stays"))
        sizes = f"{layer['least']}–{layer['width']}"
    else:
        sizes = str(layer["width"])
    parts.append(_text(start + full + 8, y, sizes, "size"))
    said = _joined(layer["choices"]) if is_elastic else _why(layer)
    kind = "choice" if is_elastic else "why"
    shown = _shortened(said, _CHOICE_LENGTH, keep_end=is_elastic)
    return [*parts, _text(_WIDTH - _RIGHT + 12, y, shown, kind), "</g>"]


def _told(layer: Layer) -> str:
    """What pointing at a row shows."""
    lines = [f"{layer['name']}: {layer['operator']}, {layer['params']:,} parameters"]
    if layer["macs"]:
        lines[0] += f", {layer['macs']:,} MACs"
    if layer["choices"]:
        lines.append(f"width {layer['least']} to {layer['width']}: {', '.join(layer['choices'])}")
    elif layer["reason"]:
        lines.append(f"width {layer['width']}, fixed by {layer['reason']}")
    if layer["block"]:
        lines.append(f"part of {layer['block']}, which may be skipped")
    return "\n".join(lines)


def _joined(choices: Sequence[str]) -> str:
    """``attn.qkv.heads, head_size``: several choices of one module name it once."""
    pairs = [choice.rpartition(".") for choice in choices]
    is_one = len({module for module, _, _ in pairs}) == 1
    return ", ".join([choices[0], *(p[2] if is_one else "".join(p) for p in pairs[1:])])


def _why(layer: Layer) -> str:
    operator, _, _ = str(layer["reason"]).partition(":")
    return f"fixed: {operator}" if operator else "fixed"


def _blocks(layers: Sequence[Layer]) -> list[tuple[str, int, int]]:
    """Every skippable block with its first and last row."""
    found: dict[str, list[int]] = {}
    for place, layer in enumerate(layers):
        if layer["block"]:
            found.setdefault(layer["block"], []).append(place)
    return [(name, min(places), max(places)) for name, places in found.items()]


def _arc(first: int, last: int, name: str) -> str:
    """A line around the rows of a block: the way past it."""
    top, bottom = _middle(first) - _ROW * 0.36, _middle(last) + _ROW * 0.36
    path = f"M{_ARC - 8} {top:.1f}H22Q12 {top:.1f} 12 {top + 10:.1f}"
    path += f"V{bottom - 10:.1f}Q12 {bottom:.1f} 22 {bottom:.1f}H{_ARC - 8}"
    arrow = f"M{_ARC - 14} {bottom - 4:.1f}l6 4l-6 4"
    title = f"<title>{html.escape(name)} may be skipped</title>"
    return f'<g class="skip">{title}<path d="{path}"/><path d="{arrow}"/></g>'


def _bar(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y - 6:.1f}" width="{width:.1f}" height="12" rx="2"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    place = f'x="{x:.1f}" y="{y + 4:.1f}"'
    return f'<text class="{kind}" {place}>{html.escape(text)}</text>'


def _shortened(text: str, most: int, *, keep_end: bool) -> str:
    if len(text) <= most:
        return text
    return "…" + text[1 - most :] if keep_end else text[: most - 1] + "…"
