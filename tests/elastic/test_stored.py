"""A network owns its weights once it is made, tied as in the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from supple import Elastic
from tests.families import ALL


class Tied(nn.Module):
    """One weight reads words in and gives scores out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 8)
        self.inner, self.back = nn.Linear(8, 16), nn.Linear(16, 8)
        self.scores = nn.Linear(8, 7, bias=False)
        self.scores.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        y: Tensor = self.scores(x + self.back(self.inner(x).relu()))
        return y


def places(module: nn.Module) -> dict[str, int]:
    """Where in memory every parameter and buffer lies."""
    tensors = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    return {name: t.untyped_storage().data_ptr() for name, t in tensors if t.numel()}


def test_no_tensor_of_the_network_is_one_of_the_model() -> None:
    model, example = ALL["resnet18"]()
    net = Elastic(model, example)
    own, given = places(net), places(model)
    assert own.keys() == given.keys()
    assert not set(own.values()) & set(given.values())
    for name, tensor in model.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor), name


def test_tied_parameters_stay_tied_and_requires_grad_stays() -> None:
    model = Tied().eval()
    model.inner.weight.requires_grad_(False)
    net = Elastic(model, (torch.randint(0, 7, (2, 3)),))
    found = dict(net.named_parameters(remove_duplicate=False))
    assert found["words.weight"] is found["scores.weight"]
    assert found["words.weight"] is not model.words.weight
    assert {n for n, p in found.items() if not p.requires_grad} == {"inner.weight"}


def test_gradients_of_the_model_are_left_as_they_were() -> None:
    model, example = ALL["resnet18"]()
    model.train()(*example).sum().backward()
    before = {n: p.grad for n, p in model.named_parameters()}
    kept = {n: g.clone() for n, g in before.items() if g is not None}
    Elastic(model, example)
    for name, parameter in model.named_parameters():
        assert parameter.grad is before[name]
        if name in kept:
            assert torch.equal(parameter.grad, kept[name])
