"""``ray``: evaluations as tasks of a Ray cluster, on one machine or many.

The evaluation is put into the cluster's store once; each task names it and one config. Ray starts
a task again whose worker or machine is lost. supple must be installed on every machine, in the
version of the driver.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from supple.errors import MissingExtraError, StudyError
from supple.space import Config
from supple.study._outcome import Evaluate
from supple.study.executors._executor import Answer, Executor, Pool, evaluated, whole_number
from supple.study.executors._wire import import_path, packed, unpacked

__all__ = ["RayExecutor"]

# So long connecting, and an answer to the greeting, may take each.
PATIENCE_SECONDS = 4.5
# How a client of HTTP/2 begins, with an empty frame of settings; a server begins with such a frame.
SETTINGS = b"\x04"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0" * 5
# How long one wait for answers lasts, so that Ctrl-C is heard.
WAIT_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class RayExecutor(Executor):
    """Evaluates as tasks of Ray, one CPU and one thread each.

    Args:
        workers: How many tasks are handed out at a time; None for one per CPU of the cluster.
        address: ``host:port`` of the head of a cluster that this machine belongs to, or
            ``ray://host:port`` from outside; None starts Ray on this machine, for this run.
        retries: How often Ray starts a task again whose worker was lost.
    """

    name: ClassVar[str] = "ray"

    workers: int | None = None
    address: str | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        if self.workers is not None:
            whole_number("workers", self.workers, 1)
        whole_number("retries", self.retries, 0)

    def count(self) -> int:
        """The tasks that may run at a time; connects to ask where no number was given."""
        if self.workers is not None:
            return self.workers
        _require_ray()
        import ray

        with _connected(self.address, None):
            resources: Any = ray.cluster_resources  # no types
            return max(1, int(resources().get("CPU", 1)))

    def check(self) -> None:
        """Raise a StudyError, within ten seconds, if there is no Ray at the address."""
        _require_ray()
        if self.address is not None:
            with _connected(self.address, None):
                pass

    def open(self, evaluate: Evaluate) -> Pool:
        """Connect, and hand over the evaluation.

        Raises:
            MissingExtraError: Ray is not installed.
            StudyError: The address does not answer.
        """
        _require_ray()
        return _RayPool(packed(evaluate), self)


def _require_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError.of("ray", "ray", "The executor 'ray'")


class _RayPool(Pool):
    def __init__(self, data: bytes, settings: RayExecutor) -> None:
        import ray

        self._stack = contextlib.ExitStack()
        self._stack.enter_context(_connected(settings.address, settings.workers))
        self._task = ray.remote(num_cpus=1, max_retries=settings.retries)(_evaluate)
        self._key = hashlib.sha256(data).hexdigest()
        self._data = ray.put(data)
        self._path = import_path()
        self._places: dict[Any, int] = {}

    def submit(self, place: int, config: Config) -> None:
        with _explained():
            reference = self._task.remote(self._data, self._key, self._path, place, config)
        self._places[reference] = place

    def next(self) -> Answer:
        import ray

        done: list[Any] = []
        while not done:
            with _explained():
                done, _ = ray.wait(list(self._places), num_returns=1, timeout=WAIT_SECONDS)
        place = self._places.pop(done[0])
        try:
            with _explained():
                answer: Answer = ray.get(done[0])
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as problem:
            return Answer(place=place, reason="lost", error=f"{type(problem).__name__}: {problem}")
        except ray.exceptions.RayTaskError as problem:
            # What an evaluation raises comes back as an answer: this is loading it.
            raise StudyError(
                f"a worker cannot load the evaluation:\n{problem}",
                why="It imports in the worker what it was made of in the driver.",
                hint="install the same packages on every machine of the cluster.",
            ) from problem
        return answer

    def close(self) -> None:
        import ray

        for reference in self._places:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)
        self._places.clear()
        self._stack.close()


# In the workers

_loaded: dict[str, Any] = {}


def _evaluate(data: bytes, key: str, path: list[str], place: int, config: Config) -> Answer:
    """One task; the evaluation is loaded once per worker process."""
    if key not in _loaded:
        sys.path.extend(folder for folder in path if folder not in sys.path)
        _loaded.clear()
        _loaded[key] = unpacked(data)
    return evaluated(_loaded[key], place, config)


# The connection


@contextlib.contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Inside, this process is connected to Ray; a connection that was there before stays."""
    import ray

    if ray.is_initialized():
        yield
        return
    if address is not None:
        _require_listener(address)
    settings: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    if address is None:
        settings |= {"num_cpus": workers, "include_dashboard": False}
    with _quiet_environment():
        _init(address, settings)
    try:
        yield
    finally:
        ray.shutdown()


def _init(address: str | None, settings: dict[str, Any]) -> None:
    import ray

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, **settings)
    except Exception as problem:
        raise _unreachable(address, problem) from problem


def _require_listener(address: str) -> None:
    """Raise a StudyError if nothing at the address speaks HTTP/2, as Ray's servers do.

    Asked first, because Ray itself waits very long for an address that does not answer, and a
    busy cluster may be slow in all that follows.
    """
    found = re.fullmatch(r"(?:ray://)?\[?([^\[\]/]+?)\]?:(\d+)", address)
    if found is None:
        if address == "auto":
            return
        raise StudyError(
            f"'{address}' is no address of a Ray cluster.",
            hint='use "host:6379" on a machine of the cluster, "ray://host:10001" from outside.',
        )
    host, port = found[1], int(found[2])
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.sendall(GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as problem:
        raise _unreachable(address, problem) from None
    if answer[3:4] != SETTINGS:
        raise _unreachable(address, ConnectionError("what listens there is not Ray"))


def _unreachable(address: str | None, problem: BaseException) -> StudyError:
    where = "on this machine" if address is None else f"at {address}"
    reason = (str(problem) or type(problem).__name__).strip().splitlines()[0].rstrip(".")
    if address is None:
        hint = (
            "start Ray by hand (`ray start --head`) to see what is wrong, or use the executor "
            '"process".'
        )
    elif _wants_a_token(problem):
        reason = "The cluster asks for a token, and Ray here sent none, or another one"
        hint = "give this machine the cluster's token, and set RAY_AUTH_MODE=token."
    else:
        hint = "check the address (`ray status` on the head), and repeat the command."
    return StudyError(
        f"there is no Ray to be reached {where}.",
        why=f"{reason}. Nothing was evaluated; the study is kept as it was.",
        hint=hint,
        address=address,
    )


def _wants_a_token(problem: BaseException | None) -> bool:
    """Whether Ray was turned away for want of a token, which it says in an error below.

    A head asks for one by itself where its machine has one; Ray sends none to an address that is
    named unless ``RAY_AUTH_MODE`` says so.
    """
    while problem is not None:
        if "AuthenticationError" in f"{type(problem).__name__} {problem}":
            return True
        problem = problem.__cause__ or problem.__context__
    return False


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What a cluster that is gone says, as a StudyError."""
    import ray

    try:
        yield
    except (ray.exceptions.RaySystemError, ConnectionError) as problem:
        raise StudyError(
            "the Ray cluster is gone.",
            why=str(problem).splitlines()[0] if str(problem) else type(problem).__name__,
            hint="start it again and repeat the command; all finished trials are kept.",
        ) from problem


@contextlib.contextmanager
def _quiet_environment() -> Iterator[None]:
    """Ray reads these when it starts; what the user has set stays."""
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
