"""Executors: where a study's evaluations run.

In the driver itself (``local``), in processes of this machine (``process``), or as tasks of a Ray
cluster (``ray``). The driver alone proposes, measures latency and writes; workers only answer.
"""

from supple.study.executors._executor import Answer, Executor, Phases, Pool
from supple.study.executors._registry import executor, executor_names
from supple.study.executors.local import LocalExecutor
from supple.study.executors.process import ProcessExecutor
from supple.study.executors.ray import RayExecutor

__all__ = [
    "Answer",
    "Executor",
    "LocalExecutor",
    "Phases",
    "Pool",
    "ProcessExecutor",
    "RayExecutor",
    "executor",
    "executor_names",
]
