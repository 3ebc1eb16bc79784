"""Attentions and MLPs that may be left out one by one, beside the layers as a whole."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity
from tests.elastic.coverage import agreement
from tests.elastic.oracles import distance, doubled
from tests.families import ALL

PARTS = Elasticity(parts=True, min_depth_ratio=0.0)


class Nothing(nn.Module):
    """Zero, whatever comes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_a_part_that_is_left_out_adds_nothing() -> None:
    model, (x,) = ALL["vit"]()
    model, x = doubled(model), doubled(x)
    net = Elastic(model, (x,), PARTS)
    depths = {n: c.options for n, c in net.space.items() if c.kind == "depth"}
    assert depths == dict.fromkeys(
        ("blocks.depth", "blocks.attn.depth", "blocks.mlp.depth"), (0, 1, 2, 3)
    )
    for attentions in range(4):
        for layers in range(4):
            config = net.space.largest.replace(
                {"blocks.attn.depth": attentions, "blocks.mlp.depth": 2, "blocks.depth": layers}
            )
            config = net.space.validate(config)
            smaller = copy.deepcopy(model)
            for i, block in enumerate(smaller.blocks):
                if i >= layers or i >= attentions:
                    block.attn = Nothing()
                if i >= layers or i >= 2:
                    block.mlp = Nothing()
            want = smaller(x)
            assert distance(net.at(config)(x), want) < 1e-12
            assert distance(net.extract(config)(x), want) < 1e-12
    assert net.dropped_blocks(config)["blocks.mlp.depth"] == ["blocks.2.mlp"]


def test_parts_are_no_choice_unless_asked_for() -> None:
    model, example = ALL["vit"]()
    assert [n for n, c in Elastic(model, example).space.items() if c.kind == "depth"] == [
        "blocks.depth"
    ]


def test_a_pattern_leaves_the_parts_of_some_kind_alone() -> None:
    model, example = ALL["vit"]()
    net = Elastic(model, example, Elasticity(parts=True, fixed=("*.mlp.depth",)))
    assert "blocks.attn.depth" in net.space
    assert "blocks.mlp.depth" not in net.space


def test_random_configs_with_parts_extract_to_the_same() -> None:
    for name in ("swin", "grouped_queries", "convnext"):
        model, example = ALL[name]()
        assert agreement(Elastic(model, example, PARTS), example) < 1e-5


def test_layers_of_one_branch_have_no_parts() -> None:
    model, example = ALL["resnet18"]()
    assert Elastic(model, example, PARTS).structure.parts == []
