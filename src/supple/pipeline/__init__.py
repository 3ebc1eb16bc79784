"""The main job: a model goes in, a smaller one that runs faster here comes out, with proof.

`optimize` is the whole of it for a model and loaders in Python; `run_task` does the same for a
task by name, as the command line does.
"""

from supple.pipeline._evaluating import int8_evaluation
from supple.pipeline._main import optimize
from supple.pipeline._run import Pick, Run
from supple.pipeline._task import export_run, run_task

__all__ = ["Pick", "Run", "export_run", "int8_evaluation", "optimize", "run_task"]
