"""The rows of the report's tables, as text ready to print."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from supple.report._numbers import (
    filesize,
    interval,
    milliseconds,
    plain,
    points,
    quantity,
    ratio,
)
from supple.report._result import Cut, Layer, NetworkResult, Option, PickResult, Result
from supple.report._structure import kept_share
from supple.report._wording import metric_pair, metric_text

__all__ = [
    "Comparison",
    "CutRow",
    "LayerRow",
    "compare",
    "cut_rows",
    "layer_rows",
]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One quantity of the baseline and of the pick, and how they relate.

    ``change`` is a ratio, or a difference for a fraction; ``key`` names the row for a test or a
    style.
    """

    key: str
    label: str
    baseline: str
    pick: str
    change: str
    baseline_interval: str = ""
    pick_interval: str = ""
    change_interval: str = ""


@dataclass(frozen=True, kw_only=True)
class CutRow:
    """One choice of the pick; ``share`` is the fraction kept, ``None`` where it is a name."""

    name: str
    kind: str
    kept: str
    of: str
    share: float | None
    dropped: tuple[str, ...]

    @property
    def is_cut(self) -> bool:
        """Whether anything was taken away here."""
        return self.kept != self.of


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer before and after; ``after`` is empty where the layer was dropped."""

    name: str
    before: str
    after: str
    params_before: str
    params_after: str
    share: float


def compare(result: Result) -> tuple[Comparison, ...]:
    """Baseline against pick, one row for each quantity; empty where nothing was picked."""
    baseline, pick = result.baseline, result.pick
    if baseline is None or pick is None:
        return ()
    rows = [_test_metric(result, baseline, pick), _latency(baseline, pick)]
    rows.append(_counted("macs", "multiply-adds", baseline.macs, pick.macs))
    rows.append(_counted("params", "parameters", baseline.params, pick.params))
    rows.append(_sized("file_bytes", "file size", baseline.file_bytes, pick.file_bytes))
    before, after = baseline.peak_memory_bytes, pick.peak_memory_bytes
    if before is not None and after is not None:
        rows.append(_sized("peak_memory_bytes", "peak memory", before, after))
    return tuple(rows)


def _test_metric(result: Result, baseline: NetworkResult, pick: PickResult) -> Comparison:
    after, before = metric_pair(result, pick.test_accuracy, baseline.test_accuracy)
    difference = pick.test_accuracy - baseline.test_accuracy
    is_fraction = result.task.metric.is_fraction
    # As many decimals as the two values are shown with.
    digits = len(after.partition(" ")[0].partition(".")[2]) if is_fraction else 1

    def show(value: float) -> str:
        return metric_text(result, value)

    return Comparison(
        key="test_accuracy",
        label=f"test {result.task.metric.name}",
        baseline=before,
        pick=after,
        change=points(difference, digits) if is_fraction else _signed(difference),
        baseline_interval=interval(*baseline.test_accuracy_interval, show, beside=before),
        pick_interval=interval(*pick.test_accuracy_interval, show, beside=after),
    )


def _signed(difference: float) -> str:
    text = plain(difference)
    return text if text.startswith("−") else f"+{text}"


def _latency(baseline: NetworkResult, pick: PickResult) -> Comparison:
    show = partial(milliseconds, like=baseline.latency_ms)
    before, after = show(baseline.latency_ms), show(pick.latency_ms)
    return Comparison(
        key="latency_ms",
        label="latency",
        baseline=before,
        pick=after,
        change=ratio(pick.latency_ratio),
        baseline_interval=interval(*baseline.latency_ms_interval, show, beside=before),
        pick_interval=interval(*pick.latency_ms_interval, show, beside=after),
        change_interval=interval(*pick.latency_ratio_interval, ratio),
    )


def _counted(key: str, label: str, before: int, after: int) -> Comparison:
    return Comparison(
        key=key,
        label=label,
        baseline=quantity(before),
        pick=quantity(after),
        change=_quotient(after, before),
    )


def _sized(key: str, label: str, before: int, after: int) -> Comparison:
    return Comparison(
        key=key,
        label=label,
        baseline=filesize(before),
        pick=filesize(after),
        change=_quotient(after, before),
    )


def _quotient(after: int, before: int) -> str:
    return ratio(after / before) if before else "–"


def cut_rows(cuts: tuple[Cut, ...]) -> tuple[CutRow, ...]:
    """What every choice of the pick keeps, in the order of the network."""
    return tuple(
        CutRow(
            name=cut.name,
            kind=cut.kind,
            kept=_option(cut.kept),
            of=_option(cut.of),
            share=kept_share(cut.kept, cut.of),
            dropped=cut.dropped,
        )
        for cut in cuts
    )


def _option(option: Option) -> str:
    return option if isinstance(option, str) else f"{option:g}"


def layer_rows(layers: tuple[Layer, ...]) -> tuple[LayerRow, ...]:
    """Every layer before and after."""
    return tuple(
        LayerRow(
            name=layer.name,
            before=_shape(layer.before),
            after="" if layer.after is None else _shape(layer.after),
            params_before=quantity(layer.params_before),
            params_after=quantity(layer.params_after),
            share=layer.params_after / layer.params_before if layer.params_before else 0.0,
        )
        for layer in layers
    )


def _shape(sizes: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in sizes) if sizes else "one number"
