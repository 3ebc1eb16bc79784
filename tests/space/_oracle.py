"""Small random spaces, and what their configs are by plain enumeration."""

import itertools
import math

from hypothesis import strategies as st

from supple.space import (
    Bits,
    Condition,
    Depth,
    Divides,
    Equal,
    Kernel,
    Multiple,
    Ordered,
    Resolution,
    Space,
    Sum,
    Swap,
    Width,
)

NUMBERS = (Width, Depth, Kernel, Resolution)


def active_names(choices, options):
    """Which choices are active, straight from the definition."""

    def is_active(name):
        when = choices[name].when
        return not when or any(options[c.choice] in c.options and is_active(c.choice) for c in when)

    return {name for name in choices if is_active(name)}


def canonical(choices, options):
    active = active_names(choices, options)
    return {n: o if n in active else choices[n].largest for n, o in options.items()}


def holds(constraint, options, active):
    """Whether a constraint holds, written apart from the library's own two ways."""
    values = [options[name] for name in constraint.involved() if name in active]
    match constraint:
        case Equal():
            return len(set(values)) <= 1
        case Ordered():
            return values == sorted(values)
        case Divides():
            return len(values) < 2 or (values[0] != 0 and values[1] % values[0] == 0)
        case Multiple():
            return all(value % constraint.of == 0 for value in values)
        case Sum():
            low = -math.inf if constraint.at_least is None else constraint.at_least
            high = math.inf if constraint.at_most is None else constraint.at_most
            return low <= sum(values) <= high
    raise AssertionError(constraint)


def all_configs(choices, constraints=()):
    """Every canonical config, by trying all combinations."""
    found = {}
    for options in itertools.product(*(choice.options for choice in choices.values())):
        config = canonical(choices, dict(zip(choices, options, strict=True)))
        active = active_names(choices, config)
        if all(holds(c, config, active) for c in constraints):
            found[tuple(config.items())] = config
    return list(found.values())


@st.composite
def conditions(draw, choices):
    """Conditions on choices that are already there."""
    found = []
    for name in draw(st.lists(st.sampled_from(list(choices)), max_size=2)):
        some = st.lists(st.sampled_from(choices[name].options), unique=True, min_size=1)
        found.append(Condition(choice=name, options=tuple(draw(some))))
    return tuple(found)


@st.composite
def choice_maps(draw, most=5):
    """A few choices of all kinds, some of them depending on earlier ones."""
    choices = {}
    for index in range(draw(st.integers(1, most))):
        when = draw(conditions(choices)) if choices else ()
        numbers = st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True)
        if draw(st.integers(0, 3)) == 0:
            names = st.lists(st.sampled_from("pqrs"), min_size=1, max_size=3, unique=True)
            choice = Swap(options=tuple(draw(names)), when=when)
        else:
            options = tuple(sorted(draw(numbers)))
            kind = draw(st.sampled_from((*NUMBERS, Bits)))
            size = None if kind is Bits else options[-1] + draw(st.integers(0, 3))
            choice = kind(options=options, size=size, when=when)
        choices[f"c{index}"] = choice
    return choices


@st.composite
def constraint_lists(draw, choices):
    """Up to two constraints over choices of numbers."""
    names = [name for name, choice in choices.items() if choice.is_number]
    found = []
    for _ in range(draw(st.integers(0, 2)) if names else 0):
        some = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        kind = draw(st.sampled_from((Equal, Ordered, Divides, Multiple, Sum)))
        if kind in (Equal, Ordered) and len(some) > 1:
            found.append(kind(names=tuple(some)))
        elif kind is Divides and len(some) > 1:
            found.append(Divides(divisor=some[0], number=some[1]))
        elif kind is Sum:
            bound = draw(st.integers(1, 30))
            side = draw(st.sampled_from(("at_most", "at_least")))
            found.append(Sum(names=tuple(some), **{side: bound}))
        else:
            found.append(Multiple(name=some[0], of=draw(st.integers(1, 3))))
    return tuple(found)


@st.composite
def spaces(draw, constrained=True, most=5):
    """A space that has at least one config, with all its configs."""
    choices = draw(choice_maps(most=most))
    constraints = draw(constraint_lists(choices)) if constrained else ()
    configs = all_configs(choices, constraints)
    if not configs:
        constraints, configs = (), all_configs(choices)
    return Space(choices, constraints), configs
