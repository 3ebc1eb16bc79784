"""The rounds, with a clock that only the timed functions move: every figure is known."""

import gc
import random

import pytest

from supple.measure._timing import Plan, figure, paired_ratio, time_rounds


class Machine:
    """A clock, and functions that take a set time on a machine whose speed drifts."""

    def __init__(self, drift=lambda now: 1.0, jitter=0.0, seed=0):
        self.now, self.drift, self.jitter = 0.0, drift, jitter
        self.random = random.Random(seed)
        self.log = []

    def clock(self):
        return self.now

    def taking(self, seconds, name=""):
        def run():
            self.log.append(name)
            noise = self.random.lognormvariate(0.0, self.jitter) if self.jitter else 1.0
            self.now += seconds * self.drift(self.now) * noise

        return run


def plan(**changes):
    settings = {
        "warmup": 3, "rounds": 30, "max_seconds": 60.0, "block_seconds": 0.005, "noise_limit": 0.1,
    }  # fmt: skip
    return Plan(**(settings | changes))


def ratio_of(machine, first, second, **changes):
    runs = [machine.taking(first), machine.taking(second)]
    samples = time_rounds(runs, plan(**changes), paired_ratio, clock=machine.clock)
    return paired_ratio(samples), samples


def test_twice_the_work_is_exactly_2_on_a_quiet_machine():
    ratio, samples = ratio_of(Machine(), 0.002, 0.001)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2.0, 2.0, 2.0))
    assert len(samples) == 30


def test_drift_cancels_in_the_ratio_but_not_in_the_times():
    """The machine gets four times slower while the two are timed."""
    machine = Machine(drift=lambda now: 1.0 + 3.0 * min(now / 0.5, 1.0))
    ratio, samples = ratio_of(machine, 0.002, 0.001, max_seconds=1000.0)
    times = [first for first, _ in samples]
    assert max(times) / min(times) > 3.5
    assert ratio.value == pytest.approx(2.0, rel=0.03)
    assert ratio.high - ratio.low < 0.2


def test_a_disturbed_round_does_not_move_the_figure():
    spikes = random.Random(1)
    machine = Machine(drift=lambda now: 20.0 if spikes.random() < 0.05 else 1.0)
    ratio, _ = ratio_of(machine, 0.012, 0.006)
    assert ratio.value == pytest.approx(2.0, rel=0.01)


def test_a_network_against_itself_holds_1_about_as_often_as_promised():
    held = 0
    for seed in range(200):
        ratio, _ = ratio_of(Machine(jitter=0.1, seed=seed), 0.006, 0.006, rounds=30)
        held += ratio.low <= 1.0 <= ratio.high
    assert held >= 180


def test_rounds_go_on_while_it_is_noisy_until_the_time_is_up():
    ratio, samples = ratio_of(Machine(jitter=0.8), 0.006, 0.006, max_seconds=3.0)
    assert len(samples) > 30
    calm, fewer = ratio_of(Machine(jitter=0.05), 0.006, 0.006, max_seconds=3.0)
    assert len(fewer) == 30
    assert not calm.is_noisy(0.1)
    wild, _ = ratio_of(Machine(jitter=2.0), 0.006, 0.006, max_seconds=0.5)
    assert wild.is_noisy(0.1)
    assert ratio.high - ratio.low < wild.high - wild.low


def test_more_rounds_make_a_noisy_figure_good_enough():
    ratio, samples = ratio_of(Machine(jitter=0.4), 0.006, 0.006, max_seconds=1000.0)
    assert len(samples) > 30
    assert not ratio.is_noisy(0.1)


def test_time_is_up_after_six_rounds_at_the_earliest():
    _, samples = ratio_of(Machine(), 100.0, 50.0, max_seconds=1.0)
    assert len(samples) == 6


def test_a_block_is_long_enough_for_the_clock():
    machine = Machine()
    runs = [machine.taking(0.0001, "short"), machine.taking(0.02, "long")]
    time_rounds(runs, plan(rounds=6), paired_ratio, clock=machine.clock)
    # Warm-up 3; then 6 blocks: 50 timed calls and an untimed one, or a single call.
    assert machine.log.count("short") == 3 + 6 * 51
    assert machine.log.count("long") == 3 + 6


def test_a_function_faster_than_the_clock_is_called_a_thousand_times():
    calls = []
    ticks = iter(range(10**9))
    still = Plan(warmup=1, rounds=6, max_seconds=1e9, block_seconds=0.005, noise_limit=10.0)

    def clock():
        # Moves only between the blocks' ends: the warm-up call sees no tick.
        return float(next(ticks)) if len(calls) > 1 else 0.0

    time_rounds([lambda: calls.append(1)], still, lambda rows: figure([r[0] for r in rows]),
                clock=clock)  # fmt: skip
    assert len(calls) == 1 + 6 * 1001


def test_the_order_within_rounds_is_random_but_repeatable():
    def order(seed):
        machine = Machine()
        runs = [machine.taking(0.01, "a"), machine.taking(0.01, "b")]
        time_rounds(runs, plan(), paired_ratio, seed=seed, clock=machine.clock)
        rounds = machine.log[6:]
        return ["".join(rounds[i : i + 2]) for i in range(0, len(rounds), 2)]

    assert set(order(0)) == {"ab", "ba"}
    assert order(0) == order(0) != order(1)
    assert 5 <= order(0).count("ab") <= 25


def test_the_collector_and_the_global_generator_are_left_alone():
    random.seed(3)
    state = random.getstate()
    assert gc.isenabled()
    machine = Machine()
    seen = []
    runs = [lambda: seen.append(gc.isenabled()), machine.taking(0.01)]
    runs[0] = _moving(machine, runs[0])
    time_rounds(runs, plan(), paired_ratio, clock=machine.clock)
    assert random.getstate() == state
    assert gc.isenabled()
    assert not any(seen[3:])


def _moving(machine, run):
    step = machine.taking(0.01)

    def both():
        run()
        step()

    return both
