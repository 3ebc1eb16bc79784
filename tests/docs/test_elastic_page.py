"""Every snippet of docs/elastic.md, run in order; what it prints is what the page says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "elastic.md"
SNIPPET = re.compile(r"^```(python|text|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    yield tmp_path
    sys.modules.pop("my_model", None)


@pytest.mark.slow
def test_every_snippet_runs_and_prints_what_the_page_says(folder):
    pytest.importorskip("transformers")
    import torch

    from supple.cli import main

    page = PAGE.read_text("utf-8")
    names: dict[str, object] = {}
    printed, compared = "", 0
    with torch.random.fork_rng():
        for found in SNIPPET.finditer(page):
            kind, text = found.groups()
            if kind == "text":
                assert printed == text
                compared += 1
            elif kind == "sh":
                for line in text.splitlines():
                    assert main(shlex.split(line)[1:]) == 0, line
            else:
                if text.startswith("# my_model.py"):
                    (folder / "my_model.py").write_text(text)
                above = "\n" * page.count("\n", 0, found.start(2))  # errors name the page's lines
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile(above + text, str(PAGE), "exec"), names)
                printed = out.getvalue()
    assert compared >= 7
    assert (folder / "report.html").is_file()
