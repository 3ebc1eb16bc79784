"""Where the tests of tasks find data, and a folder of their own to keep things in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def empty_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SUPPLE_DATA folder without anything in it, and a cache beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SUPPLE_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets, where there is one."""
    folder = os.environ.get("SUPPLE_DATA")
    if not folder or not (Path(folder) / "cifar10" / "cifar10.npz").is_file():
        pytest.skip("SUPPLE_DATA names no folder with cifar10/cifar10.npz")
    return Path(folder)
