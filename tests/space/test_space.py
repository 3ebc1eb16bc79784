"""Space: examples worked by hand, and what is said when something does not fit."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from supple.errors import ConfigError, SpaceError
from supple.space import Condition, Config, Depth, Divides, Space, Swap, Width


def residual_space():
    """A stem, a stage of one to three blocks, and an activation."""

    def from_depth(*options):
        return (Condition(choice="stage.depth", options=options),)

    widths = (8, 16, 32)
    return Space(
        {
            "stem.width": Width(options=widths, size=32),
            "stage.depth": Depth(options=(1, 2, 3), size=3),
            "stage.1.width": Width(options=widths, size=32, when=from_depth(2, 3)),
            "stage.2.width": Width(options=widths, size=32, when=from_depth(3)),
            "act": Swap(options=("relu", "gelu")),
        }
    )


SPACE = residual_space()


def test_size_counts_what_matters_only():
    # stem 3, act 2; blocks: depth 1: 1, depth 2: 3, depth 3: 9
    assert SPACE.size == 3 * 2 * (1 + 3 + 9)
    assert SPACE.is_size_exact


def test_corner_configs():
    assert list(SPACE.largest.values()) == [32, 3, 32, 32, "relu"]
    assert list(SPACE.smallest.values()) == [8, 1, 32, 32, "relu"]
    assert list(SPACE.at_ratio(0.5).values()) == [16, 2, 16, 32, "relu"]
    assert list(SPACE.at_ratio(0.75).values()) == [32, 2, 32, 32, "relu"]  # 24 is a tie: up


def test_encodings():
    config = SPACE.validate({"stem.width": 8, "stage.depth": 2, "stage.1.width": 16, "act": "gelu"})
    np.testing.assert_array_equal(SPACE.to_indices(config), [0, 1, 1, 2, 1])
    assert SPACE.encode([config], "ordinal")[0].tolist() == [0, 1, 1, -1, 1]
    assert SPACE.encode([config], "ordinal", mask_inactive=False)[0].tolist() == [0, 1, 1, 2, 1]
    onehot = [1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert SPACE.encode([config], "onehot")[0].tolist() == onehot
    assert SPACE.encode([], "onehot").shape == (0, 14)
    assert SPACE.active_names(config) == ("stem.width", "stage.depth", "stage.1.width", "act")


def test_ids_are_the_same_in_every_process_and_version():
    assert SPACE.id == "0708c328cd78"
    code = "from supple.space import Space; import sys; print(Space.from_json(sys.stdin.read()).id)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=SPACE.to_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == SPACE.id


def test_order_and_constraints_count_for_equality():
    again = residual_space()
    assert again == SPACE
    assert again.id == SPACE.id
    backwards = Space(dict(reversed(list(SPACE.items()))))
    assert backwards != SPACE
    assert backwards.id != SPACE.id
    tied = Space(SPACE, [Divides(divisor="stem.width", number="stage.1.width")])
    assert tied != SPACE
    assert tied.id != SPACE.id
    assert dict(SPACE) != SPACE


def test_json_survives_a_writer_that_sorts_keys():
    text = json.dumps(json.loads(SPACE.to_json()), sort_keys=True)
    assert Space.from_json(text) == SPACE


def test_genes_are_clipped_rounded_and_made_canonical():
    assert SPACE.from_indices([-5, 0, 0, 0, 9]) == {
        "stem.width": 8,
        "stage.depth": 1,
        "stage.1.width": 32,
        "stage.2.width": 32,
        "act": "gelu",
    }
    assert SPACE.from_indices([0.4, 1.6, 0, 1, 0])["stage.2.width"] == 16
    with pytest.raises(ConfigError, match=r"shape \(1, 3\)"):
        SPACE.from_indices([0, 1, 2])
    with pytest.raises(ConfigError, match="finite"):
        SPACE.from_indices([math.nan, 1, 1, 1, 1])
    with pytest.raises(ConfigError, match="finite numbers"):
        SPACE.from_indices(["a", "b", "c", "d", "e"])


def test_samples_are_even():
    rng = np.random.default_rng(0)
    configs = SPACE.sample_many(3000, rng, unique=False)
    for name in ("stem.width", "stage.depth", "act"):
        counts = [sum(c[name] == o for c in configs) for o in SPACE[name].options]
        expected = 3000 / len(counts)
        assert max(abs(count - expected) for count in counts) < 5 * math.sqrt(expected)


def test_mutation_probability_is_that_of_each_active_choice():
    wide = Space({f"w{i}": Width(options=(1, 2, 3)) for i in range(50)})
    rng = np.random.default_rng(0)
    config = wide.sample(rng=rng)

    def changes(probability):
        mutated = wide.mutate(config, rng, probability)
        return sum(mutated[name] != config[name] for name in wide)

    assert all(changes(1.0) == 50 for _ in range(3))
    assert all(changes(0.0) == 1 for _ in range(3))
    mean = np.mean([changes(0.2) for _ in range(200)])
    assert abs(mean - 10) < 1.0  # five standard errors


def test_neighbours_of_a_corner():
    listed = [tuple(c.values()) for c in SPACE.neighbours(SPACE.smallest)]
    assert listed == [
        (16, 1, 32, 32, "relu"),
        (8, 2, 32, 32, "relu"),
        (8, 1, 32, 32, "gelu"),
    ]


def test_validate_says_what_does_not_fit():
    good = dict(SPACE.largest)
    with pytest.raises(ConfigError, match="'stem.widht'(.|\n)*did you mean 'stem.width'"):
        SPACE.validate({**good, "stem.widht": 8})
    with pytest.raises(ConfigError, match=r"options \(8, 16, 32\), got 20(.|\n)*nearest.* 16;"):
        SPACE.validate({**good, "stem.width": 20})
    with pytest.raises(ConfigError, match="did you mean 'gelu'"):
        SPACE.validate({**good, "act": "geluu"})
    with pytest.raises(ConfigError, match="lacks 1 of the 5 choices.*'stem.width'"):
        SPACE.validate({k: v for k, v in good.items() if k != "stem.width"})
    for wrong in ("16", True, None, math.nan, [16]):
        with pytest.raises(ConfigError, match="stem.width"):
            SPACE.validate({**good, "stem.width": wrong})
    with pytest.raises(ConfigError, match="must map the names"):
        SPACE.validate("largest")
    with pytest.raises(ConfigError) as caught:
        SPACE.validate({**good, "stem.width": 20})
    assert caught.value.data == {"choice": "stem.width", "option": 20, "options": (8, 16, 32)}


def test_a_config_of_another_space_is_told_apart():
    other = Space({"stem.width": Width(options=(8, 20))})
    with pytest.raises(ConfigError, match=f"another space .*{other.id}, this one is {SPACE.id}"):
        SPACE.validate(other.largest)
    nearest = SPACE.nearest(other.largest)
    assert nearest == SPACE.largest.replace({"stem.width": 16})
    assert SPACE.nearest({"act": "mish", "unknown": 3}) == SPACE.largest
    for wrong in ({"stem.width": "8"}, {"stem.width": math.nan}, {"stem.width": None}, 3):
        with pytest.raises(ConfigError):
            SPACE.nearest(wrong)


def test_a_broken_constraint_is_named():
    tied = Space(SPACE, [Divides(divisor="stem.width", number="stage.1.width")])
    config = {**SPACE.largest, "stage.1.width": 8}
    with pytest.raises(ConfigError, match="breaks the constraint Divides(.|\n)*'stem.width' is 32"):
        tied.validate(config)
    assert tied.canonical(config) == config
    near = tied.nearest(config)
    assert near["stage.1.width"] % near["stem.width"] == 0
    assert tied.validate(near) == near


def test_a_hand_made_config_in_another_order_keeps_its_meaning():
    raw = Config(dict(reversed(list(SPACE.largest.items()))), space_id=SPACE.id)
    assert SPACE.to_indices(raw).tolist() == SPACE.to_indices(SPACE.largest).tolist()


def test_restrict_takes_names_and_patterns():
    narrow = SPACE.restrict({"*.width": (8, 16), "stage.depth": 2})
    assert narrow["stage.2.width"].options == (8, 16)
    assert narrow["stage.2.width"].size == 32
    assert narrow.size == 2 * 1 * 2 * 2
    assert SPACE.restrict({"act": "gelu"}).largest["act"] == "gelu"
    assert SPACE.restrict({}) == SPACE
    with pytest.raises(SpaceError, match="matches no choice(.|\n)*stem.width"):
        SPACE.restrict({"stem.wdth": 8})
    with pytest.raises(SpaceError, match="got 20(.|\n)*nearest option is 16"):
        SPACE.restrict({"stem.width": (8, 20)})
    with pytest.raises(SpaceError, match="leaves 'stage.depth' no option"):
        SPACE.restrict({"st*": (8, 32)})
    with pytest.raises(SpaceError, match="no option"):
        SPACE.restrict({"act": ()})


def test_restricting_a_decider_leaves_what_can_never_be_active_at_its_largest():
    narrow = SPACE.restrict({"stage.depth": 1})
    assert narrow.size == 6
    assert narrow["stage.1.width"].when == (Condition(choice="stage.depth", options=()),)
    assert Space.from_json(narrow.to_json()) == narrow


def test_an_empty_space_has_one_config():
    empty = Space({})
    assert empty.size == 1
    assert empty.sample(seed=0) == empty.largest == {}
    assert list(empty.configs()) == [{}]
    assert empty.encode([empty.largest]).shape == (1, 0)
    assert empty.mutate({}, np.random.default_rng(0)) == {}
    assert list(empty.neighbours({})) == []
    assert Space.from_json(empty.to_json()) == empty


def test_a_large_space_is_counted_and_encoded_quickly():
    choices = {}
    for stage in range(6):
        decider = f"s{stage}.depth"
        choices[decider] = Depth(options=(1, 2, 3, 4), size=4)
        for block in range(4):
            when = (Condition(choice=decider, options=tuple(range(block + 1, 5))),)
            width = Width(options=tuple(range(8, 72, 8)), size=64, when=when)
            choices[f"s{stage}.{block}.width"] = width
    space = Space(choices)
    assert space.size == (8 + 8**2 + 8**3 + 8**4) ** 6
    rng = np.random.default_rng(0)
    genes = rng.integers(0, 8, size=(20_000, len(space)))
    codes = space.encode_indices(genes, "ordinal")
    depth = np.minimum(genes[:, 0], 3)
    np.testing.assert_array_equal(codes[:, 2] == -1, depth < 1)


def test_a_chain_of_conditions_is_counted_exactly():
    choices = {"d0": Depth(options=(1, 2, 3))}
    for i in range(1, 60):
        when = (Condition(choice=f"d{i - 1}", options=(2, 3)),)
        choices[f"d{i}"] = Depth(options=(1, 2, 3), when=when)
    count = 3
    for _ in range(59):  # the first of a chain: stop here, or go on with two options
        count = 1 + 2 * count
    assert Space(choices).size == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"schema": 2, "choices": []}',
        '{"schema": true, "choices": []}',
        '{"schema": 1, "choices": {}}',
        '{"schema": 1, "choices": [], "constrains": []}',
        '{"schema": 1, "choices": [], "constraints": {}}',
        '{"schema": 1, "choices": [3]}',
        '{"schema": 1, "choices": [{"kind": "width", "options": [8]}]}',
        '{"schema": 1, "choices": [{"name": "a", "kind": "width", "options": [NaN]}]}',
        '{"schema": 1, "choices": [{"name": "a", "kind": "width", "options": [1e400]}]}',
        '{"schema": 1, "choices": [{"name": "", "kind": "width", "options": [8]}]}',
        '{"schema": 1, "choices": [{"name": "a", "kind": "width", "options": [8]},'
        ' {"name": "a", "kind": "width", "options": [8]}]}',
    ],
)
def test_json_that_is_no_space_is_refused(text):
    with pytest.raises(SpaceError):
        Space.from_json(text)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, math.nan, "half", None, True])
def test_a_ratio_is_a_fraction(ratio):
    with pytest.raises(SpaceError, match="ratio"):
        SPACE.at_ratio(ratio)


def test_unknown_names_are_met_with_near_misses():
    with pytest.raises(SpaceError, match="did you mean 'act'"):
        SPACE.is_active("acd", SPACE.largest)
    with pytest.raises(SpaceError, match="did you mean 'onehot'"):
        SPACE.encode([], "one-hot")
    with pytest.raises(SpaceError, match="maps names to choices"):
        Space({"a": (8, 16)})
    with pytest.raises(KeyError):
        SPACE["acd"]
