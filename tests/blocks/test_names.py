"""The room lists its own files: every name is reached from it, and nothing is loaded before."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import supple.blocks


def test_every_public_name_of_every_file_is_reached():
    for module in pkgutil.iter_modules(supple.blocks.__path__):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"supple.blocks.{module.name}")
            assert set(loaded.__all__) <= set(supple.blocks.__all__), module.name
            for name in loaded.__all__:
                assert getattr(supple.blocks, name) is getattr(loaded, name)
            assert getattr(supple.blocks, module.name) is loaded


def test_importing_the_room_loads_no_torch():
    program = "import sys, supple.blocks; dir(supple.blocks); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_gets_near_misses():
    with pytest.raises(AttributeError, match="did you mean 'KANLinear'"):
        supple.blocks.KANLiner  # noqa: B018
    assert not hasattr(supple.blocks, "_private")
