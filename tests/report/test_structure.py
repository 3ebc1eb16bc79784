"""Structures in few words."""

from supple.report import Result
from supple.report._result import Layer
from supple.report._structure import describe_config, dropped_blocks, full_sizes, kept_share


def layer(name, is_kept):
    return Layer(
        name=name,
        before=(4, 4),
        after=(2, 4) if is_kept else None,
        params_before=16,
        params_after=8 if is_kept else 0,
    )


def test_a_dropped_block_is_named_by_its_shortest_name_with_nothing_left():
    layers = [
        layer("stem", True),
        layer("layer1.0.conv1", True),
        layer("layer1.1.conv1", False),
        layer("layer1.1.conv2", False),
        layer("layer2.0.conv1", False),
        layer("layer2.1.conv1", False),
        layer("head.norm", False),
        layer("head.fc", True),
    ]
    assert dropped_blocks(layers) == ("layer1.1", "layer2", "head.norm")


def test_a_dropped_layer_whose_name_is_a_prefix_of_a_kept_one_keeps_its_own_name():
    assert dropped_blocks([layer("a", False), layer("a.b", True)]) == ("a",)


def test_nothing_dropped_names_nothing():
    assert dropped_blocks([layer("a", True)]) == ()


def test_a_config_is_described_by_what_it_cuts_part_by_part():
    sizes = {"stem.width": 16, "layer1.0.width": 32, "layer1.1.width": 32, "layer2.act": "relu"}
    config = {"stem.width": 16, "layer1.0.width": 8, "layer1.1.width": 24, "layer2.act": "gelu"}
    lines = describe_config(config, sizes)
    assert lines == ("layer1: 0.width 8/32, 1.width 24/32", "layer2: act gelu")
    assert describe_config(sizes, sizes) == ("nothing is cut",)


def test_a_description_stays_short_however_many_choices_there_are():
    sizes = {f"part{part}.{block}": 64 for part in range(30) for block in range(40)}
    lines = describe_config(dict.fromkeys(sizes, 8), sizes)
    assert len(lines) == 8
    assert lines[-1] == "… and 23 more parts"
    assert lines[0].endswith("… 35 more")


def test_full_sizes_come_from_the_structure_then_the_cuts_then_the_largest_option(data):
    data["structure"] = {"elastic": [{"name": "layer1.width", "kind": "width", "size": 16}]}
    data["cuts"] = [{"name": "layer1.depth", "kind": "depth", "kept": 2, "of": 3}]
    for trial in data["trials"]:
        trial["config"] = {"layer1.width": 8, "layer1.depth": 2, "free": trial["number"]}
    data["pick"]["config"] = data["trials"][0]["config"]
    sizes = full_sizes(Result.of(data))
    assert sizes == {"layer1.width": 16, "layer1.depth": 3, "free": 59}


def test_a_share_is_a_fraction_and_a_name_has_none():
    assert kept_share(8, 32) == 0.25
    assert kept_share(3, 0) is None
    assert kept_share("gelu", "relu") is None
