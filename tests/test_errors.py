"""The tree of errors: drawn as it is, readable, and able to cross processes."""

import copy
import pickle

import pytest

from supple import errors
from supple.errors import ConfigError, MissingExtraError, SpaceError, SuppleError, near_misses

CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


def test_the_docstring_draws_the_tree_as_it_is():
    parents = ["SuppleError"]
    drawn = {}
    for line in errors.__doc__.splitlines():
        if "──" in line:
            depth = (line.index("──") - 5) // 4 + 1
            name = line.split("── ")[1].split()[0]
            parents[depth:] = [name]
            drawn[name] = parents[depth - 1]
    assert drawn == {c.__name__: c.__base__.__name__ for c in CLASSES if c is not SuppleError}


def test_codes_are_stable_and_differ():
    assert {c.__name__: c.code for c in CLASSES} == {
        "BlockError": "block",
        "CheckError": "check",
        "ClaimError": "claim",
        "CompressError": "compress",
        "ConfigError": "config",
        "DataError": "data",
        "ExampleError": "example",
        "ExportError": "export",
        "MeasureError": "measure",
        "MissingExtraError": "missing-extra",
        "NoCandidateError": "no-candidate",
        "PaperError": "paper",
        "SearchError": "search",
        "SpaceError": "space",
        "StudyError": "study",
        "SuppleError": "supple",
        "TaskError": "task",
        "TraceError": "trace",
        "TrainingError": "training",
    }


def test_a_message_has_up_to_three_lines():
    assert str(SpaceError("Found this.")) == "Found this."
    full = SpaceError("Found this.", why="Because.", hint="that.", choice="a")
    assert str(full) == "Found this.\n  Because.\n  Try: that."
    assert full.data == {"choice": "a"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("through", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_errors_cross_process_borders_whole(kind, through):
    error = through(kind("Found this.", why="Because.", hint="that.", number=3))
    assert type(error) is kind
    assert str(error) == "Found this.\n  Because.\n  Try: that."
    assert error.data == {"number": 3}


def test_a_missing_extra_names_the_pip_line():
    error = MissingExtraError.of("onnx", "onnx", "exporting to ONNX")
    assert "pip install 'supple[onnx]'" in str(error)
    assert error.data == {"package": "onnx", "extra": "onnx"}


def test_near_misses():
    known = ["stem.width", "stage1.width", "stage1.depth"]
    assert near_misses("stem.widht", known).startswith("did you mean 'stem.width'")
    assert near_misses("zzz", known) == "known are 'stage1.depth', 'stage1.width', 'stem.width'"
    assert near_misses("zzz", [f"n{i}" for i in range(9)]).endswith(" …")
    assert near_misses("zzz", []) == "none are known"


def test_every_error_is_caught_as_its_parents():
    with pytest.raises(SuppleError):
        raise ConfigError("Found this.")
    with pytest.raises(SpaceError):
        raise ConfigError("Found this.")
