"""What a module offers: `__all__` is true, and everything in it is documented and runs."""

import doctest
import importlib
import inspect

import pytest

from tests.laws._sources import files, module_name, shown

MODULES = [module_name(path) for path in files() if path.name != "__main__.py"]
WITH_EXAMPLES = [module_name(path) for path in files() if ">>> " in path.read_text("utf-8")]


def is_documented(thing):
    text = thing.__doc__ or ""
    # A dataclass without a docstring is given its signature as one.
    return bool(text.strip()) and not text.startswith(f"{thing.__name__}(")


@pytest.mark.parametrize("name", MODULES)
def test_all_is_there_and_documented(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    if not hasattr(module, "__all__"):
        own = [n for n, t in vars(module).items() if getattr(t, "__module__", None) == name]
        assert not [n for n in own if not n.startswith("_")], f"{name} has no __all__"
        return
    public = list(module.__all__)
    assert len(set(public)) == len(public)
    for item in public:
        thing = getattr(module, item)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert is_documented(thing), f"{name}.{item} has no docstring"


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_run(name):
    """With the names of their module at hand, as doctest has it."""
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report = []
    for test in finder.find(module):
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_no_file_is_too_long_to_read():
    lengths = {shown(path): len(path.read_text("utf-8").splitlines()) for path in files()}
    assert not {path: length for path, length in lengths.items() if length > 600}
