"""A worker process: evaluates what it is sent, until its driver is gone.

Run as a program by the ``process`` executor, with pipes as its input and output. Nothing is
imported that the evaluation itself does not need, so that a new worker is there at once.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
import traceback
from typing import IO, Any

__all__ = ["main"]


def main() -> None:
    """Answer tasks until the input ends."""
    tasks, answers = sys.stdin.buffer, _private_output()
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks, inbox), daemon=True).start()
    path, data = inbox.get()
    sys.path[:] = path
    try:
        evaluate = pickle.loads(data)
    except BaseException:
        _send(answers, ("refused", traceback.format_exc()))
        return
    _send(answers, ("ready", os.getpid()))
    while True:
        _send(answers, _answer(evaluate, inbox.get()))


def _private_output() -> IO[bytes]:
    """The pipe to the driver; what the evaluation prints goes to stderr instead."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb")


def _listen(tasks: IO[bytes], inbox: queue.SimpleQueue[Any]) -> None:
    """Pass on what comes; end the process at once, also in mid-evaluation, when nothing can."""
    try:
        while True:
            inbox.put(pickle.load(tasks))
    except BaseException:
        os._exit(0)


def _answer(evaluate: Any, config: Any) -> tuple[Any, ...]:
    begin = time.perf_counter()
    try:
        result = evaluate(config)
        pickle.dumps(result)  # what cannot be sent fails here, where the traceback says why
    except Exception:
        return "raised", traceback.format_exc(), time.perf_counter() - begin
    return "done", result, time.perf_counter() - begin


def _send(answers: IO[bytes], message: Any) -> None:
    answers.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    answers.flush()


if __name__ == "__main__":
    main()
