"""The package itself: a few names and the rooms, loaded on first use."""

import tomllib

import pytest

import supple
from supple import space
from tests.laws._sources import ROOT


def test_names_come_from_their_rooms():
    assert supple.Config is space.Config
    assert supple.Space is space.Space
    assert supple.Elastic is supple.elastic.Elastic
    assert supple.optimize is supple.pipeline.optimize


def test_dir_lists_face_and_rooms_and_each_can_be_had():
    listed = dir(supple)
    assert {"Config", "Elastic", "Space", "optimize", "space", "errors", "seeds"} <= set(listed)
    for name in listed:
        assert getattr(supple, name) is not None


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert supple.__version__ in (project["version"], "0+unknown")


def test_unknown_names_get_near_misses():
    with pytest.raises(AttributeError, match="did you mean 'optimize'"):
        supple.optimise  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute '_private'$"):
        supple._private  # noqa: B018
    assert not hasattr(supple, "__wrapped__")
