"""Constraints of the user: minimum sizes, multiples, what stays, what moves together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from supple import Elastic
from supple.elastic import Elasticity
from supple.errors import SpaceError
from supple.space import Equal, Space
from tests.elastic.oracles import distance, run
from tests.families import ALL


def vit_space(**settings: object) -> Space:
    model, example = ALL["vit"]()
    return Elastic(model, example, Elasticity(**settings)).space  # type: ignore[arg-type]


MLPS = ("blocks.0.mlp.0.width", "blocks.1.mlp.0.width", "blocks.2.mlp.0.width")


def test_sizes_are_multiples_and_not_below_the_minimum_where_a_pattern_says_so() -> None:
    space = vit_space(
        multiple_of={"*.mlp.*.width": 16, "*": 4}, min_size={"blocks.1.mlp.*.width": 32, "*": 10}
    )
    assert space[MLPS[0]].options == (16, 32, 48)
    assert space[MLPS[1]].options == (32, 48)
    assert all(n % 4 == 0 for n in space["embed.width"].options)
    assert min(space["embed.width"].options) == 12


def test_what_a_pattern_leaves_alone_is_no_choice() -> None:
    space = vit_space(fixed=("blocks.1.mlp.0.*", "*.heads"))
    assert MLPS[1] not in space
    assert MLPS[0] in space
    assert not any(name.endswith(".heads") for name in space)


def test_choices_of_a_group_always_have_one_option() -> None:
    space = vit_space(together=("*.mlp.0.width", ("*.heads",)))
    heads = tuple(name for name in space if name.endswith(".heads"))
    assert space.constraints == (Equal(names=MLPS), Equal(names=heads))
    for config in space.sample_many(30, np.random.default_rng(0)):
        for group in (MLPS, heads):
            active = {config[name] for name in group if space.is_active(name, config)}
            assert len(active) <= 1
    whole = vit_space(together=("*.mlp.0.width", ("*.heads",)), depths=False)
    alone = vit_space(depths=False)
    per_group = len(whole[MLPS[0]].options) ** 2 * len(whole[heads[0]].options) ** 2
    assert whole.size * per_group == alone.size


def test_several_patterns_may_make_up_one_group() -> None:
    space = vit_space(together=[("blocks.0.mlp.0.width", "blocks.2.mlp.*")], depths=False)
    assert space.constraints == (Equal(names=(MLPS[0], MLPS[2])),)


def test_axes_of_unlike_sizes_move_with_those_of_their_own_size() -> None:
    model, example = ALL["resnet18"]()
    net = Elastic(model, example, Elasticity(together=("layers.*.conv1.width",)))
    groups = [constraint.involved() for constraint in net.space.constraints]
    sizes = [{net.space[name].size for name in group} for group in groups]
    assert sizes == [{8}, {16}]
    config = net.space.at_ratio(0.5)
    assert distance(run(net.extract(config), example), run(net.at(config), example)) < 1e-5
    assert not [note for note in net.notes if "left whole" in note]


def test_one_that_cannot_be_cut_does_not_hold_the_others() -> None:
    """Choices are tried one by one too, which breaks a group: that is not held against them."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.b(self.a(x).relu()).relu())

    net = Elastic(Odd().eval(), (torch.randn(2, 4),), Elasticity(together=("[ab].width",)))
    assert set(net.space) == {"a.width", "b.width"}
    assert net.space.size == len(net.space["a.width"].options)


def test_a_pattern_that_matches_no_choice_names_the_nearest() -> None:
    with pytest.raises(SpaceError, match="together matches no choice") as caught:
        vit_space(together=("*.mlp.0.widht",))
    assert "blocks.0.mlp.0.width" in str(caught.value)


def test_settings_are_values() -> None:
    one = Elasticity(together=[["a", "b"], "c"])  # type: ignore[arg-type, list-item]
    assert one == Elasticity(together=(("a", "b"), "c"))
    assert hash(one)
    assert Elasticity(together="x").together == ("x",)  # type: ignore[arg-type]


# A Hugging Face config has one width for all layers: what moves together can be saved and loaded.
def test_with_layers_alike_every_sub_network_fits_its_config() -> None:
    t = pytest.importorskip("transformers")
    config = t.LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, use_cache=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = t.LlamaForCausalLM(config).eval()
    together = ("*.mlp.gate_proj.width", "*.heads1", "*.heads2")
    fixed = ("*.head_size",)
    example = {"input_ids": torch.randint(0, 40, (2, 6))}
    net = Elastic(model, example, Elasticity(together=together, fixed=fixed, min_depth_ratio=0.5))
    for config in net.space.sample_many(2, np.random.default_rng(1)):
        found = net.extraction(config)
        assert found.kind == "native", found.reason
        assert "save_pretrained and from_pretrained give" in found.notes[0], (config, found.notes)
