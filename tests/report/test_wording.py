"""The sentences of the report."""

import pytest

from supple.report import Result, asked_for, headline
from supple.report._wording import subline


def headline_of(data):
    return headline(Result.of(data))


def test_the_headline_tells_ratio_interval_and_both_accuracies(data):
    data["pick"] |= {"latency_ratio": 0.431, "latency_ratio_interval": [0.412, 0.449]}
    assert headline_of(data) == (
        "This network runs in 0.43 of the time [0.41–0.45] "
        "at 98.9 % instead of 99.2 % test accuracy."
    )


def test_close_accuracies_are_told_apart_and_equal_ones_are_called_the_same(data):
    data["pick"]["test_accuracy"] = data["baseline"]["test_accuracy"] - 0.0002
    assert "at 99.15 % instead of 99.17 % test accuracy" in headline_of(data)
    data["pick"]["test_accuracy"] = data["baseline"]["test_accuracy"]
    assert "at the same 99.2 % test accuracy" in headline_of(data)


def test_a_metric_that_is_no_fraction_is_a_plain_number(data):
    data["task"]["metric"] = {"name": "error", "direction": "min", "is_fraction": False}
    data["pick"] |= {"test_accuracy": 1.25, "test_accuracy_interval": [1.2, 1.3]}
    data["baseline"] |= {"test_accuracy": 1.125, "test_accuracy_interval": [1.1, 1.2]}
    assert headline_of(data).endswith("at 1.25 instead of 1.12 test error.")
    wanted = dict(asked_for(Result.of(data)))["Wanted"]
    assert wanted == "the lowest error with a latency of at most 0.5 of the baseline's"


def test_without_a_pick_the_headline_says_why(data):
    data |= {"pick": None, "cuts": [], "layers": [], "status": "no-candidate"}
    assert (
        headline_of(data)
        == "None of 59 sub-networks has a latency of at most 0.5 of the baseline's."
    )
    data["status"] = "interrupted"
    assert headline_of(data) == (
        "The search was interrupted after 59 of 60 evaluations; nothing is picked yet."
    )


def test_the_subline_counts_what_was_measured(data):
    assert subline(Result.of(data)).startswith("59 sub-networks were measured, out of 3.3 × 10¹²")


def test_of_the_training_the_telling_settings_are_named(result):
    assert dict(asked_for(result))["Training"] == (
        "rule: sandwich; recipe: epochs 20, sgd, lr 0.05; finetune: epochs 5, sgd, lr 0.02"
    )


@pytest.mark.parametrize(
    ("pick", "words"),
    [
        ({"latency": 0.5}, "a latency of at most 0.5 of the baseline's"),
        ({"latency": "2ms"}, "a latency of at most 2ms"),
        ({"accuracy": 0.98}, "a validation accuracy of at least 98.0 %"),
        ({"macs": 0.25, "latency": "2ms"}, "of at most 0.25 of the baseline's and a latency of"),
    ],
)
def test_bounds_are_read_back_in_words(data, pick, words):
    data["asked"]["pick"] = pick
    assert words in dict(asked_for(Result.of(data)))["Wanted"]
