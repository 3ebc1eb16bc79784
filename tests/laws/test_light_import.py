"""`import supple` loads no other library, and the rooms without torch stay without it."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "optuna", "plotly", "sklearn", "scipy", "onnx", "onnxruntime", "pydantic")


def loaded_by(code):
    program = f"import sys\n{code}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_package_itself_loads_nothing_but_the_standard_library():
    assert not loaded_by("import supple; dir(supple)") & {*HEAVY, "numpy", "jinja2", "rich"}


@pytest.mark.parametrize("room", ["errors", "papers", "seeds", "space", "progress"])
def test_rooms_without_torch(room):
    assert not loaded_by(f"import supple.{room}").intersection(HEAVY)


def test_the_version_is_known_without_loading_anything():
    assert not loaded_by("import supple; supple.__version__").intersection(HEAVY)
