"""Tables from files: what they say, and what is refused."""

import itertools

import numpy as np
import pytest

from supple.errors import ConfigError, SearchError, SpaceError, StudyError
from supple.search.tables import ListedSpace, RecordedTable, load_table, shipped_tables
from supple.search.tables._load import SHIPPED
from supple.space import Depth, Swap, Width
from supple.study import hypervolume

FULL = """choice.width,choice.op,max.accuracy,min.macs
8,skip,0.5,1
8,conv,0.7,4
16,skip,0.6,2
16,conv,0.9,8
"""


def written(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_full_table_is_its_space_and_its_values(tmp_path):
    table = load_table(written(tmp_path, FULL))
    assert table.space.size == 4
    assert dict(table.space) == {
        "width": Depth(options=(8, 16)),
        "op": Swap(options=("conv", "skip")),
    }
    assert table.directions == {"accuracy": "max", "macs": "min"}
    assert table.measure({"width": 16, "op": "conv"}) == {"accuracy": 0.9, "macs": 8.0}
    assert table.reference == {"accuracy": 0.5, "macs": 8.0}
    assert table.exact == ("macs",)
    # By hand: (0.6, 2) and (0.7, 4) below the corner (0.5, 8); the others touch it.
    assert table.known_hypervolume() == pytest.approx(0.1 * 6 + 0.1 * 4)


def test_exact_objectives_can_be_named_or_none(tmp_path):
    path = written(tmp_path, FULL)
    assert load_table(path, exact=[]).exact == ()
    assert load_table(path, exact=["accuracy"]).exact == ("accuracy",)
    with pytest.raises(SearchError, match="'size' is called exact but is no objective"):
        load_table(path, exact=["size"])


def test_exact_losses_are_those_of_the_table_with_their_sign(tmp_path):
    table = load_table(written(tmp_path, FULL), exact=["accuracy", "macs"])
    rows = table.space.to_indices_many(table.space.configs())
    values = [table.measure(config) for config in table.space.configs()]
    found = table.exact_losses()
    assert sorted(found) == [0, 1]
    assert found[0](rows).tolist() == [-v["accuracy"] for v in values]
    assert found[1](rows).tolist() == [v["macs"] for v in values]


def test_numbers_that_no_choice_can_hold_keep_their_order(tmp_path):
    text = "choice.ratio,min.loss\n0.25,3\n-1,4\n0.5,2\n"
    table = load_table(written(tmp_path, text))
    assert table.space["ratio"].options == (0, 1, 2)
    assert [table.measure({"ratio": n})["loss"] for n in range(3)] == [4.0, 3.0, 2.0]


def test_duplicates_that_agree_are_one_config(tmp_path):
    table = load_table(written(tmp_path, FULL + "16,conv,0.9,8\n"))
    assert table.space.size == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no line of values"),
        ("choice.a,min.b\n", "no line of values"),
        ("choice.a,min.b\n1,\n", "line 2 has no value for 'min.b'"),
        ("choice.a,min.b\n,1\n", "line 2 has no value for 'choice.a'"),
        ("choice.a,min.b\n1,nan\n", "line 2 has 'nan' for 'min.b', which is not a finite"),
        ("choice.a,min.b\n1,inf\n", "not a finite number"),
        ("choice.a,min.b\n1,fast\n", "line 2 has 'fast' for 'min.b'"),
        ("choice.a,min.b\n1,2,3\n", "line 2 has 3 values for 2 columns"),
        ("choice.a,min.b\n1,2\n1,3\n", "lines 2 and 3 are the same config, but 'b' is 2 in one"),
        ("choice.a,latency\n1,2\n", "its column 'latency' is neither"),
        ("choise.a,min.b\n1,2\n", "did you mean 'choice'"),
        ("choice.a,choice.b\n1,2\n", "no column min.NAME or max.NAME"),
        ("min.a,max.b\n1,2\n", "no column choice.NAME"),
        ("choice.a,choice.a,min.b\n1,1,2\n", "is there twice"),
        ('choice.a,min.b\n"1,2\n', "cannot be read as CSV"),
    ],
)
def test_bad_tables_are_refused_with_what_is_wrong(tmp_path, text, says):
    with pytest.raises(SearchError) as caught:
        load_table(written(tmp_path, text))
    assert says in str(caught.value)


def test_four_objectives_are_refused(tmp_path):
    with pytest.raises(StudyError, match="one to 3 objectives"):
        load_table(written(tmp_path, "choice.a,min.b,min.c,min.d,min.e\n1,1,1,1,1\n"))


def test_a_file_that_is_not_there_or_no_table_is_named(tmp_path):
    written(tmp_path, FULL, "results.csv")
    with pytest.raises(SearchError, match=r"did you mean 'results.csv'"):
        load_table(tmp_path / "result.csv")
    with pytest.raises(SearchError, match="is no table"):
        load_table(written(tmp_path, FULL, "results.txt"))


OBJECT = """
from supple.space import Space, Width
class Task:
    directions = {"loss": "min", "macs": "min"}
    reference = {"loss": 1.0, "macs": 5.0}
    best_hypervolume = 1.75
    def space(self):
        return Space({"a": Width(options=(1, 2, 4))})
    def evaluate(self, config):
        return {"loss": 1 / config["a"], "macs": config["a"], "note": "not asked for"}
task = Task()
broken = 3
"""


def test_an_object_in_a_file_is_a_table(tmp_path):
    path = written(tmp_path, OBJECT, "mine.py")
    for name in ("task", "Task"):
        table = load_table(f"{path}:{name}")
        assert table.measure({"a": 2}) == {"loss": 0.5, "macs": 2.0}
        assert table.known_hypervolume() == 1.75
        assert table.exact == ("macs",)
        # What it says is what a walk through the space finds.
        values = [table.measure(config) for config in table.space.configs()]
        assert hypervolume(values, table.reference, table.directions) == pytest.approx(1.75)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (OBJECT, "tusk", "did you mean 'task'"),
        (OBJECT, "broken", "it has no space and no evaluate and no directions"),
        ("1 / 0", "task", "ends with ZeroDivisionError"),
        (OBJECT.replace('"macs": 5.0', '"mac": 5.0'), "task", "its reference lacks one of"),
        (OBJECT.replace("Space({", "dict({"), "task", "gave dict, not a Space"),
        (OBJECT.replace("1.75", "float('nan')"), "task", "best hypervolume of the table is nan"),
        (OBJECT.replace("5.0}", "float('inf')}"), "task", "has inf for 'macs'"),
    ],
)
def test_objects_that_are_no_table_are_refused(tmp_path, text, name, says):
    with pytest.raises(SearchError) as caught:
        load_table(f"{written(tmp_path, text, 'mine.py')}:{name}")
    assert says in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), None, "0.5", True])
def test_values_that_are_no_finite_numbers_are_refused(value):
    table = RecordedTable(
        space=ListedSpace({"a": Width(options=(1, 2))}, [[0], [1]]),
        directions={"loss": "min"},
        evaluate=lambda config: {"loss": value},
        reference={"loss": 1.0},
    )
    with pytest.raises(SearchError, match="for 'loss'"):
        table.measure({"a": 1})


# Some combinations only


CHOICES = {
    "a": Width(options=(1, 2, 3, 4, 5)),
    "b": Width(options=(1, 2, 3)),
    "op": Swap(options=("x", "y", "z")),
}


def listed(count=12, seed=0):
    rng = np.random.default_rng(seed)
    every = np.array(list(itertools.product(range(5), range(3), range(3))))
    return ListedSpace(CHOICES, rng.permutation(every)[:count])


def distance(one, two):
    return abs(one[0] - two[0]) / 4 + abs(one[1] - two[1]) / 2 + (one[2] != two[2])


def test_every_row_of_genes_becomes_the_nearest_listed_one():
    space = listed()
    every = np.array(list(itertools.product(range(5), range(3), range(3))))
    for row, found in zip(every, space.canonical_indices(every), strict=True):
        nearest = min(distance(row, other) for other in space.rows())
        assert distance(row, found) == pytest.approx(nearest, abs=1e-6)
        assert found.tolist() in space.rows().tolist()
    assert np.array_equal(space.canonical_indices(space.rows()), space.rows())


def test_all_that_a_listed_space_hands_out_is_listed():
    space, rng = listed(), np.random.default_rng(0)
    configs = list(space.configs())
    assert len(set(configs)) == space.size == 12
    some = configs[3]
    given = [
        space.largest,
        space.smallest,
        space.at_ratio(0.5),
        space.sample(seed=1),
        space.nearest({"a": 9, "b": 1, "op": "x"}),
        space.mutate(some, rng),
        space.cross(some, configs[5], rng),
        *space.neighbours(some),
        *space.sample_many(9, rng),
    ]
    assert set(given) <= set(configs)
    assert len(set(space.sample_many(50, rng))) == 12
    assert space.mutate(some, rng) != some
    for config in set(given):
        assert space.validate(config) == config


def test_a_config_that_is_not_listed_is_refused():
    space = listed()
    every = [{"a": a, "b": b, "op": o} for a in range(1, 6) for b in range(1, 4) for o in "xyz"]
    refused = 0
    for config in every:
        try:
            space.validate(config)
        except ConfigError:
            refused += 1
    assert refused == 45 - 12
    with pytest.raises(SpaceError, match="has the shape"):
        ListedSpace(CHOICES, np.zeros((2, 2)))


# Tables that come with supple


@pytest.mark.parametrize("name", shipped_tables())
def test_shipped_tables_are_found_by_name_and_are_small(name):
    table = load_table(name)
    assert table.source == name
    assert 50 <= table.space.size <= 2000
    assert (SHIPPED / f"{name}.csv").stat().st_size < 100_000
    assert table.known_hypervolume() > 0
    largest = table.measure(table.space.largest)
    assert largest["accuracy"] > 0.9  # a network that has learned its task
    counted = "macs" if "macs" in largest else "bytes"
    assert table.measure(table.space.smallest)[counted] < largest[counted]
    assert min(table.measure(c)["latency"] for c in table.space.configs()) > 0


def test_a_name_that_is_nearly_one_of_them_is_pointed_out():
    assert "digits_subnets" in shipped_tables()
    with pytest.raises(SearchError, match="digits_subnets"):
        load_table("digit_subnets")


def test_some_objectives_of_a_table_have_a_front_of_their_own(tmp_path):
    path = tmp_path / "three.csv"
    path.write_text(
        "choice.a,max.accuracy,min.macs,min.latency\n1,0.5,1,9\n2,0.7,2,3\n4,0.9,4,5\n8,0.6,9,1\n"
    )
    table = load_table(path, objectives=["latency", "accuracy"])
    assert table.directions == {"latency": "min", "accuracy": "max"}
    assert table.exact == ()
    assert table.reference == {"latency": 9.0, "accuracy": 0.5}
    # By hand: strips between latencies 1, 3, 5 and 9.
    assert table.known_hypervolume() == pytest.approx(2 * 0.1 + 2 * 0.2 + 4 * 0.4)
    assert load_table(path, objectives=["accuracy", "macs"]).exact == ("macs",)
    assert load_table(path, objectives=["accuracy", "macs"], exact=[]).exact == ()
    with pytest.raises(SearchError, match="no objective 'latncy'"):
        load_table(path, objectives=["latncy"])
    with pytest.raises(SearchError, match="no choice of objectives"):
        load_table(path, objectives=["macs", "macs"])
