"""Tasks by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from supple.errors import TaskError
from supple.tasks import available, load


def test_built_in_tasks_are_listed_with_their_options() -> None:
    cards = {card.name: card for card in available()}
    assert list(cards) == ["cifar10", "digits", "text"]
    assert cards["cifar10"].options["model"] == "resnet20"
    assert cards["digits"].summary.startswith("Handwritten digits")


@pytest.mark.parametrize("name", ["digits", "cifar10", "text"])
def test_a_card_and_its_task_have_the_same_options(name: str) -> None:
    card = next(card for card in available() if card.name == name)
    task = load(name)
    assert task.options == card.options
    assert task.name == name
    assert task.source is None


def test_listing_tasks_imports_no_torch() -> None:
    code = (
        "import sys, supple.tasks; supple.tasks.available(); "
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    source = str(Path(__file__).parents[2] / "src")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": source})


def test_an_unknown_task_names_the_near_miss_or_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TaskError, match="no task 'digit'") as caught:
        load("digit")
    assert "'digits'" in caught.value.hint
    (tmp_path / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError) as caught:
        load("mine")
    assert "'mine.py'" in caught.value.hint


@pytest.mark.parametrize("name", ["digits"])
def test_the_parts_of_a_built_in_task_fit_together(name: str) -> None:
    task = load(name)
    assert task.untrained is not None
    network = task.untrained()
    outputs = network(*task.example())
    inputs, targets = next(iter(task.train()))
    assert outputs.shape[1:] == network(inputs).shape[1:]
    loss = task.loss(network(inputs), targets)
    assert loss.ndim == 0
    assert loss.requires_grad
    assert task.metric(network(inputs), targets).shape == targets.shape
    assert torch.isfinite(loss)
