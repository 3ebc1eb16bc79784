"""supple tasks: what is built in."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def room(monkeypatch):
    room = ModuleType("supple.tasks")
    room.available = lambda: (
        SimpleNamespace(name="cifar10", summary="Photographs.", options={"model": "resnet20"}),
        SimpleNamespace(name="digits", summary="8x8 pixels.", options={"width": 32, "seed": 0}),
    )
    monkeypatch.setitem(sys.modules, "supple.tasks", room)


def test_tasks_are_listed_with_their_options(supple):
    assert [" ".join(line.split()) for line in supple("tasks").out.splitlines()][:5] == [
        "cifar10: Photographs.",
        "--model default resnet20",
        "digits: 8x8 pixels.",
        "--option width= default 32",
        "--option seed= default 0",
    ]


def test_a_program_gets_the_same_as_json(supple):
    assert json.loads(supple("tasks", "--json").out)["tasks"][1] == {
        "name": "digits",
        "summary": "8x8 pixels.",
        "options": {"width": 32, "seed": 0},
    }
