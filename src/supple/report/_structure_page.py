"""The elastic structure of a model as one HTML page: figures, a drawing, every axis.

Like the report of a run, the page holds everything it shows and asks nothing of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from supple.report._alike import Alike, alike, patterns
from supple.report._files import write_whole
from supple.report._layers_svg import layers_svg
from supple.report._numbers import percent
from supple.report._wording import extracted_text

__all__ = [
    "cuts_text",
    "elastic_groups",
    "elastic_share",
    "fixed_groups",
    "offered_text",
    "render_structure",
    "write_structure",
]

_OPEN_ROWS = 24
_ALMOST = 0.999


def write_structure(structure: Mapping[str, Any], name: str, path: str | Path) -> Path:
    """Writes the page of a model's elastic structure; returns its path.

    Args:
        structure: ``net.report().to_data()``.
        name: What the model is called.
        path: The file to write.

    Raises:
        StudyError: The file cannot be written; an older one is untouched.
    """
    path = Path(path)
    write_whole(path, render_structure(structure, name))
    return path


def render_structure(structure: Mapping[str, Any], name: str) -> str:
    """The page of a model's elastic structure as HTML text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    layers = structure["layers"]
    alt = f"The {len(layers)} layers of {name} in order; the tables below say the same."
    page: str = environment.get_template("structure.html").render(
        name=name,
        structure=structure,
        params_share=elastic_share(structure, "params"),
        macs_share=elastic_share(structure, "macs"),
        drawing=layers_svg(layers, alt),
        has_blocks=any(layer["block"] for layer in layers),
        rows=[_row(group) for group in elastic_groups(structure["elastic"])],
        extracted=extracted_text(**structure["extraction"]) if "extraction" in structure else "",
        fixed=fixed_groups(structure["fixed"]),
        has_lines=any(row["where"] for row in structure["fixed"]),
        open_rows=_OPEN_ROWS,
        css=_read("page.css") + _read("structure.css"),
    )
    return page


def elastic_groups(elastic: Sequence[Mapping[str, Any]]) -> list[Alike[Mapping[str, Any]]]:
    """The choices, those that differ in the number of their layer alone told as one.

    Args:
        elastic: Rows with ``name``, ``kind``, ``size``, ``options``, ``params`` and ``members``.
    """

    def same(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["kind"], row["size"], tuple(row["options"]), row["params"], len(row["members"])

    return alike(elastic, lambda row: str(row["name"]), same)


def fixed_groups(fixed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The dimensions that may not vary, those with one reason together; the most first.

    Args:
        fixed: Rows with ``name``, ``size``, ``operator``, ``reason`` and ``where``.
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in fixed:
        groups.setdefault((row["operator"], row["reason"], row["where"]), []).append(row)
    found = [
        {
            "operator": operator,
            "reason": reason,
            "where": _short_place(where),
            "names": (names := [f"{row['name']} of {row['size']}" for row in rows]),
            "patterns": patterns(names),
        }
        for (operator, reason, where), rows in groups.items()
    ]
    return sorted(found, key=lambda group: -len(group["names"]))


def _short_place(where: str) -> str:
    """``package/file.py:12: code``: the page is mailed, so it tells nothing of home folders."""
    path, colon, rest = where.partition(".py:")
    return "/".join(Path(path).parts[-2:]) + colon + rest if colon else where


def elastic_share(structure: Mapping[str, Any], what: str) -> str:
    """The share that can vary of ``"params"`` or ``"macs"``, in words."""
    elastic, total = structure[f"elastic_{what}"], structure[what]
    if total and elastic < total and elastic / total > _ALMOST:
        return f"over {percent(_ALMOST, 1)}"  # rounded it would be all of them
    return percent(elastic / total, 1) if total else "none"


def _row(group: Alike[Mapping[str, Any]]) -> dict[str, Any]:
    row = group.items[0]
    names = [one["name"] for one in group.items]
    members = patterns(member for one in group.items for member in one["members"])
    return {
        **row,
        "name": group.name,
        "names": names if len(names) > 1 else [],
        "offered": offered_text(row["options"]),
        "cuts": cuts_text(row),
        "shown": members,
    }


def cuts_text(row: Mapping[str, Any]) -> str:
    """How much one choice cuts: ``"6 dimensions"``, ``"9 blocks"``."""
    thing = {"depth": "block", "swap": "option", "kernel": "window"}.get(row["kind"], "dimension")
    count = len(row["members"])
    return f"{count} {thing}{'' if count == 1 else 's'}"


def offered_text(options: Sequence[Any]) -> str:
    """The options of a choice in few words: ``"8, 16, …, 64"``."""
    is_range = len(options) > 4 and not isinstance(options[0], str)
    shown = [*map(str, options[:2]), "…", str(options[-1])] if is_range else map(str, options)
    return ", ".join(shown)


def _read(name: str) -> str:
    return (files("supple.report") / "templates" / name).read_text(encoding="utf-8")
