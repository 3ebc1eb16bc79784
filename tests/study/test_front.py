"""The front and the pick."""

import importlib.util
import pickle

import pytest

from supple.errors import MissingExtraError, NoCandidateError, StudyError
from supple.space import Config
from supple.study import Candidate, Front

TWO = {"accuracy": "max", "latency": "min"}


def candidate(number, accuracy, latency, macs=0.0, **details):
    return Candidate(
        number=number,
        config=Config({"width": number}),
        values={"accuracy": accuracy, "latency": latency, "macs": macs},
        details=details,
    )


@pytest.fixture
def front():
    return Front(
        [
            candidate(0, 0.80, 0.30, macs=4e6, latency_ms=1.5),
            candidate(1, 0.90, 0.60, macs=9e6, latency_ms=3.0),
            candidate(2, 0.85, 0.50, macs=8e6, latency_ms=2.5),
            candidate(3, 0.84, 0.55, macs=2e6, latency_ms=2.7),  # beaten by 2
            candidate(4, 0.70, 0.90, macs=1e6, latency_ms=4.5),  # beaten by all
        ],
        TWO,
    )


def test_the_front_is_sorted_by_the_first_objective_best_first(front):
    assert [c.number for c in front] == [1, 2, 0]
    assert len(front) == 3
    assert front[0].number == 1
    assert [c.number for c in front[1:]] == [2, 0]
    assert repr(front) == "Front(3 of 5 candidates; accuracy max, latency min)"


def test_equal_candidates_are_both_on_the_front():
    front = Front([candidate(0, 0.9, 0.5), candidate(1, 0.9, 0.5)], TWO)
    assert [c.number for c in front] == [0, 1]


@pytest.mark.parametrize(
    ("bounds", "number"),
    [
        ({}, 1),
        ({"latency": 0.5}, 2),
        ({"latency": "0.5"}, 2),
        ({"latency": 0.49}, 0),
        ({"latency": "2ms"}, 0),
        ({"latency": "2.5ms"}, 2),
        ({"accuracy": 0.82}, 2),
        ({"accuracy": "85%"}, 2),
        ({"macs": "8M"}, 2),
        ({"macs": "2MMACs"}, 3),  # not on the front, and yet the best with so few
        ({"macs": "4M", "latency": 0.4}, 0),
        ({"accuracy": 0.8, "latency": 0.5}, 2),
        ({"best": "latency"}, 0),
        ({"best": "latency", "accuracy": 0.85}, 2),
        ({"best": "accuracy", "accuracy": 0.85}, 1),
    ],
)
def test_the_pick_is_the_best_that_meets_the_bounds(front, bounds, number):
    assert front.pick(**bounds).number == number


def test_ties_go_to_the_better_other_objective():
    front = Front([candidate(0, 0.9, 0.5), candidate(1, 0.9, 0.4), candidate(2, 0.9, 0.4)], TWO)
    assert front.pick(latency=0.6).number == 1


def test_nobody_meets_the_bound_and_the_closest_is_named(front):
    with pytest.raises(NoCandidateError) as caught:
        front.pick(latency=0.2)
    assert caught.value.data == {"closest": 0, "values": {"latency": 0.3}}
    assert "none of 5 candidates has latency <= 0.2" in str(caught.value)
    assert "The closest is trial 0 with latency 0.3" in str(caught.value)


def test_nobody_meets_all_bounds_together(front):
    with pytest.raises(NoCandidateError) as caught:
        front.pick(latency="2ms", accuracy=0.85)
    assert "latency <= 2ms and accuracy >= 0.85" in str(caught.value)
    # 0 lacks 6 % of the accuracy; 2 is a quarter too slow.
    assert caught.value.data["closest"] == 0
    assert caught.value.data["values"] == {"latency": 1.5, "accuracy": 0.8}


def test_what_cannot_be_picked_by_says_what_can(front):
    with pytest.raises(StudyError, match="no measured 'latencie'") as caught:
        front.pick(latencie=0.5)
    assert "did you mean 'latency'?" in str(caught.value)
    with pytest.raises(StudyError, match="did you mean 'accuracy'"):
        front.pick(best="acuracy")
    with pytest.raises(NoCandidateError, match="no trial is complete"):
        Front([], TWO).pick(latency=0.5)


def test_hypervolume_of_the_front(front):
    reference = {"accuracy": 0.7, "latency": 1.0}
    expected = 0.2 * 0.4 + 0.15 * 0.1 + 0.1 * 0.2
    assert front.hypervolume(reference) == pytest.approx(expected)
    # By default: worst seen, a tenth of the range further out.
    wider = front.hypervolume({"accuracy": 0.68, "latency": 0.96})
    assert front.hypervolume() == pytest.approx(wider)
    assert Front([], TWO).hypervolume() == 0.0


def test_rows_are_flat(front):
    assert front.to_rows()[0] == {
        "number": 1,
        "accuracy": 0.9,
        "latency": 0.6,
        "macs": 9e6,
        "width": 1,
    }


def test_a_table_of_pandas_or_how_to_do_without(front):
    if importlib.util.find_spec("pandas"):
        assert front.to_frame().to_dict("records") == front.to_rows()
    else:
        with pytest.raises(MissingExtraError, match=r"to_rows\(\)"):
            front.to_frame()


def test_candidates_are_values():
    one = candidate(0, 0.8, 0.3, note="x")
    assert one == candidate(0, 0.8, 0.3, note="x")
    assert hash(one) == hash(candidate(0, 0.8, 0.3, note="x"))
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(TypeError):
        one.values["accuracy"] = 1.0


def test_a_candidate_without_an_objective_is_refused():
    with pytest.raises(StudyError, match="no value of the objective 'energy'"):
        Front([candidate(0, 0.8, 0.3)], {"accuracy": "max", "energy": "min"})
