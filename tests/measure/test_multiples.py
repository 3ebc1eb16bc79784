"""Which multiples pay: on machines whose speed is known, because it is made up here."""

import math

import pytest
import torch

from supple.measure import _multiples
from supple.measure._multiples import measure_multiples, recommended_multiple


@pytest.fixture
def machine(monkeypatch):
    """A machine that computes in blocks of some channels; every call moves its clock."""

    def build(block, drift=0.0):
        now = [0.0]

        def run(width):
            def call():
                padded = math.ceil(width / block) * block
                now[0] += 1e-6 * padded * width * (1 + drift * math.sin(now[0]))

            return call

        monkeypatch.setattr(_multiples, "_convolution", run)
        monkeypatch.setattr(_multiples, "_linear", run)
        return lambda: now[0]

    return build


@pytest.mark.parametrize("block", [4, 8, 16])
@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_the_block_of_a_machine_is_found(machine, block, drift):
    clock = machine(block, drift)
    ratios = measure_multiples(clock=clock, rounds=30, max_seconds=1e9)
    assert recommended_multiple(ratios) == block
    for one in ratios:
        assert one.low <= one.ratio <= one.high
        assert one.pays == (one.multiple == block or one.low > 1.01)


def test_the_ratio_is_the_cost_of_filling_up(machine):
    ratios = measure_multiples(clock=machine(8), rounds=8, max_seconds=1e9)
    (of_8,) = (one for one in ratios if (one.layer, one.multiple) == ("conv", 8))
    # The inputs of 100 and 108 channels cost what 104 and 112 do; 104 costs itself.
    neighbours = (100 * 104 + 108 * 112) / 2
    assert of_8.ratio == pytest.approx(neighbours / 104**2 / ((100**2 + 108**2) / 2 / 104**2))


def test_a_machine_without_blocks_gets_no_advice(machine):
    ratios = measure_multiples(clock=machine(1), rounds=8, max_seconds=1e9)
    assert recommended_multiple(ratios) is None
    assert all(one.ratio == pytest.approx(1.0) for one in ratios)


def test_real_layers_are_timed_and_threads_are_as_before():
    threads = torch.get_num_threads()
    ratios = measure_multiples(rounds=1, max_seconds=0.01)
    assert {(one.layer, one.multiple) for one in ratios} == {
        (layer, multiple) for layer in ("conv", "linear") for multiple in (2, 4, 8, 16)
    }
    assert all(0 < one.low <= one.ratio <= one.high for one in ratios)
    assert torch.get_num_threads() == threads
