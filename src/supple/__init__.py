"""supple: make any PyTorch model elastic, search its sub-networks, export the one you pick.

    net = supple.Elastic(model, (x,))     one set of weights, many networks
    study = supple.optimize(model, ...)   the front of accuracy and latency on this machine

Names load on first use: ``import supple`` imports neither torch nor any other library, so the
command line answers at once. Each room is a module: ``supple.space``, ``supple.measure``, ...
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supple.elastic import Elastic
    from supple.pipeline import optimize
    from supple.space import Config, Space

    __version__: str

__all__ = ["Config", "Elastic", "Space", "__version__", "optimize"]

# Where the names of the public face live.
_HOMES = {
    "Config": "supple.space",
    "Elastic": "supple.elastic",
    "Space": "supple.space",
    "optimize": "supple.pipeline",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f"{__name__}.{name}")
    else:
        raise _unknown(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    rooms = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted({*__all__, *(room for room in rooms if not room.startswith("_"))})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("supple")
    except metadata.PackageNotFoundError:
        return "0+unknown"  # run from a source tree that is not installed


def _unknown(name: str) -> AttributeError:
    from supple.errors import near_misses

    hint = "" if name.startswith("_") else f"; {near_misses(name, __dir__())}"
    return AttributeError(f"module 'supple' has no attribute {name!r}{hint}", name=name, obj=None)
