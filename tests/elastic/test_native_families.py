"""Transformers of many families: saved and loaded again they are the same, and they generate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from supple import Elastic
from supple.space import Config
from tests.elastic.coverage import FINE
from tests.elastic.oracles import distance, run

pytest.importorskip("transformers")
from tests.elastic.architectures import build

SLOW = pytest.mark.slow


def alike(net: Elastic) -> Config:
    """Half of every width and of the heads, the same in every layer; depth and head sizes stay."""
    space = net.space
    stays = ("depth", "head_size", "kernel")
    names = [name for name in space if not any(word in name for word in stays)]
    nearest = {
        name: min(
            space[name].options, key=lambda n, full=space[name].options[-1]: abs(n - full / 2)
        )
        for name in names
    }
    return space.largest.replace(nearest)


def shallower(net: Elastic) -> Config:
    """Half of the layers."""
    depths = [name for name in net.space if name.endswith(".depth")]
    return net.space.largest.replace({n: net.space[n].options[-1] // 2 for n in depths})


def hugging_face_part(network: nn.Module) -> nn.Module:
    """The Hugging Face model, which may be inside of a module that keeps its logits only."""
    return network if hasattr(network, "save_pretrained") else network.model


@pytest.mark.parametrize(
    "name",
    [
        "distilbert", "mistral", "gpt_neox", "phi3",
        pytest.param("qwen2", marks=SLOW), pytest.param("olmo", marks=SLOW),
        pytest.param("swin", marks=SLOW), pytest.param("whisper", marks=SLOW),
        pytest.param("bart", marks=SLOW),
    ],
)  # fmt: skip
def test_what_save_pretrained_writes_is_the_extracted_network(name: str, tmp_path: Any) -> None:
    model, example = build(name)
    net = Elastic(model, example, FINE)
    config = alike(net)
    found = net.extraction(config)
    assert found.kind == "native", found.reason
    assert "from_pretrained give this network" in found.notes[0]
    small = hugging_face_part(found.network)
    assert type(small) is type(hugging_face_part(model))
    want = run(net.extract(config, prefer="graph"), example)
    assert distance(run(found.network.eval(), example), want) < 1e-5

    small.save_pretrained(tmp_path)
    again = type(small).from_pretrained(tmp_path).eval()
    states = small.state_dict(), again.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    if found.network is not small:
        found.network.model = again
        assert distance(run(found.network, example), want) < 1e-5
    else:
        assert distance(run(again, example), want) < 1e-5


def test_a_tensor_that_no_call_reads_stays_whole_and_is_named() -> None:
    model, example = build("dinov2")  # its mask token is for training with masked patches
    net = Elastic(model, example, FINE)
    found = net.extraction(alike(net))
    assert found.kind == "native", found.reason
    assert "mask_token is (1, 32) here and (1, 16)" in found.notes[0]


@pytest.mark.parametrize(
    "name", [pytest.param("mistral", marks=SLOW), pytest.param("whisper", marks=SLOW)]
)
def test_fewer_layers_generate_with_a_cache_what_they_do_without(name: str) -> None:
    model, example = build(name)
    net = Elastic(model, example, FINE)
    found = net.extraction(shallower(net))
    assert found.kind == "native", found.reason
    small = hugging_face_part(found.network).eval()
    start = example.get("input_features", example["input_ids"] if name == "mistral" else None)
    asked = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    with_cache = small.generate(start, use_cache=True, **asked)
    assert torch.equal(with_cache, small.generate(start, use_cache=False, **asked))


def test_a_network_that_its_config_cannot_say_is_told() -> None:
    """Gemma multiplies its words by the root of the width, which the smaller width changes."""
    model, example = build("gemma")
    net = Elastic(model, example, FINE)
    found = net.extraction(alike(net))
    assert found.kind == "native", found.reason
    assert "from_pretrained would build another network" in found.notes[0]
    want = run(net.extract(alike(net), prefer="graph"), example)
    assert distance(run(found.network.eval(), example), want) < 1e-5  # still the full one's root
