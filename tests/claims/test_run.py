"""Running a claim: what is kept, what a failing seed does, and that processes change nothing."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from supple.claims import run, run_all
from supple.errors import ClaimError
from tests.claims import fakes


def test_quick_and_full_have_their_own_settings_and_seeds():
    quick, full = run(fakes.better), run(fakes.better, budget="full")
    assert quick.seeds == (0, 1, 2)
    assert full.seeds == (0, 1, 2, 3, 4)
    assert quick.values["a"]["score"] == (3.0, 3.01, 3.02)
    assert full.values["b"]["score"] == (0.0, 0.02, 0.04, 0.06, 0.08)
    assert (quick.settings, full.settings) == (3, 9)
    assert quick.verdict == "reproduced"
    assert quick.findings[0].per_seed == pytest.approx((3.0, 2.99, 2.98))


@pytest.mark.parametrize(("seeds", "measured"), [(1, (0,)), ([4, 2, 4], (4, 2))])
def test_seeds_can_be_chosen(seeds, measured):
    assert run(fakes.better, seeds=seeds).seeds == measured


@pytest.mark.parametrize("seeds", [0, [], [-1]])
def test_seeds_that_cannot_be_are_refused(seeds):
    with pytest.raises(ClaimError, match="seeds="):
        run(fakes.better, seeds=seeds)


def test_only_the_seed_matters_and_nothing_is_left_changed():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    first = run(fakes.drawn).values
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert run(fakes.drawn).values == first
    assert run(fakes.drawn, seeds=[2]).values["a"]["score"][0] == first["a"]["score"][2]
    assert len(set(first["a"]["score"])) == 3
    assert first["a"]["threads"] == (1.0,) * 3
    assert first["b"]["curve"][2] == ((1.0, 2.0), (2.0, 4.0))


def test_several_processes_give_what_one_gives():
    alone = list(run_all([fakes.drawn, fakes.better, fakes.raises_once]))
    steps = []
    together = list(
        run_all([fakes.drawn, fakes.better, fakes.raises_once], jobs=2, progress=steps.append)
    )
    assert [one.claim for one in together] == ["fakes"] * 3
    for one, other in zip(alone, together, strict=True):
        assert repr(one.values) == repr(other.values)  # repr, since NaN is not itself
        assert one.findings == other.findings
        assert one.failures == other.failures
        assert one.measured == other.measured
    assert [step.done for step in steps] == list(range(1, 10))
    assert {step.total for step in steps} == {9}


def test_a_seed_without_a_value_is_reported():
    found = run(fakes.nan_once)
    assert found.verdict == "not decided"
    assert math.isnan(found.values["a"]["score"][1])
    assert found.findings[0].effect is None


def test_a_seed_that_fails_is_reported_with_its_error_and_place():
    found = run(fakes.raises_once)
    assert found.verdict == "not decided"
    assert list(found.failures) == ["1"]
    assert found.failures["1"].startswith("ZeroDivisionError: the second seed (fakes.py:")
    assert found.findings[0].per_seed == (4.0, None, 6.0)


def test_a_claim_of_which_no_seed_works_is_an_error():
    with pytest.raises(ClaimError, match="ZeroDivisionError: every seed"):
        run(fakes.raises_always)


@pytest.mark.parametrize("jobs", [1, 2])
def test_others_go_on_after_a_claim_of_which_no_seed_works(jobs):
    failed = []
    found = list(run_all([fakes.raises_always, fakes.better], jobs=jobs, failed=failed.append))
    assert [one.verdict for one in found] == ["reproduced"]
    assert ["ZeroDivisionError: every seed" in one.why for one in failed] == [True]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (fakes.lacks_an_arm, "'score' of 'b', which was not measured"),
        (fakes.compares_curves, "is a curve"),
        (fakes.gives_text, "gave 'high' for 'score' of 'a'"),
    ],
)
def test_a_claim_that_does_not_fit_its_rules_ends_at_the_first_seed(claim, message):
    steps = []
    with pytest.raises(ClaimError, match=message):
        run(claim, progress=steps.append)
    assert not steps


def test_an_interrupted_claim_gives_no_evidence_and_those_before_it_do():
    running = run_all([fakes.better, fakes.interrupted, fakes.drawn])
    assert next(running).verdict == "reproduced"
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert list(running) == []


def test_a_process_that_is_killed_is_an_error():
    with pytest.raises(ClaimError, match="ended from outside"):
        run(fakes.killed, jobs=2)


def test_no_processes_are_refused():
    with pytest.raises(ClaimError, match="0 processes"):
        run(fakes.better, jobs=0)


def test_where_and_when_it_ran_is_kept():
    found = run(fakes.better)
    assert {"cpu", "cores", "python", "torch", "numpy", "scikit-learn", "supple"} <= {
        *found.machine
    }
    assert found.date.startswith("20")
    assert found.date.endswith("Z")
    assert found.seconds >= 0
    assert set(found.measured) == {"claim", "supple.claims._torch_seed.seeded"}
    assert found.paper == 86


def test_claims_are_listed_without_torch():
    code = (
        "import sys, supple.claims as c, supple.papers as p\n"
        "c.statuses(), p.implementations(), p.catalogue()\n"
        "print(sorted({'torch', 'optuna', 'sklearn', 'plotly'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_ctrl_c_in_a_terminal_ends_all_processes_and_keeps_nothing(tmp_path):
    """Ctrl-C reaches the whole group: the command, and the seeds that are being measured."""
    command = [sys.executable, "-m", "supple.cli", "claims", "run", "linas", "--full",
               "--jobs", "2", "--out", str(tmp_path / "kept")]  # fmt: skip
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        time.sleep(20)  # long enough to be in a seed, far from the end of one claim
        assert run.poll() is None
        os.killpg(run.pid, signal.SIGINT)
        out, _ = run.communicate(timeout=60)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 130, out.decode()
    assert b"Traceback" not in out
    assert not (tmp_path / "kept").exists()
