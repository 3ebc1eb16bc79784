"""``supple export RUN``: write the picked network to a file that is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from supple.cli import _pipeline
from supple.cli._bounds import parse_bounds
from supple.cli._exit import Exit
from supple.cli._options import AsJson, bounds
from supple.errors import ExportError

__all__ = ["export"]

Format = Literal["onnx", "pt2", "safetensors"]


def export(
    run: Path,
    /,
    *,
    pick: Annotated[list[str] | None, Parameter(validator=bounds, negative=())] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    format: Format | None = None,
    json: AsJson = False,
) -> int:
    """Export a network of a run; the file is loaded again and compared before it counts.

    Parameters
    ----------
    run
        The folder of the run, such as runs/digits.
    pick
        Bounds as name=value, such as latency=0.5. Default: the pick of the run itself.
    output
        The file to write; its ending says the format. Default: small.onnx in the run's folder.
    format
        The format, where the ending of the file does not say it.
    json
        Print one JSON object with the file and what the comparison found.
    """
    path = _output(run, output, format)
    exported = _pipeline.export(run, parse_bounds(pick or []), path)
    if json:
        from supple.cli._summary import print_json

        print_json({**exported.facts, "path": str(exported.path)})
    else:
        print(exported.text)
    return Exit.OK


def _output(run: Path, output: Path | None, format: Format | None) -> Path:
    if output is None:
        return run / f"small.{format or 'onnx'}"
    ending = output.suffix.removeprefix(".")
    if format is None or format == ending:
        return output
    if ending in ("onnx", "pt2", "safetensors"):
        raise ExportError(
            f"--format {format} was asked for, but the file is '{output.name}'.",
            why="The ending of the file says another format.",
            hint=f"leave out --format, or name the file {output.stem}.{format}.",
        )
    return output.with_name(f"{output.name}.{format}")
