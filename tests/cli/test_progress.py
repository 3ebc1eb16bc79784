"""Progress: sparing lines, or bars on a terminal."""

import io

import pytest
from rich.console import Console

from supple.cli._progress import Bars, Lines, shown_progress
from supple.progress import STAGES, Event


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_lines_come_at_start_and_end_of_a_stage_and_seldom_between():
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, every=10.0, clock=clock)
    for done in range(1, 101):
        clock.now += 0.25
        lines(Event("search", done, 100))
    lines(Event("search", 100, 100))
    assert stream.getvalue().splitlines() == [
        f"Searching sub-networks {done}/100" for done in (1, 41, 81, 100)
    ]


def test_a_stage_of_unknown_length_says_what_it_does():
    stream = io.StringIO()
    Lines(stream)(Event("prepare", 0, None, "downloading", {"megabytes": 12.0}))
    assert stream.getvalue() == "Preparing data and model: downloading, megabytes 12\n"


def test_each_stage_has_a_bar_and_earlier_ones_are_closed():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    bars = Bars(console)
    with bars.progress:
        bars(Event("prepare", 0, None, "reading"))
        bars(Event("train", 2, 5, values={"loss": 0.25}))
        bars(Event("search", 3, 60, "trial 3 [/]"))
    tasks = bars.progress.tasks
    assert [(task.completed, task.total) for task in tasks] == [(1, 1), (2, 2), (3, 60)]
    assert [task.finished for task in tasks] == [True, True, False]
    assert tasks[2].fields["note"] == "trial 3 [/]"


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_prints_nothing(quiet):
    stream = io.StringIO()
    with shown_progress(stream, quiet=quiet) as progress:
        progress(Event("report", 1, 1))
    assert bool(stream.getvalue()) != quiet


def test_every_stage_has_a_name_for_people():
    for stage in STAGES:
        stream = io.StringIO()
        Lines(stream)(Event(stage, 1, 1))
        assert stream.getvalue()[0].isupper()


def test_an_event_knows_whether_it_is_the_last_of_its_stage():
    assert Event("train", 5, 5).is_finished
    assert not Event("train", 4, 5).is_finished
    assert not Event("train", 4, None).is_finished
    assert Event("train", 0, None) == Event("train", 0, None, "", {})
