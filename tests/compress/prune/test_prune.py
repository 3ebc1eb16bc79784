"""What all pruners keep to, and the one call."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.mask import apply_masks, density, masks_of, prunable
from supple.compress.prune import Magnitude, Random, find_masks, prune, pruner, pruner_names
from supple.compress.sparsity import masks_from_scores
from supple.errors import CompressError, DataError

X = torch.randn(32, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 4


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(),
            nn.Linear(128, 12), nn.ReLU(), nn.Linear(12, 4),
        )  # fmt: skip


@pytest.mark.parametrize("name", pruner_names())
@pytest.mark.parametrize("scope", ["global", "uniform", "erk"])
def test_every_pruner_leaves_the_model_alone_and_keeps_the_share(name, scope):
    model = network().train()
    state, rng = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    settings = {"rounds": 5} if name == "synflow" else {}
    found = prune(
        model, 0.8, method=pruner(name, **settings), scope=scope, example=X[:2], data=[(X, Y)]
    )
    total = sum(w.numel() for w in prunable(model).values())
    assert abs(found.report.kept - (total - round(0.8 * total))) <= 2
    assert all(torch.equal(state[n], t) for n, t in model.state_dict().items())
    assert torch.equal(rng, torch.random.get_rng_state())
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    again = prune(
        model, 0.8, method=pruner(name, **settings), scope=scope, example=X[:2], data=[(X, Y)]
    )
    assert all(torch.equal(again.masks[n], m) for n, m in found.masks.items())


@pytest.mark.parametrize("name", pruner_names())
def test_every_pruner_goes_on_from_masks_and_brings_no_weight_back(name):
    model = network()
    data = {"example": X[:2], "data": [(X, Y)]}
    settings = {"rounds": 3} if name == "synflow" else {}
    first = prune(model, 0.5, method="random", **data)
    second = prune(first.network, 0.5, method=pruner(name, **settings), **data)
    for weight, mask in second.masks.items():
        assert (first.masks[weight] | ~mask).all()
    total = sum(m.numel() for m in second.masks.values())
    assert density(second.masks) == pytest.approx(0.25, abs=2 / total)


def test_a_model_with_masks_on_some_weights_is_pruned_whole():
    model = apply_masks(network(), {"7.weight": torch.arange(48).reshape(4, 12) % 2 > 0})
    found = prune(model, 0.5)
    assert {*found.masks} == {"0.weight", "5.weight", "7.weight"}
    left = 72 + 128 * 12 + 24
    assert found.report.kept == left - round(0.5 * left)


def test_pruning_nothing_changes_nothing_and_everything_leaves_one_weight_a_layer():
    model = network().eval()
    torch.testing.assert_close(prune(model, 0).network(X), model(X), rtol=0, atol=0)
    bare = prune(model, 1.0)
    assert [layer.kept for layer in bare.report.layers] == [1, 1, 1]
    assert len(bare.notes) == 3


def test_the_finished_network_is_plain_and_the_same():
    found = prune(network().eval(), 0.9)
    plain = found.finished()
    assert [type(m) for m in plain.modules()] == [type(m) for m in network().modules()]
    torch.testing.assert_close(plain(X), found.network(X), rtol=0, atol=0)
    assert found.masks


def test_protected_weights_stay_whole_and_are_not_counted():
    found = prune(network(), 0.5, protect=("7.*",))
    assert {*found.masks} == {"0.weight", "5.weight"}
    assert density(found.masks) == pytest.approx(0.5, abs=1e-3)


def test_patterns():
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    half = prune(model, 0.5, pattern="2:4")
    assert (half.masks["0.weight"].reshape(-1, 4).sum(1) == 2).all()
    blocks = prune(model, 0.75, pattern="4x4")
    assert blocks.report.kept == 32  # two of ten blocks
    with pytest.raises(CompressError, match="removes the share 0.5"):
        prune(model, 0.9, pattern="2:4")
    with pytest.raises(CompressError, match="no pattern 'odd'"):
        prune(model, 0.5, pattern="odd")
    with pytest.raises(CompressError, match="has masks"):
        prune(half.network, 0.5, pattern="2:4")


@pytest.mark.parametrize("method", ["magnitude", "taylor", "random"])
@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_structured_pruning_gives_a_smaller_plain_module(method, scope):
    model = network().eval()
    found = prune(
        model, 0.6, structured=True, method=method, scope=scope, example=X[:2], data=[(X, Y)]
    )
    before = sum(p.numel() for p in model.parameters())
    assert 0.25 * before < found.parameters_after <= 0.4 * before
    assert type(found.network[0]) is nn.Conv2d
    assert found.network(X).shape == (32, 4)
    assert not found.masks
    assert found.config is not None


def test_a_share_that_no_structure_reaches_is_said():
    found = prune(network(), 1.0, structured=True, example=X[:2])
    assert "not 100.0%" in found.notes[0]
    assert found.parameters_after > 0


def test_scores_by_hand():
    """One linear layer, squared error of the sum of outputs: gradients known in closed form."""
    layer = nn.Linear(3, 2, bias=False)
    x = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.0, 1.0]])

    def loss(outputs, _):
        return 0.5 * outputs.square().sum()

    w = layer.weight.detach().clone()
    gradient = w @ x.T @ x
    names = ["weight"]
    batches = [(x, None)]
    one = pruner("snip").scores(layer, batches, loss, names)["weight"]
    torch.testing.assert_close(one, (w * gradient).abs())
    torch.testing.assert_close(
        pruner("taylor").scores(layer, batches, loss, names)["weight"], (w * gradient) ** 2
    )
    torch.testing.assert_close(
        pruner("movement").scores(layer, batches, loss, names)["weight"], -w * gradient
    )
    hessian_gradient = gradient @ x.T @ x
    torch.testing.assert_close(
        pruner("grasp", temperature=1.0).scores(layer, batches, loss, names)["weight"],
        w * hessian_gradient,
    )
    assert torch.equal(Magnitude().scores(layer, [], loss, names)["weight"], w.abs())


def test_batches_add_up_before_snip_takes_the_absolute_value():
    layer = nn.Linear(6, 3)
    x, y = torch.randn(8, 6), torch.arange(8) % 3
    whole = pruner("snip").scores(
        layer, [(x, y)], lambda o, t: F.cross_entropy(o, t, reduction="sum"), ["weight"]
    )
    parts = pruner("snip").scores(
        layer, [(x[:3], y[:3]), (x[3:], y[3:])],
        lambda o, t: F.cross_entropy(o, t, reduction="sum"), ["weight"],
    )  # fmt: skip
    torch.testing.assert_close(whole["weight"], parts["weight"])


def test_synflow_conserves_flow_and_never_cuts_a_layer():
    model = nn.Sequential(
        nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 4, bias=False), nn.ReLU(),
        nn.Linear(4, 2, bias=False),
    )  # fmt: skip
    names = list(prunable(model))
    scores = pruner("synflow").scores(model, [(torch.ones(1, 5), None)], F.mse_loss, names)
    sums = [float(s.sum()) for s in scores.values()]
    assert sums == pytest.approx([sums[0]] * 3)  # what flows through every layer is the same
    weights = [w.detach().abs() for w in prunable(model).values()]
    product = weights[2] @ weights[1] @ weights[0]
    assert sums[0] == pytest.approx(float(product.sum()), rel=1e-5)
    found = prune(model, 0.9, method="synflow", example=torch.ones(1, 5))
    masked = found.finished()
    outputs = masked[4].weight.abs() @ masked[2].weight.abs() @ masked[0].weight.abs()
    assert outputs.sum() > 0  # there is still a path


def test_more_rounds_follow_the_exponential_schedule_with_new_scores():
    model = network()
    batches = [(X, Y)]
    names = list(prunable(model))
    slow = find_masks(model, pruner("snip", rounds=2), 0.75, batches=batches)
    first = masks_from_scores(pruner("snip").scores(model, batches, F.cross_entropy, names), 0.5)
    assert all((first[n] | ~slow[n]).all() for n in slow)
    total = sum(m.numel() for m in slow.values())
    assert sum(int(m.sum()) for m in slow.values()) == total - round(0.75 * total)


def test_random_draws_follow_the_seed():
    a, b, c = (find_masks(network(), Random(seed=s), 0.5) for s in (0, 0, 1))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert any(not torch.equal(a[n], c[n]) for n in a)


def test_what_does_not_fit_is_said():
    model = network()
    with pytest.raises(CompressError, match="the ratio is 1.5"):
        prune(model, 1.5)
    with pytest.raises(CompressError, match="did you mean 'magnitude'"):
        prune(model, 0.5, method="magnitud")
    with pytest.raises(CompressError, match="no setting 'round'"):
        pruner("snip", round=3)
    with pytest.raises(DataError, match="got no data"):
        prune(model, 0.5, method="snip")
    with pytest.raises(DataError, match="holds NaN"):
        prune(model, 0.5, method="snip", data=[(X * float("nan"), Y)])
    with pytest.raises(CompressError, match="got no example"):
        prune(model, 0.5, method="synflow")
    with pytest.raises(CompressError, match="needs an example"):
        prune(model, 0.5, structured=True)
    with pytest.raises(CompressError, match="whole axes"):
        prune(model, 0.5, structured=True, example=X, pattern="2:4")
    assert not masks_of(model)


def test_masks_and_structures_combine_either_way():
    masked = prune(network().eval(), 0.5)
    small = prune(masked.network, 0.5, structured=True, example=X[:2])
    assert small.masks  # the masks were cut with their weights
    assert small.network(X).shape == (32, 4)
    again = prune(prune(network().eval(), 0.5, structured=True, example=X[:2]).network, 0.5)
    assert again.report.density == pytest.approx(0.5, abs=0.01)
