"""Evaluations that workers import: light, so that a worker is there at once."""

import os
import signal
import time
from pathlib import Path

from supple.study.executors import Phases
from tests.search.conftest import score


def slow(config):
    """The score of a config, after some milliseconds: time enough to be killed in."""
    time.sleep(0.01)
    return score(config)


def pid(config):
    """Which process evaluates."""
    return {"accuracy": 0.5, "latency": 0.5}, {"pid": os.getpid()}


class DiesFirst:
    """Kills its own process the first ``times`` times that it is called for a config."""

    def __init__(self, folder, times):
        self.folder, self.times = Path(folder), times

    def __call__(self, config):
        mark = self.folder / f"{config.id}"
        with mark.open("a") as count:
            count.write(".")
        if mark.stat().st_size <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return score(config)


class Busy:
    """Notes down, in one file, when a worker works and when the driver measures."""

    def __init__(self, file):
        self.file = file

    def note(self, what):
        with open(self.file, "a") as log:
            log.write(f"{what} {os.getpid()}\n")

    def together(self, config):
        self.note("begin")
        time.sleep(0.02)
        self.note("end")
        return {"accuracy": score(config)["accuracy"]}, {"where": os.getpid()}

    def alone(self, config):
        self.note("alone")
        return {"latency": score(config)["latency"]}

    def phases(self):
        return Phases(together=self.together, alone=self.alone)


def slow_accuracy(config):
    """What a worker measures."""
    return {"accuracy": slow(config)["accuracy"]}


def latency_alone(config):
    """What the driver measures."""
    return {"latency": score(config)["latency"]}
