"""Laws every space obeys, on small random spaces against plain enumeration."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supple.errors import SpaceError
from supple.space import Config, Space
from tests.space._oracle import (
    active_names,
    all_configs,
    choice_maps,
    constraint_lists,
    spaces,
)

seeds = st.integers(0, 2**32 - 1)


def as_set(configs):
    return {tuple(sorted(config.items())) for config in configs}


@given(spaces())
def test_configs_and_size_equal_plain_enumeration(case):
    space, expected = case
    listed = list(space.configs())
    assert as_set(listed) == as_set(expected)
    assert len(listed) == space.size == len(expected)
    assert space.is_size_exact


@given(st.data())
def test_a_space_exists_exactly_if_some_config_satisfies_its_constraints(data):
    choices = data.draw(choice_maps())
    constraints = data.draw(constraint_lists(choices))
    if all_configs(choices, constraints):
        Space(choices, constraints)
    else:
        with pytest.raises(SpaceError, match="no config of this space satisfies"):
            Space(choices, constraints)


@given(spaces())
def test_json_round_trip_keeps_space_and_id(case):
    space, _ = case
    again = Space.from_json(space.to_json())
    assert again == space
    assert again.id == space.id
    assert hash(again) == hash(space)
    assert list(again) == list(space)
    copy = pickle.loads(pickle.dumps(space))
    assert copy == space


@given(spaces(), seeds)
def test_json_round_trip_keeps_config_and_id_in_any_key_order(case, seed):
    space, _ = case
    config = space.sample(seed)
    again = Config.from_json(config.to_json())
    backwards = Config(dict(reversed(list(config.items()))))
    assert again == config == backwards == dict(config)
    assert again.id == config.id == backwards.id
    assert hash(backwards) == hash(config)
    assert pickle.loads(pickle.dumps(config)) == config


@given(spaces(), seeds, st.floats(0, 1))
def test_every_producer_gives_a_canonical_config_of_the_space(case, seed, ratio):
    space, expected = case
    allowed = as_set(expected)
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng=rng), space.sample(rng=rng)
    genes = rng.integers(-3, 20, len(space))
    made = [
        first,
        second,
        space.largest,
        space.smallest,
        space.at_ratio(ratio),
        space.mutate(first, rng),
        space.mutate(first, rng, probability=0.5),
        space.cross(first, second, rng),
        space.from_indices(genes),
        space.nearest({"c0": first["c0"]}),
        *space.neighbours(first),
        *space.sample_many(3, rng),
    ]
    assert as_set(made) <= allowed
    for config in made:
        assert space.canonical(config) == config
        assert space.validate(config) == config
        assert list(config) == list(space)


@given(spaces())
def test_indices_round_trip(case):
    space, expected = case
    configs = [space.validate(config) for config in expected]
    genes = space.to_indices_many(configs)
    assert space.from_indices_many(genes) == configs
    assert space.from_indices(genes[0]) == configs[0]
    np.testing.assert_array_equal(space.canonical_indices(genes), genes)


@given(spaces(constrained=False), seeds)
def test_canonical_is_idempotent_and_touches_inactive_choices_only(case, seed):
    space, _ = case
    rng = np.random.default_rng(seed)
    raw = {
        name: choice.options[rng.integers(len(choice.options))] for name, choice in space.items()
    }
    canonical = space.canonical(raw)
    active = active_names(space, raw)
    assert space.canonical(canonical) == canonical
    for name, choice in space.items():
        assert canonical[name] == (raw[name] if name in active else choice.largest)
        assert space.is_active(name, raw) == (name in active)


@given(spaces(constrained=False))
def test_encodings_are_equal_exactly_for_configs_that_differ_only_in_inactive_choices(case):
    space, expected = case
    everything = [
        dict(zip(space, options, strict=True))
        for options in itertools.product(*(c.options for c in space.values()))
    ]
    for how in ("onehot", "ordinal"):
        for mask in (True, False):
            codes = space.encode(everything, how, mask_inactive=mask)
            assert codes.dtype == np.float64
            assert len(np.unique(codes, axis=0)) == len(expected)
            same = space.encode([space.canonical(config) for config in everything], how, mask)
            np.testing.assert_array_equal(codes, same)


@given(spaces(constrained=False), seeds)
def test_encodings_say_what_their_definition_says(case, seed):
    space, _ = case
    config = space.sample(seed)
    active = active_names(space, config)
    onehot = [
        float(option == config[name] and name in active)
        for name, choice in space.items()
        for option in choice.options
    ]
    ordinal = [
        choice.options.index(config[name]) if name in active else -1
        for name, choice in space.items()
    ]
    assert space.encode([config])[0].tolist() == onehot
    assert space.encode([config], "ordinal")[0].tolist() == ordinal
    genes = space.to_indices(config)[None]
    assert space.encode_indices(genes)[0].tolist() == onehot
    assert space.encode([config], mask_inactive=False).sum() == len(space)


@given(spaces(constrained=False), seeds)
def test_neighbours_are_all_configs_one_step_away(case, seed):
    space, expected = case
    config = space.sample(seed)
    active = active_names(space, config)

    def is_one_step(other):
        both = active & active_names(space, other)
        differing = [name for name in both if other[name] != config[name]]
        if len(differing) != 1:
            return False
        choice = space[differing[0]]
        steps = choice.options.index(other[differing[0]]) - choice.options.index(
            config[differing[0]]
        )
        # What the step switched on is at its largest option, as what it switched off.
        rest = {**config, differing[0]: other[differing[0]]}
        return (abs(steps) == 1 or not choice.is_number) and space.canonical(rest) == other

    listed = list(space.neighbours(config))
    assert len(as_set(listed)) == len(listed)
    assert as_set(listed) == as_set(other for other in expected if is_one_step(other))


@given(spaces(), seeds)
def test_neighbours_under_constraints_move_a_choice_that_was_active(case, seed):
    space, _ = case
    config = space.sample(seed)
    for other in space.neighbours(config):
        moved = [n for n in active_names(space, config) if other[n] != config[n]]
        assert moved


@given(spaces(), seeds)
def test_mutation_changes_the_config_unless_it_is_the_only_one(case, seed):
    space, _ = case
    config = space.sample(seed)
    for probability in (None, 0.0, 1.0):
        mutated = space.mutate(config, np.random.default_rng(seed), probability)
        assert (mutated != config) == (space.size > 1)


@given(spaces(constrained=False), seeds)
def test_crossing_takes_each_active_choice_from_a_parent(case, seed):
    space, _ = case
    rng = np.random.default_rng(seed)
    first, second = space.sample_many(2, rng, unique=False)
    child = space.cross(first, second, rng)
    for name in active_names(space, child):
        assert child[name] in (first[name], second[name])
    assert space.cross(first, first, rng) == first


@given(spaces(), seeds)
def test_the_same_seed_gives_the_same_config(case, seed):
    space, _ = case
    assert space.sample(seed) == space.sample(seed=seed)
    one, two = (np.random.default_rng(seed) for _ in range(2))
    assert space.sample_many(4, one) == space.sample_many(4, two)


@given(spaces(), seeds)
def test_unique_samples_are_as_many_as_there_are(case, seed):
    space, expected = case
    rng = np.random.default_rng(seed)
    many = space.sample_many(len(expected) + 3, rng)
    assert as_set(many) == as_set(expected)
    assert len(many) == len(expected)
    assert len(space.sample_many(7, rng, unique=False)) == 7


@given(spaces(constrained=False), st.floats(0, 1))
def test_at_ratio_takes_the_nearest_option(case, ratio):
    space, _ = case
    config = space.at_ratio(ratio)
    for name in active_names(space, config):
        choice = space[name]
        if choice.is_number:
            wanted = ratio * choice.full_size
            best = min(abs(option - wanted) for option in choice.options)
            assert abs(config[name] - wanted) == best
            assert config[name] == max(o for o in choice.options if abs(o - wanted) == best)
        else:
            assert config[name] == choice.options[0]


@given(spaces(constrained=False))
def test_corner_configs(case):
    space, _ = case
    assert space.largest == {name: choice.largest for name, choice in space.items()}
    first = {name: choice.options[0] for name, choice in space.items()}
    assert space.smallest == space.canonical(first)
    assert space.at_ratio(0.0) == space.smallest
    assert space.at_ratio(1.0) == space.largest


@given(spaces(), seeds)
def test_restricting_keeps_exactly_the_configs_that_stay(case, seed):
    space, expected = case
    config = space.sample(seed)
    narrow = space.restrict({name: config[name] for name in list(space)[:2]})
    for name in list(space)[:2]:
        assert narrow[name].options == (config[name],)
        assert narrow[name].size == space[name].size
    kept = {
        tuple(sorted((n, o) for n, o in c.items() if n in active_names(space, c)))
        for c in expected
        if all(c[n] == config[n] for n in list(space)[:2] if n in active_names(space, c))
    }
    listed = {
        tuple(sorted((n, o) for n, o in c.items() if n in active_names(narrow, c)))
        for c in narrow.configs()
    }
    assert listed == kept
