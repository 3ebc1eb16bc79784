"""A sub-network cuts only the tensors that it reads."""

from __future__ import annotations

import torch

from supple import Elastic
from supple.elastic._plan import UNREAD
from tests.elastic.oracles import distance
from tests.families import ALL


def unread(net, config):
    """Names of the stored tensors that a config leaves alone."""
    net.at(config)(*example_of(net))
    plan = net.plan(config)
    runner = net._runners[0]
    pieces = runner._pieces(plan, net._cutter)
    return {n for n, cut in zip(runner.program.stored, pieces, strict=True) if cut is UNREAD}


def example_of(net):
    return (torch.randn(2, 3, 8, 8),)


def test_the_tensors_of_skipped_blocks_are_not_cut_and_all_others_are():
    model, _ = ALL["resnet_option_a"]()
    net = Elastic(model, example_of(model)).eval()
    assert not unread(net, net.space.smallest.replace(deepest(net)))
    config = net.space.smallest
    dropped = [block for blocks in net.dropped_blocks(config).values() for block in blocks]
    assert dropped
    # The smallest config skips blocks; what is under their names, and nothing else, is unread.
    stored = net._runners[0].program.stored
    want = {n for n in stored if any(n.startswith(f"{block}.") for block in dropped)}
    assert unread(net, config) == want
    example = example_of(model)
    assert distance(net.at(config)(*example), net.extract(config)(*example)) < 1e-5


def deepest(net):
    """All depths at their largest."""
    return {n: c.options[-1] for n, c in net.space.items() if c.kind == "depth"}
