"""Tasks in a user's file: what is read, what is missing, and where it failed."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from supple.errors import TaskError
from supple.measure.accuracy import Accuracy
from supple.tasks import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_task.py"

WHOLE = """
    '''A tiny task.'''
    import torch
    from torch import nn

    def model(width=4): return nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2))
    def example(): return torch.zeros(1, 3)
    def train():
        for _ in range(3):
            yield torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)
    def valid(): return [(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))]
    loss = nn.functional.cross_entropy
    def metric(outputs, targets): return outputs.argmax(1) == targets
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def test_the_documented_example_is_a_task_that_learns() -> None:
    assert len([line for line in EXAMPLE.read_text().splitlines() if line.strip()]) <= 35
    task = load(str(EXAMPLE), width="16")
    assert (task.name, task.options) == ("my_task", {"width": 16})
    assert task.source == EXAMPLE
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = task.model()
    assert task.test is not None
    measured = Accuracy(loader=task.test(), metric=task.metric).measure(network)
    assert measured.count == 497
    assert measured.value > 0.85


def test_a_generator_function_can_be_read_again_and_again(write: Any) -> None:
    task = load(write(WHOLE))
    train = task.train()
    assert [len(list(train)), len(list(train))] == [3, 3]
    assert task.description == "A tiny task."
    assert task.test is None


def test_values_stand_for_functions(write: Any) -> None:
    task = load(
        write("""
            import torch
            from torch import nn
            model = nn.Linear(3, 2)
            example = (torch.zeros(1, 3),)
            train = valid = [(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))]
            loss = nn.CrossEntropyLoss()
            def metric(outputs, targets): return outputs.argmax(1) == targets
        """)
    )
    one, two = task.model(), task.model()
    assert one is not two
    assert torch.equal(one.weight, two.weight)
    assert task.example()[0].shape == (1, 3)
    assert len(list(task.train())) == 1
    inputs, targets = next(iter(task.train()))
    assert task.loss(one(inputs), targets).ndim == 0


def test_options_are_the_arguments_of_model(write: Any) -> None:
    path = write(WHOLE)
    assert load(path, width="7").model()[0].out_features == 7
    with pytest.raises(TaskError, match="no option 'widht'") as caught:
        load(path, widht=7)
    assert "'width'" in caught.value.hint
    with pytest.raises(TaskError, match="width='wide'"):
        load(path, width="wide")


@pytest.mark.parametrize("kind", ["class", "function", "instance", "task"])
def test_one_of_several_objects_of_a_file_can_be_named(kind: str, write: Any) -> None:
    text = """
        import torch
        from torch import nn
        from supple.tasks import Task

        class Tiny:
            '''From a class.'''
            outputs = 2
            def model(self): return nn.Linear(3, self.outputs)
            def example(self): return torch.zeros(1, 3)
            def train(self): return [(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))]
            valid = train
            loss = staticmethod(nn.functional.cross_entropy)
            def metric(self, outputs, targets): return outputs.argmax(1) == targets

        instance = Tiny()

        def function(outputs: int = 2):
            tiny = Tiny()
            tiny.outputs = outputs
            return tiny

        task = Task(name="ready", description="", model=instance.model, example=instance.example,
                    train=instance.train, valid=instance.valid, loss=instance.loss,
                    metric=instance.metric)
    """
    name = {"class": "Tiny"}.get(kind, kind)
    path = write(text)
    task = load(f"{path}:{name}")
    assert task.model().out_features == 2
    assert len(list(task.train())) == 1
    assert task.metric(torch.eye(2), torch.tensor([0, 0])).tolist() == [True, False]
    if kind == "function":
        assert load(f"{path}:{name}", outputs="5").model().out_features == 5
    if kind == "task":
        assert load(path).name == "ready"
        with pytest.raises(TaskError, match="no option"):
            load(path, width=3)


def test_an_unknown_object_or_file_names_the_near_miss(write: Any) -> None:
    path = write("small = 1\n")
    with pytest.raises(TaskError, match="no object 'smal'") as caught:
        load(f"{path}:smal")
    assert "'small'" in caught.value.hint
    with pytest.raises(TaskError, match="no task file") as caught:
        load(path.replace("mine.py", "mien.py"))
    assert "'mine.py'" in caught.value.hint


@pytest.mark.parametrize("part", ["model", "example", "train", "valid", "loss", "metric"])
def test_a_missing_part_is_named_with_the_shape_of_a_whole_file(part: str, write: Any) -> None:
    lines = textwrap.dedent(WHOLE).splitlines()
    start = next(i for i, s in enumerate(lines) if s.startswith((f"def {part}(", f"{part} =")))
    end = next((i for i in range(start + 1, len(lines)) if lines[i][:1] not in (" ", "")), None)
    path = write("\n".join([*lines[:start], *(lines[end:] if end else [])]))
    with pytest.raises(TaskError, match=f"has no '{part}'") as caught:
        load(path)
    assert caught.value.data["part"] == part
    assert all(f"{name}" in caught.value.hint for name in ("def model", "def train", "loss ="))


def test_a_part_under_another_name_is_guessed(write: Any) -> None:
    path = write(textwrap.dedent(WHOLE).replace("def valid", "def validation"))
    with pytest.raises(TaskError, match="did you mean 'validation' instead"):
        load(path)


def test_a_part_that_is_no_function_is_refused(write: Any) -> None:
    path = write(textwrap.dedent(WHOLE).replace("loss = nn.functional.cross_entropy", "loss = 3"))
    with pytest.raises(TaskError, match="'loss' of 'mine.py' is a int, not a function"):
        load(path)


def test_a_model_that_is_no_module_is_refused(write: Any) -> None:
    path = write(WHOLE + "\n    def model(): return 'resnet'\n")
    with pytest.raises(TaskError, match=r"model\(\) of 'mine.py' gave a str"):
        load(path).model()


def test_a_file_that_fails_is_shown_from_its_line(write: Any) -> None:
    path = write("import torch\nx = 1\ny = torch.zeros(2) @ torch.zeros(3)\n")
    with pytest.raises(TaskError, match=r"'mine.py' failed at line 3: RuntimeError") as caught:
        load(path)
    assert "y = torch.zeros(2) @ torch.zeros(3)" in caught.value.why
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_syntax_error_is_shown_from_its_line(write: Any) -> None:
    with pytest.raises(TaskError, match="failed at line 2: SyntaxError"):
        load(write("x = 1\ndef model(:\n"))


@pytest.mark.parametrize("part", ["model", "example", "train", "valid", "loss", "metric"])
def test_a_part_that_fails_is_shown_from_its_line(part: str, write: Any) -> None:
    failing = f"def {part}(*_):\n    number = 0\n    return 1 / number\n"
    task = load(write(textwrap.dedent(WHOLE) + failing))
    line = len(textwrap.dedent(WHOLE).splitlines()) + 3
    arguments = (None, None) if part in ("loss", "metric") else ()
    with pytest.raises(TaskError) as caught:
        getattr(task, part)(*arguments)
    assert f"{part}() of 'mine.py' failed at line {line}: ZeroDivisionError" in str(caught.value)
    assert caught.value.data["line"] == line


def test_a_generator_that_fails_in_its_middle_is_shown_from_its_line(write: Any) -> None:
    failing = "def train():\n    yield 1\n    raise ValueError('no more')\n"
    task = load(write(textwrap.dedent(WHOLE) + failing))
    batches = iter(task.train())
    assert next(batches) == 1
    with pytest.raises(TaskError, match=r"train\(\) of 'mine.py' failed at line .*no more"):
        next(batches)


def test_a_file_may_import_what_lies_beside_it_also_later(write: Any) -> None:
    write("VALUE = 3\n", "beside_mine.py")
    write("VALUE = 5\n", "beside_later.py")
    before = list(sys.path)
    text = textwrap.dedent(WHOLE).replace(
        "def model(width=4): return",
        "from beside_mine import VALUE\ndef model(width=VALUE):\n"
        "    from beside_later import VALUE as width\n    return",
    )
    task = load(write(text))
    assert task.options == {}
    assert task.model()[0].out_features == 5
    assert sys.path == before


def test_two_files_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    tasks = []
    for width in (3, 6):
        folder = tmp_path / str(width)
        folder.mkdir()
        text = textwrap.dedent(WHOLE).replace("width=4", f"width={width}")
        (folder / "mine.py").write_text(text)
        tasks.append(load(str(folder / "mine.py")))
    assert [task.model()[0].out_features for task in tasks] == [3, 6]
    assert isinstance(tasks[0].model(), nn.Module)
