"""The command line in this process, with a main job that only answers."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from supple.cli import main
from supple.progress import Event
from supple.report import Result, write_report
from tests.report.example_run import example_data


@pytest.fixture
def run(tmp_path):
    """The folder of a finished run."""
    folder = tmp_path / "runs" / "digits"
    result = Result.of(example_data())
    result.save(folder)
    write_report(result, folder / "report.html")
    return folder


@dataclass
class Called:
    """What a command gave back: exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def supple(capsys, monkeypatch):
    """Call the command line with words."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words):
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Called(code, printed.out, printed.err)

    return call


@dataclass(frozen=True, kw_only=True)
class Report:
    """An export report as the elastic room makes it, as far as it matters here."""

    path: Path
    format: str
    files: tuple[Path, ...]
    file_bytes: int

    def __str__(self):
        return f"{self.path} ({self.file_bytes} bytes) equals the network."


class Job(ModuleType):
    """Stands in for ``supple.pipeline``: keeps what it was asked, answers with ``result``."""

    def __init__(self):
        super().__init__("supple.pipeline")
        self.result = Result.of(example_data())
        self.error = None
        self.asked = {}

    def run_task(self, task_name, **asked):
        self.asked = {"task": task_name, **asked}
        asked["progress"](Event("prepare", 0, None, "reading digits"))
        for done in range(1, 61):
            asked["progress"](Event("search", done, 60, values={"accuracy": 0.5}))
        if self.error is not None:
            raise self.error
        self.result.save(asked["out"])
        return self.result

    def export_run(self, run, pick, path):
        self.asked = {"run": run, "pick": pick, "path": path}
        form = path.suffix.removeprefix(".")
        return Report(path=path, format=form, files=(path,), file_bytes=12)


@pytest.fixture
def job(monkeypatch):
    """The stand-in of the main job, in place."""
    stand_in = Job()
    monkeypatch.setitem(sys.modules, "supple.pipeline", stand_in)
    return stand_in
