"""What implements a paper is found in the sources, and is really there."""

import ast
import importlib
import textwrap

import pytest

from supple.papers import catalogue, implementations, implements
from supple.papers._implementations import _all
from tests.laws._sources import files, shown, tree


def test_a_mark_changes_nothing_but_the_attribute():
    @implements(1, 2)
    def function():
        return 3

    assert function() == 3
    assert function.__papers__ == (1, 2)


@pytest.mark.parametrize("found", implementations(), ids=lambda found: found.path)
def test_every_implementation_can_be_imported_from_where_it_is_listed(found):
    module, _, name = found.path.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    assert vars(thing)["__papers__"] == found.papers
    assert found.summary


def test_every_cited_paper_is_in_the_catalogue():
    known = {one.id for one in catalogue()}
    assert {paper for found in implementations() for paper in found.papers} <= known


def test_no_citation_is_overlooked():
    """A mark that is not on a class or function at the top of a module would not be found."""
    marks = [
        f"{shown(path, node)}"
        for path in files()
        if "implements(" in path.read_text("utf-8")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "implements"
    ]
    assert len(marks) == len(implementations())


def test_those_known_are_found():
    assert "supple.search.LINAS" in [found.path for found in implementations(76)]
    assert [found.path for found in implementations(82)] == [
        "supple.elastic.training.SuperPlusRandom"
    ]
    assert implementations(129) == ()


@pytest.fixture
def package(tmp_path):
    """Writes a package and gives what it implements, by path."""

    def write(**sources):
        root = tmp_path / "pack"
        for name, text in {"__init__": "", **sources}.items():
            path = root.joinpath(*name.split("__in__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        for folder in [p for p in root.rglob("*") if p.is_dir()]:
            (folder / "__init__.py").touch()
        return {found.path: found for found in _all(root)}

    return write


THING = '''
from supple.papers import implements


@implements(7)
class Thing:
    """A thing.

    Example:
        >>> Thing()
        ...
    """

    def method(self):
        """No example."""


class Other:
    """Not cited."""


@implements(8, 9)
def function():
    """Does it."""
'''


def test_what_is_found_has_papers_summary_and_example(package):
    found = package(room__in__thing=THING)
    assert {path: one.papers for path, one in found.items()} == {
        "pack.room.thing.Thing": (7,),
        "pack.room.thing.function": (8, 9),
    }
    assert found["pack.room.thing.Thing"].summary == "A thing."
    assert found["pack.room.thing.Thing"].example == ">>> Thing()\n..."
    assert found["pack.room.thing.function"].example == ""


def test_a_package_that_imports_it_offers_it(package):
    found = package(room__in__thing=THING, room__in____init__="from pack.room.thing import Thing")
    assert set(found) == {"pack.room.Thing", "pack.room.thing.function"}


def test_a_package_that_looks_names_up_offers_what_its_modules_list(package):
    found = package(
        room__in__thing=THING + '\n__all__ = ["Thing"]\n',
        room__in____init__="def __getattr__(name): ...",
    )
    assert set(found) == {"pack.room.Thing", "pack.room.thing.function"}
