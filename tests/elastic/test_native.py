"""Native extraction: the user's own classes, equal to the graph, or the graph with a reason."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity
from supple.errors import ConfigError
from tests.elastic.oracles import distance, run, scalar
from tests.families import ALL

# Families that shrink whole: every config is native.
WHOLE = [
    "resnet18", "vgg", "densenet", "mobilenet_v3", "mobilenet_v2", "convnext", "resnext_in_place",
    "preactivation_resnet", "mlp", "grouped_convolution", "unet", "several_inputs_and_outputs",
    "shared_module", "convolutions_in_one_dimension",
]  # fmt: skip


@cache
def elastic(name: str) -> tuple[nn.Module, Any, Elastic]:
    model, example = ALL[name]()
    return model, example, Elastic(model, example, Elasticity(min_depth_ratio=0.0))


def some_configs(net: Elastic, count: int = 2) -> list[Any]:
    drawn = net.space.sample_many(count, np.random.default_rng(3))
    return [*drawn, net.space.smallest, net.space.largest]


def check_same(network: nn.Module, graph: nn.Module, example: Any) -> None:
    """Outputs in both modes and gradients are those of the graph."""
    for training in (False, True):
        network.train(training)
        graph.train(training)
        got, want = run(network, example), run(graph, example)
        assert distance(got, want) < 1e-5
    scalar(got).backward()
    scalar(want).backward()
    gradients = {n: p.grad for n, p in graph.named_parameters()}
    for name, parameter in network.named_parameters():
        wanted = gradients[name]
        assert (parameter.grad is None) == (wanted is None), name
        if wanted is not None:
            scale = wanted.abs().max().clamp_min(1e-3)
            assert (parameter.grad - wanted).abs().max() < 1e-3 * scale, name


@pytest.mark.parametrize("name", WHOLE)
def test_every_config_of_these_is_the_models_own_class_and_equals_the_graph(name: str) -> None:
    model, example, net = elastic(name)
    before = copy.deepcopy(net.state_dict())
    for config in some_configs(net):
        found = net.extraction(config, prefer="native")
        assert found.kind == "native", found.reason
        assert type(found.network) is type(model)
        graph = net.extract(config, prefer="graph")
        state, other = found.network.state_dict(), graph.state_dict()
        assert state.keys() == other.keys()
        assert all(torch.equal(state[k], other[k]) for k in state)
        check_same(found.network, graph, example)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())


SLOW = {"swin", "tied_transformer_encoder", "multihead_attention", "grouped_queries_by_hand"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in sorted(set(ALL) - set(WHOLE))
    ],
)
def test_whatever_comes_out_equals_the_graph_and_says_why(name: str) -> None:
    model, example, net = elastic(name)
    for config in some_configs(net, 1):
        found = net.extraction(config)
        assert found.reason
        if found.kind == "native":
            assert type(found.network) is type(model)
            check_same(found.network, net.extract(config, prefer="graph"), example)
    assert found.kind == "native"  # the largest is the model itself


def test_the_attributes_of_torch_modules_say_the_new_sizes() -> None:
    _, _, net = elastic("mobilenet_v3")
    small = net.extract(net.space.smallest)
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            assert module.out_channels == module.weight.shape[0]
            assert module.in_channels == module.weight.shape[1] * module.groups
            assert module.kernel_size == tuple(module.weight.shape[2:])
        elif isinstance(module, nn.BatchNorm2d):
            assert module.num_features == len(module.running_mean)
        elif isinstance(module, nn.Linear):
            assert (module.out_features, module.in_features) == tuple(module.weight.shape)


def test_its_state_goes_into_another_copy_of_itself() -> None:
    _, example, net = elastic("resnet18")
    config = net.space.at_ratio(0.5)
    one, other = net.extract(config), net.extract(config)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(one.state_dict())
    assert distance(run(other, example), run(one, example)) == 0.0
    places = [{p.data_ptr() for p in network.parameters()} for network in (one, other, net)]
    assert not places[0] & places[1]
    assert not places[0] & places[2]


def test_a_dropped_residual_block_becomes_an_identity_and_keeps_all_names() -> None:
    _, _, net = elastic("mobilenet_v2")
    depths = [name for name in net.space if name.endswith(".depth")]
    config = net.space.largest.replace({name: net.space[name].options[0] for name in depths})
    found = net.extraction(config)
    gone = [block for name in depths for block in net.dropped_blocks(config)[name]]
    assert found.kind == "native"
    assert gone
    assert all(isinstance(found.network.get_submodule(name), nn.Identity) for name in gone)
    assert not found.renamed


# -- the user's own attributes ------------------------------------------------------------------
@dataclasses.dataclass
class Settings:
    width: int = 24
    heads: int = 4


class Attention(nn.Module):
    """Heads and their size as attributes, and a record of settings that the code reads."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.num_heads, self.head_dim = settings.heads, 8
        inner = self.num_heads * self.head_dim
        self.qkv = nn.Linear(settings.width, 3 * inner)
        self.out = nn.Linear(inner, settings.width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.settings.heads, self.head_dim).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        weights = (q @ k.transpose(-2, -1) * 8**-0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, n, self.num_heads * self.head_dim))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        settings = Settings()
        self.embed = nn.Linear(6, settings.width)
        self.attention = Attention(settings)
        self.norm = nn.LayerNorm(settings.width)
        self.head = nn.Linear(settings.width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(self.norm(x + self.attention(x)))


def test_attributes_that_name_sizes_follow_them() -> None:
    model = Model().eval()
    net = Elastic(model, (torch.randn(2, 5, 6),))
    names = {name.rpartition(".")[2]: name for name in net.space if "qkv" in name}
    sizes = {names["heads"]: 2, "embed.width": 12}
    sizes |= {name: 4 for key, name in names.items() if key.startswith("head_size")}
    found = net.extraction(net.space.largest.replace(sizes))
    assert found.kind == "native", found.reason
    attention = found.network.attention
    assert (attention.num_heads, attention.head_dim) == (2, 4)
    assert attention.settings == Settings(width=12, heads=2)
    assert model.attention.settings == Settings()  # the model that was brought is left alone


class OtherSizes(nn.Module):
    """Numbers equal to the width that are no size of it: they have to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.times, self.window_size = 8, 8, 8
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x)).view(-1, self.dim) * self.times
        return self.last(x)[:, : self.window_size]


def test_numbers_that_only_happen_to_be_the_same_stay() -> None:
    net = Elastic(OtherSizes().eval(), (torch.randn(3, 8),))
    found = net.extraction(net.space.largest.replace({"first.width": 5}))
    assert found.kind == "native", found.reason
    assert (found.network.dim, found.network.times, found.network.window_size) == (5, 8, 8)


def test_what_its_code_cannot_say_is_given_as_the_graph_with_the_reason() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 12), nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).reshape(-1, 12))  # the size stands in the code

    net = Elastic(Fixed().eval(), (torch.randn(2, 4),))
    found = net.extraction(net.space.largest.replace({"first.width": 6}))
    assert found.kind == "graph"
    assert "reshape(-1, 12)" in found.reason
    assert "shape" in found.reason


def test_a_model_that_cannot_be_copied_is_given_as_the_graph() -> None:
    class Alone(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("there is only one of me")

    net = Elastic(nn.Sequential(Alone(4, 8), nn.Linear(8, 2)).eval(), (torch.randn(2, 4),))
    found = net.extraction(net.space.smallest)
    assert (found.kind, "only one of me" in found.reason) == ("graph", True)


def test_a_network_of_another_precision_and_a_copy_are_native_too() -> None:
    model, example = ALL["vgg"]()
    net = Elastic(model, example)
    twin = copy.deepcopy(net).double()
    x = example[0].double()
    for other in (net, twin):
        found = other.extraction(net.space.smallest)
        assert found.kind == "native", found.reason
    assert distance(found.network.eval()(x), twin.at(net.space.smallest)(x)) < 1e-10


def test_extracting_leaves_modes_and_random_numbers_as_they_were() -> None:
    model, example = ALL["vit"]()
    net = Elastic(model, example).train()
    state = torch.get_rng_state()
    found = net.extraction(net.space.largest)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in (*found.network.modules(), *net.modules()))


def test_the_graph_can_be_asked_for() -> None:
    _, _, net = elastic("mlp")
    found = net.extraction(net.space.smallest, prefer="graph")
    assert (found.kind, found.reason) == ("graph", "it was asked for")
    with pytest.raises(ConfigError, match="native"):
        net.extract(net.space.smallest, prefer="natif")  # type: ignore[arg-type]


def attention_layer(width: int, heads: int) -> nn.Module:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(5, width)
            self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
            self.head = nn.Linear(width, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.embed(x)
            return self.head(self.attention(x, x, x, need_weights=False)[0])

    return Layer().eval()


def cut_attention(net: Elastic, width: int, heads: int, head_size: int) -> Any:
    ends = {"width": width, "heads": heads, "head_size": head_size}
    sizes = {name: ends[name.rpartition(".")[2].rstrip("12")] for name in net.space}
    return net.space.largest.replace(sizes)


@pytest.mark.parametrize(("width", "heads", "head_size"), [(8, 2, 4), (8, 4, 2), (4, 2, 2)])
def test_multihead_attention_shrinks_where_its_width_is_heads_times_head_size(
    width: int, heads: int, head_size: int
) -> None:
    net = Elastic(attention_layer(16, 4), (torch.randn(2, 3, 5),), Elasticity(multiple_of=2))
    found = net.extraction(cut_attention(net, width, heads, head_size))
    assert found.kind == "native", found.reason
    attention = found.network.attention
    assert type(attention) is nn.MultiheadAttention
    sizes = (attention.embed_dim, attention.num_heads, attention.head_dim)
    assert sizes == (width, heads, head_size)
    x = torch.randn(4, 3, 5)
    graph = net.extract(cut_attention(net, width, heads, head_size), prefer="graph")
    assert distance(found.network(x), graph(x)) < 1e-5  # its scale would follow the head size


def test_multihead_attention_of_another_shape_is_left_to_the_graph() -> None:
    net = Elastic(attention_layer(16, 4), (torch.randn(2, 3, 5),), Elasticity(multiple_of=2))
    found = net.extraction(cut_attention(net, 8, 2, 2))
    assert (found.kind, found.reason) == (
        "graph", "MultiheadAttention is 8 wide and has 4 = heads × head size"
    )  # fmt: skip


# -- Hugging Face -----------------------------------------------------------------------------
transformers = pytest.importorskip("transformers")
COMMON = {"vocab_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4}


@cache
def hugging_face(name: str) -> tuple[nn.Module, dict[str, Tensor], Elastic]:
    t = transformers
    ids = torch.randint(0, 40, (2, 7), generator=torch.Generator().manual_seed(0))
    example = {"input_ids": ids}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "bert":
            config = t.BertConfig(hidden_size=32, intermediate_size=64, **COMMON)
            model = t.BertForSequenceClassification(config)
            example["attention_mask"] = torch.ones_like(ids)
        elif name == "gpt2":
            config = t.GPT2Config(
                vocab_size=40, n_embd=32, n_layer=3, n_head=4, n_positions=32, use_cache=False,
                bos_token_id=0, eos_token_id=None,
            )  # fmt: skip
            model = t.GPT2LMHeadModel(config)
        elif name == "llama":
            config = t.LlamaConfig(
                hidden_size=32, num_key_value_heads=2, intermediate_size=64, use_cache=False,
                pad_token_id=0, eos_token_id=None, **COMMON,
            )  # fmt: skip
            model = t.LlamaForCausalLM(config)
        elif name == "vit":
            config = t.ViTConfig(
                hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
                image_size=8, patch_size=4,
            )  # fmt: skip
            model = t.ViTForImageClassification(config)
            example = {"pixel_values": torch.randn(2, 3, 8, 8)}
        else:
            config = t.T5Config(
                vocab_size=40, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                use_cache=False,
            )  # fmt: skip
            model = t.T5ForConditionalGeneration(config)
            example["decoder_input_ids"] = ids[:, :5].clone()
    return model, example, Elastic(model.eval(), example)


MLP = ("intermediate", ".mlp.", "DenseReluDense")


def cut(net: Elastic, *words: str) -> Any:
    """About half of every choice whose name has one of the words, the same in every layer."""
    space = net.space
    half = {n: c.options[(len(c.options) - 1) // 2] for n, c in space.items()}
    return space.largest.replace({n: half[n] for n in space if any(w in n for w in words)})


def check_hugging_face(name: str, *words: str) -> nn.Module:
    model, example, net = hugging_face(name)
    config = cut(net, *words)
    found = net.extraction(config)
    assert found.kind == "native", found.reason
    assert type(found.network) is type(model)
    graph = net.extract(config, prefer="graph")
    assert distance(run(found.network, example), run(graph, example)) < 1e-5
    kept, whole = (sum(p.numel() for p in m.parameters()) for m in (found.network, model))
    assert kept < whole
    names = {found.original_name(n) for n, _ in found.network.named_parameters()}
    assert names <= {n for n, _ in model.named_parameters()}
    return found.network


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bert", (*MLP, ".heads")),
        ("bert", ("LayerNorm", "pooler")),
        ("vit", ("projection", ".heads", "depth")),
        pytest.param("gpt2", (".heads",), marks=pytest.mark.slow),
        pytest.param("t5", (".heads", "DenseReluDense"), marks=pytest.mark.slow),
    ],
)
def test_hugging_face_models_stay_their_own_classes(name: str, words: tuple[str, ...]) -> None:
    check_hugging_face(name, *words)


@pytest.mark.parametrize(
    ("name", "words", "settings"),
    [
        ("gpt2", (*MLP, "depth"), {"n_inner": 80, "n_layer": 1}),
        ("llama", (*MLP, "depth"), {"intermediate_size": 40, "num_hidden_layers": 1}),
        pytest.param(
            "llama",
            ("o_proj", ".heads2"),
            {"hidden_size": 20, "num_attention_heads": 2},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_saved_and_loaded_it_is_the_same_and_generates(
    name: str, words: tuple[str, ...], settings: dict[str, int], tmp_path: Any
) -> None:
    model, example, _ = hugging_face(name)
    small = check_hugging_face(name, *words).eval()
    assert {key: getattr(small.config, key) for key in settings} == settings
    small.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert distance(again(**example).logits, small(**example).logits) == 0.0
    asked = {"max_new_tokens": 5, "do_sample": False, "use_cache": True, "pad_token_id": 0}
    ids = example["input_ids"]
    assert torch.equal(small.generate(ids, **asked), again.generate(ids, **asked))
    tokens = ids  # without a cache, so that its layers cannot have been mixed up
    for _ in range(5):
        tokens = torch.cat([tokens, small(tokens).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(small.generate(ids, **asked), tokens)


def test_layers_of_unlike_widths_are_said_not_to_fit_a_config() -> None:
    _, example, net = hugging_face("llama")
    name = next(n for n in net.space if n.endswith("1.mlp.gate_proj.width"))
    config = net.space.largest.replace({name: net.space[name].options[0]})
    found = net.extraction(config)
    assert found.kind == "native"
    assert any("differs from layer to layer" in note for note in found.notes)
    assert found.network.generate(example["input_ids"], max_new_tokens=2).shape == (2, 9)


def test_a_layer_that_is_more_than_its_branches_stays_in_the_graph() -> None:
    _, _, net = hugging_face("bert")
    found = net.extraction(cut(net, "depth"))
    assert found.kind == "graph"
    assert "layer_norm" in found.reason  # BERT normalises after it adds
