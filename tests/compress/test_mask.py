"""Masks: exact zeros through training, copies, state dicts, shared weights and recurrent layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.mask import (
    ScoreMask,
    apply_masks,
    density,
    intersected,
    load_plain_state,
    mask_overlap,
    mask_parts,
    masked_weights,
    masks_of,
    plain_state,
    prunable,
    put_mask,
    remove_masks,
)
from supple.errors import CompressError


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )


def random_masks(model, seed=0, share=0.5):
    draws = torch.Generator().manual_seed(seed)
    return {n: torch.rand(w.shape, generator=draws) < share for n, w in prunable(model).items()}


X = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_pruned_weights_stay_exactly_zero_and_the_network_equals_one_with_zeros(optimizer):
    model = network()
    masks = random_masks(model)
    plain = copy.deepcopy(model)
    with torch.no_grad():
        plain[0].weight.mul_(masks["0.weight"])
        plain[4].weight.mul_(masks["4.weight"])
    apply_masks(model, masks)
    torch.testing.assert_close(model(X), plain(X), rtol=0, atol=0)
    step = (
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        if optimizer == "sgd"
        else torch.optim.AdamW(model.parameters(), lr=0.1)
    )
    for _ in range(5):
        step.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        step.step()
    for name, weight in masked_weights(model).items():
        assert (weight[~masks[name]] == 0).all()
        assert (weight[masks[name]] != 0).all()


def test_a_masked_weight_gets_no_gradient_and_cannot_spoil_the_network():
    model = nn.Linear(3, 2)
    mask = torch.tensor([[True, False, True], [True, True, True]])
    apply_masks(model, {"weight": mask})
    with torch.no_grad():
        model.parametrizations.weight.original[0, 1] = float("inf")
    model(torch.ones(1, 3)).sum().backward()
    assert torch.isfinite(model(torch.ones(1, 3))).all()
    assert torch.equal(model.parametrizations.weight.original.grad != 0, mask)


def test_masks_go_on_and_off_and_the_classes_come_back():
    model = network()
    before, state = copy.deepcopy(model), plain_state(model)
    masks = random_masks(model)
    apply_masks(model, masks)
    assert {*prunable(model)} == {*prunable(before)}
    assert all(torch.equal(masks_of(model)[n], masks[n]) for n in masks)
    remove_masks(model, keep_zeros=False)
    assert type(model[4]) is nn.Linear
    assert all(torch.equal(model.state_dict()[n], state[n]) for n in state)
    remove_masks(apply_masks(model, masks))
    assert torch.equal(model[4].weight == 0, ~masks["4.weight"])
    assert {*model.state_dict()} == {*state}


def test_taking_masks_off_a_copy_leaves_the_original_as_it_was():
    """torch shares the class of a parametrised module with its copies."""
    model = apply_masks(network(), random_masks(network()))
    first, second = copy.deepcopy(model), copy.deepcopy(model)
    expected = model.eval()(X)
    remove_masks(first)
    torch.testing.assert_close(model(X), expected)
    torch.testing.assert_close(second.eval()(X), expected)
    torch.testing.assert_close(first.eval()(X), expected)
    # A copy with more masks than the original does not change the original either.
    partly = apply_masks(nn.LSTM(2, 3), {"weight_ih_l0": torch.ones(12, 2) > 0})
    apply_masks(copy.deepcopy(partly), {"weight_hh_l0": torch.zeros(12, 3) > 0})
    assert (partly(torch.ones(2, 2))[0] == partly(torch.ones(2, 2))[0]).all()


def test_masks_survive_a_state_dict_and_plain_states_cross_between_masked_and_not():
    model = apply_masks(network(), random_masks(network(), seed=1))
    other = apply_masks(network(), random_masks(network(), seed=2))
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(masks_of(other)[n], m) for n, m in masks_of(model).items())
    plain = network()
    load_plain_state(plain, plain_state(model))
    assert torch.equal(plain[4].weight, model[4].parametrizations.weight.original)
    load_plain_state(model, plain_state(plain))
    assert torch.equal(plain_state(model)["4.weight"], plain[4].weight)
    with pytest.raises(CompressError, match="of another model"):
        load_plain_state(nn.Linear(2, 2), plain_state(model))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_see_their_masks_and_can_be_copied_after_a_call(kind):
    layer = kind(3, 4, num_layers=2)
    masks = random_masks(layer)
    reference = copy.deepcopy(layer)
    with torch.no_grad():
        for name, mask in masks.items():
            getattr(reference, name).mul_(mask)
    apply_masks(layer, masks)
    x = torch.randn(5, 2, 3)
    expected = reference(x)[0]
    torch.testing.assert_close(layer(x)[0], expected)
    torch.testing.assert_close(copy.deepcopy(layer)(x)[0], expected)
    layer(x)[0].sum().backward()
    gradient = layer.parametrizations.weight_hh_l0.original.grad
    assert (gradient[~masks["weight_hh_l0"]] == 0).all()
    assert (gradient != 0).any()
    remove_masks(layer)
    assert type(layer) is kind
    torch.testing.assert_close(layer(x)[0], expected)


def test_a_shared_weight_has_one_mask():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    model = Tied()
    assert list(prunable(model)) == ["a.weight"]
    mask = torch.eye(3) > 0
    apply_masks(model, {"a.weight": mask})
    assert (model.b.weight[~mask] == 0).all()
    assert model.a.parametrizations.weight.original is model.b.parametrizations.weight.original


def test_embeddings_norms_and_biases_are_not_pruned():
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm((2, 4)), nn.Linear(4, 2))
    assert list(prunable(model)) == ["2.weight"]
    with pytest.raises(CompressError, match="no weights that can be pruned"):
        prunable(nn.Embedding(5, 4))
    with pytest.raises(CompressError, match=r"'7\.\*' .* matches no weight"):
        prunable(model, protect=("7.*",))


def test_a_score_gets_the_straight_through_gradient_also_where_the_mask_is_off():
    layer = nn.Linear(3, 2)
    mask = torch.tensor([[True, False, True], [False, True, True]])
    put_mask(layer, "weight", ScoreMask(mask, torch.zeros(2, 3)))
    x = torch.randn(4, 3)
    assert torch.equal(layer(x), F.linear(x, layer.parametrizations.weight.original * mask,
                                          layer.bias))  # fmt: skip
    layer(x).square().sum().backward()
    original = layer.parametrizations.weight.original.detach()
    effective = (original * mask).requires_grad_()
    F.linear(x, effective, layer.bias).square().sum().backward()
    part = mask_parts(layer)["weight"]
    torch.testing.assert_close(part.score.grad, effective.grad * original)
    grad = layer.parametrizations.weight.original.grad
    torch.testing.assert_close(grad, effective.grad * mask)


def test_density_overlap_and_intersection():
    a = {"w": torch.tensor([True, True, False, False])}
    b = {"w": torch.tensor([True, False, True, True])}
    assert density(a) == 0.5
    assert mask_overlap(a, a) == 1
    assert mask_overlap(a, b) == 0.5
    assert mask_overlap(b, a) == 1 / 3
    assert intersected(a, b)["w"].tolist() == [True, False, False, False]
    assert {*intersected(a, {"v": b["w"]})} == {"w", "v"}


@pytest.mark.parametrize(
    ("masks", "found"),
    [
        ({"other": torch.ones(2, 2) > 0}, "no weight of this model"),
        ({"weight": torch.ones(3, 2) > 0}, r"is \(3, 2\)"),
        ({"weight": torch.ones(2, 2)}, "float32"),
    ],
)
def test_masks_of_another_model_are_refused(masks, found):
    with pytest.raises(CompressError, match=found):
        apply_masks(nn.Linear(2, 2), masks)


def test_what_was_ever_on_is_remembered():
    model = apply_masks(nn.Linear(2, 1), {"weight": torch.tensor([[True, False]])})
    apply_masks(model, {"weight": torch.tensor([[False, True]])})
    assert mask_parts(model)["weight"].seen.all()
    assert masks_of(model)["weight"].tolist() == [[False, True]]


def test_attention_is_masked_in_all_its_weights():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    masks = random_masks(layer)
    assert {*masks} == {"self_attn.in_proj_weight", "self_attn.out_proj.weight",
                        "linear1.weight", "linear2.weight"}  # fmt: skip
    plain = copy.deepcopy(layer)
    with torch.no_grad():
        for name, mask in masks.items():
            plain.get_parameter(name).mul_(mask)
    x = torch.randn(2, 5, 16)
    apply_masks(layer, masks)
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=0)
    with torch.inference_mode():  # the fast path of evaluation
        torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=0)
