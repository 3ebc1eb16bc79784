"""Imports only point downwards: a room knows those below it, never those above."""

import ast
import graphlib

import pytest

from tests.laws._sources import PACKAGE, files, module_name, shown, tree

# From the top to the bottom; rooms of one row may know each other, not in a circle.
ROWS = (
    ("cli", "studio"),
    ("claims", "apps", "testing"),
    ("pipeline",),
    ("tasks", "report"),
    ("search", "predict"),
    ("study", "measure"),
    ("compress", "generate", "training"),
    ("theory", "probe", "verify"),
    ("blocks", "sequences", "graphs", "operators", "ranking"),
    ("elastic",),
    ("trace",),
    ("space",),
    ("papers", "errors", "seeds", "progress"),
)
UNKNOWN = 1  # above everything, so that importing it is an error everywhere
HEIGHT = {room: -row for row, rooms in enumerate(ROWS) for room in rooms}

# What the package itself re-exports, and the room it is in.
FACE = {"Elastic": "elastic", "optimize": "pipeline", "Config": "space", "Space": "space"}


def absolute(path, node):
    """The absolute name of the module of a `from ... import`."""
    if not node.level:
        return node.module or ""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *(node.module or "").split(".")]).rstrip(".")


def imported_rooms(path):
    """The rooms a file imports, with where; also inside functions and for types only."""
    for node in ast.walk(tree(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = absolute(path, node)
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]  # what is used after a plain `import supple`
        for name in names:
            top, _, rest = name.partition(".")
            room = rest.split(".")[0]
            if top == "supple" and room not in ("", "__version__"):
                yield FACE.get(room, room), node


def rooms_of_files():
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in files()]


def test_every_room_has_its_place_in_the_order():
    unknown = {room for room, _ in rooms_of_files()} - set(HEIGHT) - {"__init__", "__main__"}
    assert not unknown, f"add to ROWS, and to the table in CONTRIBUTING.md: {sorted(unknown)}"


@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_rooms_import_downwards_only(row):
    wrong = [
        f"{shown(path, node)} imports {known}"
        for room, path in rooms_of_files()
        if room in row
        for known, node in imported_rooms(path)
        if HEIGHT.get(known, UNKNOWN) > HEIGHT[room]
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_of_one_row_do_not_import_each_other_in_a_circle():
    knows = {room: set() for room in HEIGHT}
    for room, path in rooms_of_files():
        if room in HEIGHT:
            knows[room] |= {known for known, _ in imported_rooms(path) if known != room}
    list(graphlib.TopologicalSorter(knows).static_order())  # raises CycleError, naming the circle


def test_relative_imports_are_resolved():
    node = ast.parse("from ..errors import SpaceError").body[0]
    assert absolute(PACKAGE / "space" / "space.py", node) == "supple.errors"
    assert absolute(PACKAGE / "space" / "__init__.py", node) == "supple.errors"
    node = ast.parse("from . import errors").body[0]
    assert absolute(PACKAGE / "seeds.py", node) == "supple"


def test_every_form_of_import_is_seen(tmp_path):
    path = tmp_path / "sample.py"
    lines = (
        "import supple, supple.trace.rules",
        "from supple import Elastic, __version__, report",
        "def f():",
        "    from supple.study import Study",
        "    return supple.optimize, supple.__version__",
    )
    path.write_text("\n".join(lines))
    seen = sorted(room for room, _ in imported_rooms(path))
    assert seen == ["elastic", "pipeline", "report", "study", "trace"]
