"""Fewer experts: a cut mixture is the smaller one with the weights of the experts that stay."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity
from tests.elastic.coverage import agreement, gradients
from tests.elastic.oracles import Given, distance, run

EXPERTS = Elasticity(
    ratios=(0.25, 0.5, 0.75, 1.0), multiple_of=1, experts=True, depths=False, fixed=("*.width*",)
)
H = 6


class Soft(nn.Module):
    """Every expert answers; the answers are mixed."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, H), nn.Linear(H, 2)
        self.router = nn.Linear(H, experts)
        self.up = nn.Parameter(torch.randn(experts, H, 5))
        self.down = nn.Parameter(torch.randn(experts, 5, H))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        each = torch.einsum("bd,edf->bef", x, self.up).relu()
        return self.last(
            torch.einsum("bef,efd,be->bd", each, self.down, self.router(x).softmax(-1))
        )


class Best(Soft):
    """The two best answer, their weights looked up."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        score, chosen = self.router(x).softmax(-1).topk(2, -1)
        hidden = torch.einsum("bd,bkdf->bkf", x, self.up[chosen]).relu()
        return self.last(torch.einsum("bkf,bkfd,bk->bd", hidden, self.down[chosen], score))


class Masked(Soft):
    """All answer, and what the best did not is set to zero by one-hot rows."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        scores = self.router(x)
        chosen = scores.argmax(-1)
        rows = nn.functional.one_hot(chosen, self.up.shape[0]).to(x.dtype)
        each = torch.einsum("bd,edf->bef", x, self.up).relu()
        return self.last(torch.einsum("bef,efd,be->bd", each, self.down, rows))


class Scattered(Soft):
    """The scores of the best are put back where they came from."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        score, chosen = self.router(x).topk(2, -1)
        rows = torch.zeros(len(x), self.up.shape[0], dtype=x.dtype).scatter(
            1, chosen, score.softmax(-1)
        )
        each = torch.einsum("bd,edf->bef", x, self.up).relu()
        return self.last(torch.einsum("bef,efd,be->bd", each, self.down, rows))


@pytest.mark.parametrize("kind", [Soft, Best, Masked, Scattered])
def test_a_cut_mixture_is_the_smaller_one(kind: type[Soft]) -> None:
    torch.manual_seed(3)
    model, x = kind(4).double().eval(), torch.randn(7, 4).double()
    net = Elastic(model, (x,), EXPERTS)
    (name,) = (n for n in net.space if "experts" in n)
    importance = torch.tensor([0.3, 0.9, 0.1, 0.8])
    net.reorder(Given({name: importance}))
    for count in net.space[name].options:
        kept = importance.argsort(descending=True)[:count].sort().values
        small = kind(int(count)).double().eval()
        state = {
            k: v[kept] if k.startswith(("router", "up", "down")) else v
            for k, v in model.state_dict().items()
        }
        small.load_state_dict(state)
        config = net.space.largest.replace({name: count})
        assert distance(net.at(config)(x), small(x)) < 1e-12
        assert distance(net.extract(config)(x), small(x)) < 1e-12
    assert net.space[name].options == ((1, 2, 3, 4) if kind in (Soft, Masked) else (2, 3, 4))
    assert gradients(net, (x,)) == ""


def test_experts_are_left_whole_unless_asked_for() -> None:
    model, x = Best(4).eval(), torch.randn(7, 4)
    net = Elastic(model, (x,))
    assert not any("experts" in name for name in net.space)
    reasons = {f.name: f.reason for f in net.report().fixed}
    assert reasons["up[0]"] in ("is normalised by softmax", "is looked up by index", "is ranked")


class Told(Best):
    """The number of the expert is part of the output."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), self.router(self.first(x)).argmax(-1)


class Weighed(Best):
    """Experts with higher numbers count for more."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.router(self.first(x)).argmax(-1)
        return super().forward(x) * (chosen[:, None] + 1)


class Focused(nn.Sequential):
    """A softmax over channels that are no experts."""

    def __init__(self, experts: int) -> None:
        super().__init__(nn.Linear(4, H), nn.Softmax(-1), nn.Linear(H, 5), nn.Linear(5, 2))


@pytest.mark.parametrize("kind", [Told, Weighed, Focused])
def test_numbers_that_are_used_otherwise_leave_the_experts_whole(kind: type[Soft]) -> None:
    torch.manual_seed(3)
    model, x = kind(4).eval(), torch.randn(7, 4)
    net = Elastic(model, (x,), Elasticity(experts=True))
    assert not any("experts" in name for name in net.space)
    assert agreement(net, (x,)) < 1e-5


SETTINGS = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 12,
            "moe_intermediate_size": 12, "max_position_embeddings": 16, "use_cache": False,
            "num_experts_per_tok": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("Mixtral", "num_local_experts"),
        ("GptOss", "num_local_experts"),
        ("Qwen3Moe", "num_experts"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_mixtures_of_public_models_are_the_smaller_ones(name: str, count: str) -> None:
    transformers = pytest.importorskip("transformers")
    make = getattr(transformers, f"{name}ForCausalLM")
    config = getattr(transformers, f"{name}Config")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(4)
        model = make(config(**SETTINGS, **{count: 4})).eval()
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
        small = make(config(**SETTINGS, **{count: 3})).eval()
        example = {"input_ids": torch.randint(0, 20, (2, 5))}
    net = Elastic(model, example, EXPERTS)
    experts = [n for n in net.space if "experts" in n]
    assert len(experts) == 2
    source = model.state_dict()
    small.load_state_dict({k: source[k][: len(v)] for k, v in small.state_dict().items()})
    cut = net.space.largest.replace(dict.fromkeys(experts, 3))
    want = run(small, example)
    assert distance(run(net.at(cut), example), want) < 1e-5
    assert distance(run(net.extract(cut, prefer="graph"), example), want) < 1e-5
    assert net.batch_size is None
