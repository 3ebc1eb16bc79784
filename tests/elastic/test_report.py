"""The report of a network: what varies, what is fixed and why, and how much of it that is."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from supple import Elastic
from supple.elastic import Elasticity
from supple.measure import MACs
from tests.families import ALL


class TwoLayers(nn.Module):
    """8 → 6 → 4, and a table that only an unknown position of is read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu())


def small(**settings: Any) -> Elastic:
    return Elastic(TwoLayers().eval(), (torch.randn(3, 8),), Elasticity(**settings))


def test_a_hand_counted_network() -> None:
    report = small().report()
    (row,) = report.elastic
    assert (row.name, row.kind, row.size) == ("first.width", "width", 6)
    assert row.members == ("first.weight[0]", "first.bias[0]", "last.weight[1]")
    assert row.params == 6 * 8 + 6 + 4 * 6
    assert row.options == small().space["first.width"].options
    assert (report.params, report.elastic_params) == (48 + 6 + 24 + 4, 48 + 6 + 24)
    assert (report.macs, report.elastic_macs) == (48 + 24, 48 + 24)
    fixed = [(f.name, f.operator) for f in report.fixed]
    ends = [("last.weight[0]", "output"), ("last.bias[0]", "output")]
    assert fixed == [("first.weight[1]", "input"), *ends]
    first, last = report.layers
    assert (first.name, first.operator, first.width, first.params) == ("first", "linear", 6, 54)
    assert (first.least, first.choices) == (row.options[0], ("first.width",))
    assert (last.width, last.least, last.choices) == (4, 4, ())
    assert last.reason == "output: is an output of the model"


def test_what_the_user_leaves_alone_counts_as_fixed() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    net = Elastic(model.eval(), (torch.randn(2, 8),), Elasticity(fixed=("0.width",)))
    report = net.report()
    assert [row.name for row in report.elastic] == ["2.width"]
    assert report.layers[0].choices == ()
    assert report.layers[0].reason == ""  # nothing forbids it but the user
    assert (report.macs, report.elastic_macs) == (48 + 30 + 10, 30 + 10)


@pytest.mark.parametrize("name", ALL)
def test_macs_are_those_that_are_counted_where_they_happen(name: str) -> None:
    model, example = ALL[name]()
    report = Elastic(model, example).report()
    assert report.macs == MACs(example=example).measure(model).value
    assert 0 < report.elastic_macs <= report.macs
    assert 0 < report.elastic_params <= report.params == sum(p.numel() for p in model.parameters())
    assert sum(layer.macs for layer in report.layers) <= report.macs


def test_layers_come_in_order_with_their_blocks() -> None:
    model, example = ALL["resnet18"]()
    layers = Elastic(model, example).report().layers
    assert [layer.name for layer in layers][:3] == ["conv1", "layers.0.0.conv1", "layers.0.0.conv2"]
    assert {layer.block for layer in layers} == {"", "layers.0.0", "layers.0.1", "layers.1.1"}


def test_the_least_width_is_that_of_the_smallest_network() -> None:
    for name in ("vit", "mobilenet_v3", "unet"):
        model, example = ALL[name]()
        net = Elastic(model, example)
        smallest = net.space.largest.replace(
            {n: c.options[0] for n, c in net.space.items() if c.kind != "depth"}
        )
        weights = dict(net.extract(smallest, prefer="graph").named_parameters())
        for layer in net.report().layers:
            weight = weights.get(f"{layer.name}.weight")
            if weight is not None and layer.operator in ("linear", "conv2d"):
                assert layer.least == weight.shape[0], layer.name


def test_it_is_json_and_reads_well() -> None:
    report = small().report()
    assert json.loads(json.dumps(report.to_data()))["layers"][0]["name"] == "first"
    text = str(report)
    assert text.startswith("1 choices; 95.1% of 82 parameters and 100.0% of 72 MACs are elastic")
    assert "first.weight[1]" in text
