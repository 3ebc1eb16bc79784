"""Recurrent masks: their ends, their common threshold, and recovery."""

import numpy as np
import pytest
import torch
from torch import nn

from supple.compress.mask import apply_masks, masked_weights, masks_of
from supple.compress.prune.recurrent import recovery_curve, recurrent_masks
from supple.errors import CompressError


class Tagger(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(5, 3), kind(3, 6, 2), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0][-1])


X = torch.randint(5, (7, 4), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("part", ["input", "state", "both"])
def test_the_threshold_is_the_percentile_over_all_layers(kind, part):
    model = Tagger(kind)
    masks = recurrent_masks(model, 0.7, part)
    wanted = {"input": ("ih",), "state": ("hh",), "both": ("ih", "hh")}[part]
    names = [n for n, _ in model.rnn.named_parameters() if n.split("_")[1] in wanted
             and n.startswith("weight")]  # fmt: skip
    assert {*masks} == {f"rnn.{n}" for n in names}
    sizes = torch.cat([getattr(model.rnn, n).detach().abs().flatten() for n in names]).numpy()
    threshold = np.sort(sizes)[round(0.7 * len(sizes))]
    for n in names:
        assert torch.equal(masks[f"rnn.{n}"], getattr(model.rnn, n).abs() >= float(threshold))


def test_nothing_and_everything():
    model = Tagger(nn.LSTM)
    expected = model(X)
    apply_masks(model, recurrent_masks(model, 0.0))
    torch.testing.assert_close(model(X), expected, rtol=0, atol=0)
    apply_masks(model, recurrent_masks(model, 1.0))
    assert all((w == 0).all() for n, w in masked_weights(model).items() if n.startswith("rnn"))
    other = Tagger(nn.LSTM)
    other.load_state_dict(model.state_dict(), strict=False)
    fresh = apply_masks(Tagger(nn.LSTM), masks_of(model))
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh(X), model(X))


def test_a_recovery_curve_has_a_value_before_and_after_each_epoch():
    model = Tagger(nn.GRU)
    calls = []
    points = recovery_curve(
        model, [0.5, 0.9], lambda net, epoch: calls.append(epoch),
        lambda net: float(len(calls)), epochs=3,
    )  # fmt: skip
    assert [p.values for p in points] == [(0, 1, 2, 3), (3, 4, 5, 6)]
    assert points[0].epochs_to(2) == 2
    assert points[0].epochs_to(9) is None
    assert not masks_of(model)


def test_what_does_not_fit_is_said():
    with pytest.raises(CompressError, match="no recurrent layer"):
        recurrent_masks(nn.Linear(2, 2), 0.5)
    with pytest.raises(CompressError, match="no part 'hh'"):
        recurrent_masks(nn.GRU(2, 2), 0.5, "hh")
    with pytest.raises(CompressError, match="ratio is 1.2"):
        recurrent_masks(nn.GRU(2, 2), 1.2)
