"""The size of the input as a choice: a sub-network makes its input smaller by itself."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity
from supple.errors import SpaceError
from supple.space import Resolution
from tests.elastic.convolutional import CONVOLUTIONAL
from tests.elastic.coverage import agreement, gradients
from tests.elastic.oracles import distance, doubled

HALVES = Elasticity(input_ratios=(0.5, 0.75), min_depth_ratio=0.0)


def test_images_of_a_smaller_side_are_those_the_model_gets_resized() -> None:
    model, (x,) = CONVOLUTIONAL["resnet50"]()
    model, x = doubled(model), doubled(x)
    net = Elastic(model, (x,), HALVES)
    assert net.space["input.resolution"] == Resolution(options=(16, 24, 32))
    for side in (16, 24, 32):
        config = net.space.largest.replace({"input.resolution": side})
        small = F.interpolate(x, size=(side, side), mode="bilinear") if side < 32 else x
        want = model(small)
        assert distance(net.at(config)(x), want) < 1e-12
        found = net.extraction(config)
        assert distance(found.network(x), want) < 1e-12
        assert (found.kind == "native") is (side == 32)
    assert agreement(net, (x,)) < 1e-10
    assert gradients(net, (x,)) == ""
    rows = {row.name: row for row in net.report().elastic}
    assert rows["input.resolution"].options == (16, 24, 32)


def test_a_smaller_input_trains_on_the_same_weights() -> None:
    model, (x,) = CONVOLUTIONAL["se_resnet"]()
    net = Elastic(model, (x,), HALVES).train()
    config = net.space.largest.replace({"input.resolution": 16})
    state = copy.deepcopy(net.state_dict())
    small = F.interpolate(x, size=(16, 16), mode="bilinear")
    with torch.no_grad():
        want = copy.deepcopy(model).train()(small)
        assert distance(net.at(config)(x), want) < 1e-5
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())
    net.at(config)(x).sum().backward()
    assert all(w.grad is not None for _, w in net.named_weights())


class Reader(nn.Module):
    """Words, a mask, and a mean over the words that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 16), nn.Linear(16, 3)
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        x = self.layer(self.embed(words)) * mask[..., None]
        return self.head(x.sum(1) / mask.sum(1, keepdim=True))


def test_of_sequences_the_first_tokens_are_kept_in_every_input_of_that_shape() -> None:
    torch.manual_seed(0)
    model = Reader().double().eval()
    words, mask = torch.randint(0, 11, (2, 8)), torch.rand(2, 8).double() + 0.5
    net = Elastic(model, {"words": words, "mask": mask}, HALVES)
    assert net.space["input.length"].options == (4, 6, 8)
    config = net.space.largest.replace({"input.length": 6})
    want = model(words[:, :6], mask[:, :6])
    assert distance(net.at(config)(words=words, mask=mask), want) < 1e-12
    assert distance(net.extract(config)(words, mask), want) < 1e-12
    more = torch.randint(0, 11, (5, 8)), torch.rand(5, 8).double() + 0.5
    assert distance(net.at(config)(*more), model(more[0][:, :6], more[1][:, :6])) < 1e-12


class Flat(nn.Module):
    """Knows one size only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).flatten(1))


def test_sizes_that_a_model_does_not_take_are_not_offered_and_said() -> None:
    net = Elastic(Flat().eval(), (torch.randn(2, 3, 8, 8),), HALVES)
    assert not any(choice.kind == "resolution" and len(choice.options) > 1
                   for choice in net.space.values())  # fmt: skip
    assert [n for n in net.notes if n.startswith("input.resolution 4 is not offered: the model")]


def test_sizes_that_change_the_output_are_not_offered_and_said() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)).eval()
    net = Elastic(model, (torch.randn(2, 3, 8, 8),), HALVES)
    assert "input.resolution" not in net.space
    assert "input.resolution 4 is not offered: the output has another shape" in net.notes


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_remembers_its_input_is_left_as_it_was() -> None:
    transformers = pytest.importorskip("transformers")
    settings: dict[str, Any] = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1],
                                "num_heads": [2, 2], "window_size": 4}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.SwinForImageClassification(transformers.SwinConfig(**settings)).eval()
    x = torch.randn(2, 3, 16, 16)
    want = model(pixel_values=x).logits
    Elastic(model, {"pixel_values": x}, HALVES)
    assert torch.equal(model(pixel_values=x).logits, want)


def test_without_being_asked_for_no_size_is_offered() -> None:
    model, example = CONVOLUTIONAL["repvgg"]()
    assert not any(c.kind == "resolution" for c in Elastic(model, example).space.values())
    with pytest.raises(SpaceError, match="input_ratios"):
        Elasticity(input_ratios=(1.5,))
