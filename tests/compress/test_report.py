"""Reports of sparsity: counts by hand."""

import pytest
import torch
from torch import nn

from supple.compress.mask import apply_masks
from supple.compress.report import sparsity_report


def test_a_perceptron_by_hand():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    masks = {"0.weight": torch.zeros(4, 6, dtype=torch.bool)}
    masks["0.weight"][0, :3] = True
    report = sparsity_report(apply_masks(model, masks), torch.ones(7, 6))
    assert [layer.kept for layer in report.layers] == [3, 8]
    assert (report.size, report.kept, report.other, report.parameters) == (32, 11, 6, 17)
    assert (report.macs, report.dense_macs) == (11, 32)
    assert report.density == 11 / 32
    assert report.explored == 3 / 24
    stored = report.storage_bytes()
    assert stored == {"dense": 128, "bitmask": 44 + 3 + 1, "csr": 11 * 6 + 4 * 5 + 4 * 3}
    assert report.to_rows()[0] == {
        "name": "0.weight", "shape": (4, 6), "kept": 3, "density": 0.125, "macs": 3
    }  # fmt: skip
    assert str(report).endswith("34.38%")


def test_convolutions_count_positions_and_recurrent_layers_steps():
    conv = sparsity_report(nn.Conv2d(2, 4, 3, padding=1), torch.ones(3, 2, 5, 5))
    assert conv.macs == 2 * 4 * 9 * 25
    up = sparsity_report(nn.ConvTranspose2d(2, 4, 2, stride=2), torch.ones(3, 2, 5, 5))
    assert up.macs == 2 * 4 * 4 * 25
    lstm = nn.LSTM(3, 4, batch_first=True)
    assert sparsity_report(lstm, torch.ones(2, 6, 3)).macs == (16 * 3 + 16 * 4) * 6
    odd = nn.Bilinear(2, 2, 2)
    assert sparsity_report(odd, (torch.ones(1, 2), torch.ones(1, 2))).macs is None


def test_a_layer_with_one_weight_is_named():
    model = nn.Linear(4, 4)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 0] = True
    (note,) = sparsity_report(apply_masks(model, {"weight": mask})).notes
    assert note.startswith("'weight' has one weight left")


def test_without_masks_zeros_count():
    model = nn.Linear(4, 1)
    with torch.no_grad():
        model.weight[0, :2] = 0
    report = sparsity_report(model)
    assert (report.kept, report.explored, report.macs) == (2, None, None)
    with pytest.raises(TypeError):
        report.kept + report.macs
