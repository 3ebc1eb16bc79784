"""Ready-made jobs: a model, its data, a loss and a metric, under one name.

``load("digits")`` and ``load("cifar10", model="resnet56")`` are built in; ``load("my_task.py")``
reads a task of your own. Every public file of this folder is one built-in task, named as the file.
"""

from supple.tasks._load import available, load
from supple.tasks._task import Task, TaskCard

__all__ = ["Task", "TaskCard", "available", "load"]
