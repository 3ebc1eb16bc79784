"""No pickle is ever read from a file, neither by its name nor through another library."""

import ast

import pytest

from tests.laws._sources import PACKAGE, files, shown, tree

# A driver and the workers it started talk through pipes of their own; no file is read.
PIPES = {"study/executors/_wire.py", "study/executors/_worker.py"}
PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def is_constant(call, name, value):
    return any(
        k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is value
        for k in call.keywords
    )


def ways_in(source):
    """Where pickle could be read."""
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            if any(alias.name.split(".")[0] in PICKLERS for alias in node.names):
                yield node, "imports a pickler"
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if (node.module or "").split(".")[0] in PICKLERS:
                yield node, "imports a pickler"
            elif (node.module in ("torch", "numpy") and "load" in names) or "read_pickle" in names:
                yield node, "imports a load function under a bare name"
        elif isinstance(node, ast.Call):
            called = dotted(node.func)
            if called == "torch.load" and not is_constant(node, "weights_only", True):
                yield node, "calls torch.load without weights_only=True"
            allows = any(k.arg == "allow_pickle" for k in node.keywords)
            if allows and not is_constant(node, "allow_pickle", False):
                yield node, "allows pickle"
            if called.endswith("read_pickle"):
                yield node, "reads a pickle"


def test_the_sources_read_no_pickle():
    found = [
        f"{shown(path, node)} {what}"
        for path in files()
        if path.relative_to(PACKAGE).as_posix() not in PIPES
        for node, what in ways_in(tree(path))
    ]
    assert not found, "\n".join(found)


def test_the_pipes_between_driver_and_workers_open_no_file():
    for name in PIPES:
        called = [dotted(n.func) for n in ast.walk(tree(PACKAGE / name)) if isinstance(n, ast.Call)]
        assert not [c for c in called if c.split(".")[-1] in ("open", "read_bytes")]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import dill as d",
        "from torch import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=flag)",
        "pd.read_pickle(path)",
    ],
)
def test_every_way_in_is_seen(code):
    assert list(ways_in(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    ["torch.load(path, weights_only=True)", "np.load(path)", "np.load(path, allow_pickle=False)"],
)
def test_safe_loads_are_let_through(code):
    assert not list(ways_in(ast.parse(code)))
