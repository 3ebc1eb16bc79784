"""Codebook layers against plain loops; gradients, forcing and reading of codes."""

import pytest
import torch
from torch import nn

from supple.compress.quantize import (
    CodebookLayer,
    code_scores,
    codebook_loss,
    disabled_codes,
    forced_codes,
    insert_codebooks_,
    recorded_codes,
)
from supple.errors import CompressError


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(**settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CodebookLayer(**{"features": 6, "codes": 9, **settings})


@pytest.mark.parametrize("similarity", ["inner", "euclidean"])
@pytest.mark.parametrize(("k", "groups"), [(1, 1), (3, 1), (2, 3)])
def test_it_takes_the_nearest_codes(similarity, k, groups):
    codebook = layer(k=k, groups=groups, similarity=similarity)
    x = values(4, 6)
    found = codebook(x).detach()
    size = 6 // groups
    normed = codebook.norm(x).detach()
    codes = codebook.codes.detach()
    for n in range(4):
        for g in range(groups):
            v = normed[n, g * size : (g + 1) * size]
            scores = [
                float(v @ c / c.norm() if similarity == "inner" else -(v - c).norm())
                for c in codes[g]
            ]
            best = sorted(range(9), key=lambda c: -scores[c])[:k]
            assert sorted(codebook.ids[n, g].tolist()) == sorted(best)
            mean = codes[g][best].mean(0)
            torch.testing.assert_close(found[n, g * size : (g + 1) * size], mean)


def test_all_codes_give_their_mean():
    codebook = layer(k=9)
    torch.testing.assert_close(codebook(values(2, 6)), codebook.codes[0].mean(0).expand(2, 6))


def test_a_codebook_that_holds_the_inputs_reproduces_them():
    codebook = layer(similarity="euclidean")
    x = values(9, 6)
    with torch.no_grad():
        codebook.codes[0] = codebook.norm(x)
    torch.testing.assert_close(codebook(x), codebook.norm(x))


def test_gradients_reach_inputs_straight_through_and_codes_through_the_mean():
    codebook = layer(k=2)
    x = values(3, 6).requires_grad_()
    up = values(3, 6, seed=1)
    codebook(x).backward(up)
    twin = x.detach().clone().requires_grad_()
    codebook.norm(twin).backward(up)
    torch.testing.assert_close(x.grad, twin.grad)
    expected = torch.zeros(9, 6)
    for n in range(3):
        for c in codebook.ids[n, 0].tolist():
            expected[c] += up[n] / 2
    torch.testing.assert_close(codebook.codes.grad[0], expected)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
        insert_codebooks_(model, ["0"], features=6, codes=8)
    return model


def test_forcing_what_was_chosen_changes_nothing_and_other_codes_do():
    model, x = network(), values(5, 4)
    plain = model(x)
    with recorded_codes(model) as found:
        model(x)
    ids = found["0"][0]
    with forced_codes(model, {"0": ids}):
        assert torch.equal(model(x), plain)
    with forced_codes(model, {"0": (ids + 1) % 8}):
        assert not torch.equal(model(x), plain)
    partly = ids.clone()
    partly[0], partly[1:] = (ids[0] + 1) % 8, -1
    with forced_codes(model, {"0": partly}):
        changed = (model(x) != plain).any(1)
    assert changed.tolist() == [True, False, False, False, False]
    assert torch.equal(model(x), plain)


def test_disabled_codebooks_are_not_there():
    model, x = network(), values(5, 4)
    with disabled_codes(model):
        assert torch.equal(
            model(x),
            model[2](torch.relu(nn.functional.linear(x, *model[0].parameters(recurse=False)))),
        )


def test_the_loss_is_the_distance_to_the_normed_inputs():
    model, x = network(), values(5, 4)
    model(x)
    codebook = model[0].codebook
    with torch.no_grad():
        before = nn.functional.linear(x, model[0].weight, model[0].bias)
        expected = (codebook(before) - codebook.norm(before)).square().mean()
    torch.testing.assert_close(codebook_loss(model).detach(), expected)


def test_dead_codes_come_to_life_and_kmeans_starts_near():
    codebook, x = layer(similarity="euclidean"), values(200, 6)
    used = torch.zeros(1, 9)
    used[0, :4] = 1
    kept = codebook.codes[0, :4].detach().clone()
    assert codebook.revive(x, used) == 5
    assert torch.equal(codebook.codes[0, :4], kept)
    codebook(x)
    assert len(codebook.ids.unique()) > 4
    error = float(codebook.loss.detach())
    codebook.start_from(x)
    codebook(x)
    assert float(codebook.loss.detach()) < error


def test_scores_by_hand():
    ids = torch.tensor([[0, 1], [0, 2], [1, 2], [0, 1]])
    labels = torch.tensor([0, 0, 1, 1])
    found = code_scores(ids, labels, codes=4, classes=2)
    assert found["precision"][0].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found["recall"][0].tolist() == [1.0, 0.5]
    assert found["f1"][0, 0] == pytest.approx(0.8)
    assert found["f1"][3].tolist() == [0.0, 0.0]


def test_bad_input():
    for settings in ({"k": 10}, {"groups": 4}, {"similarity": "cosine"}):
        with pytest.raises(CompressError):
            layer(**settings)
    with pytest.raises(CompressError, match="shape"):
        layer()(values(2, 5))
    with pytest.raises(CompressError, match="no module '3'"):
        insert_codebooks_(network(), ["3"], features=2, codes=2)
    with pytest.raises(CompressError, match="has a codebook"):
        insert_codebooks_(network(), ["0"], features=6, codes=2)
    with pytest.raises(CompressError), forced_codes(network(), {"0": torch.tensor([8])}):
        pass
