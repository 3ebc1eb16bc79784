"""Splitting a model at its blocks and putting parts together again."""

import copy

import pytest
import torch
from torch import nn

from supple.compress.join import Joined, Stack, assembled, find_stack, shared_copy, streams
from supple.errors import CompressError
from tests.compress.join._models import inputs, model


def test_the_stack_is_found():
    assert find_stack(model(), inputs()) == Stack(
        container="blocks", blocks=("blocks.0", "blocks.1", "blocks.2")
    )


@pytest.mark.slow
def test_a_pretrained_kind_of_transformer_has_a_stack():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    bert = transformers.BertModel(config).eval()
    example = {"input_ids": torch.ones(2, 5, dtype=torch.long)}
    assert find_stack(bert, example).container == "encoder.layer"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_model_joined_to_itself_is_the_model(cut):
    one, x = model(), inputs()
    stack = find_stack(one, x)
    joined = Joined(one, one, stack, stack, front_blocks=cut, back_from=cut)
    assert torch.equal(joined(x), one(x))
    twin = copy.deepcopy(joined)
    assert torch.equal(twin(x), one(x))
    nn.init.zeros_(one.head.weight)
    assert torch.equal(joined(x), one(x))  # weights are shared
    assert not torch.equal(twin(x), one(x))  # those of a copy are not


def test_only_what_is_run_is_kept():
    small, large, x = model(), model(), inputs()
    stack = find_stack(small, x)
    joined = Joined(small, large, stack, stack, front_blocks=1, back_from=2)
    names = {name for name, _ in joined.named_parameters()}
    assert not [n for n in names if n.startswith(("front.head", "front.norm"))]
    assert len([n for n in names if "linear.weight" in n]) == 2


def test_joined_networks_are_exported_without_what_they_do_not_need():
    one, x = model(), inputs()
    stack = find_stack(one, x)
    joined = Joined(one, model(seed=1), stack, stack, front_blocks=1, back_from=2)
    program = torch.export.export(joined, (x,))
    assert torch.equal(program.module()(x), joined(x))
    program.graph.eliminate_dead_code()
    products = [n for n in program.graph.nodes if "aten.linear" in str(n.target)]
    assert len(products) == 4  # the front's stem, two blocks, the head; not the other stem


def test_streams_are_what_flows_between_the_blocks():
    one, x = model(), inputs()
    flow = streams(one, find_stack(one, x), x)
    assert len(flow) == 4
    torch.testing.assert_close(flow[0], one.stem(x).detach())
    torch.testing.assert_close(one.head(one.norm(flow[-1])), one(x))


def test_assembled_networks_take_stem_blocks_and_head_of_their_sources():
    a, b, x = model(seed=0), model(seed=1), inputs()
    stack = find_stack(a, x)
    whole = assembled([a, b], [list(a.blocks)[:1], list(b.blocks)[1:]], stack)
    expected = b.head(b.norm(b.blocks[2](b.blocks[1](a.blocks[0](a.stem(x))))))
    assert torch.equal(whole(x), expected)
    assert torch.equal(a(x), model(seed=0)(x))


def test_a_shared_copy_is_a_tree_of_its_own():
    one = model()
    twin = shared_copy(one)
    twin.blocks = nn.ModuleList()
    assert len(one.blocks) == 3
    assert twin.stem.weight is one.stem.weight


def test_bad_input():
    x = inputs()
    with pytest.raises(CompressError, match="no stack of blocks"):
        find_stack(nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 2)), x)
    with pytest.raises(CompressError, match="no stack 'block'"):
        find_stack(model(), x, "block")
    stack = find_stack(model(), x)
    with pytest.raises(CompressError, match="cannot be joined"):
        Joined(model(), model(), stack, stack, front_blocks=0, back_from=1)
    with pytest.raises(CompressError, match="no module 'blocks'"):
        stack.of(nn.Linear(1, 1))
