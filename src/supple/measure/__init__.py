"""Objectives measured on real networks and real hardware.

A `Measure` maps a network to a `Measurement`: a figure with its unit and the interval it is
known to. Counts (`MACs`, `Parameters`, `PeakMemory`, `FileSize`) are exact; `Accuracy` and
`Latency` carry a 95 % interval, and `Latency.compare` gives the ratio to a baseline that is
timed alternately with the network. `SynFlow`, `GradientNorm`, `NTKCondition` and
`JacobianCovariance` need no training: hints at what a network might become.
"""

from supple.measure.accuracy import Accuracy, Metric, top1
from supple.measure.file_size import FileSize
from supple.measure.gradient_norm import GradientNorm
from supple.measure.jacobian_covariance import JacobianCovariance
from supple.measure.latency import Latency, LatencyRatio, Runner
from supple.measure.machine import machine
from supple.measure.macs import MACs
from supple.measure.measurement import Direction, Measure, Measurement
from supple.measure.ntk_condition import NTKCondition
from supple.measure.parameters import Parameters
from supple.measure.peak_memory import PeakMemory
from supple.measure.synflow import SynFlow

__all__ = [
    "Accuracy",
    "Direction",
    "FileSize",
    "GradientNorm",
    "JacobianCovariance",
    "Latency",
    "LatencyRatio",
    "MACs",
    "Measure",
    "Measurement",
    "Metric",
    "NTKCondition",
    "Parameters",
    "PeakMemory",
    "Runner",
    "SynFlow",
    "machine",
    "top1",
]
