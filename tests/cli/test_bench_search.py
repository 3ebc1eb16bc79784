"""``supple bench-search``: what is printed, as text, as JSON and as curves."""

import json

import pytest

ROWS = ["choice.a,choice.b,max.accuracy,min.macs"]
ROWS += [f"{a},{b},{1 - 1 / (a + b)},{a * b}" for a in range(1, 7) for b in range(1, 7)]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\n".join(ROWS))
    return path


def test_it_prints_shares_and_measurements_for_each_strategy(supple, table):
    called = supple(
        "bench-search", table, "--strategies", "random,nsga2", "--seeds", 2, "--evaluations", 60
    )
    assert called.code == 0, called.err
    assert "36 configs, accuracy, macs" in called.out
    assert "Counted, not measured: macs" in called.out
    assert "after 50" in called.out
    assert "after 100" not in called.out
    # All 36 configs are measured in 60 evaluations.
    assert called.out.count("100.0 (100.0–100.0)") == 2
    assert "4/4 nsga2 seed 1" in called.err


def test_json_holds_everything(supple, table):
    words = ["--strategies", "random", "nsga2:population=4,mutation=0.5", "--seeds", "2"]
    called = supple("bench-search", table, *words, "--evaluations", 20, "--json", "--quiet")
    assert called.err == ""
    found = json.loads(called.out)
    assert found["space_size"] == 36
    assert found["exact"] == ["macs"]
    assert found["best_is_known"]
    assert list(found["strategies"]) == ["random", "nsga2:population=4,mutation=0.5"]
    for strategy in found["strategies"].values():
        assert len(strategy["curves"]) == 2
        assert all(len(curve) == 20 for curve in strategy["curves"])
        last = sorted(curve[-1] for curve in strategy["curves"])
        middle = strategy["share_after"]["20"]["median"]
        assert middle == pytest.approx(sum(last) / 2, abs=1e-5)
        for share, needed in strategy["measurements_for"].items():
            firsts = sorted(
                next((i for i, v in enumerate(curve, 1) if v >= float(share)), 99)
                for curve in strategy["curves"]
            )
            expected = None if firsts[1] == 99 else sum(firsts) / 2
            assert needed["median"] == expected


def test_curves_are_drawn_into_a_file(supple, table, tmp_path):
    path = tmp_path / "new" / "curves.html"
    words = ["--strategies", "random", "--seeds", 2, "--evaluations", 5, "--curves", path]
    assert supple("bench-search", table, *words).code == 0
    text = path.read_text()
    assert "distinct measurements" in text
    assert '"name":"random"' in text


def test_no_objective_may_be_taken_as_exact(supple, table):
    words = ["--strategies", "random", "--seeds", 1, "--evaluations", 5, "--json", "-q"]
    assert json.loads(supple("bench-search", table, *words, "--exact", "none").out)["exact"] == []


def test_errors_name_what_is_wrong(supple, table, tmp_path):
    called = supple("bench-search", tmp_path / "tabel.csv")
    assert called.code == 1
    assert "did you mean 'table.csv'?" in called.err
    called = supple("bench-search", table, "--strategies", "randm")
    assert called.code == 1
    assert "did you mean 'random'?" in called.err
    called = supple("bench-search", table, "--seeds", "0")
    assert called.code == 2
    assert "Must be >= 1" in called.err


def test_a_shipped_table_by_name_and_some_of_its_objectives(supple):
    called = supple(
        "bench-search",
        "digits_subnets",
        "--objectives",
        "accuracy,macs",
        "--strategies",
        "random",
        "--seeds",
        2,
        "--evaluations",
        20,
        "--json",
        "--quiet",
    )
    assert called.code == 0
    found = json.loads(called.out)
    assert found["table"] == "digits_subnets"
    assert found["directions"] == {"accuracy": "max", "macs": "min"}
    assert found["exact"] == ["macs"]
    assert found["best_is_known"]
    shares = [curve[-1] for curve in found["strategies"]["random"]["curves"]]
    assert all(0 < share <= 1 for share in shares)
