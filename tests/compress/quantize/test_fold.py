"""Folded batch norms are the same function, wherever the graph allows it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from supple.compress.quantize import Uniform, fold_batch_norm, foldable_batch_norms, quantize_
from supple.errors import CompressError


class Network(nn.Module):
    """Norms after a convolution, after a linear layer, after a ReLU and of a shared layer."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)  # written before its convolution
        self.conv = nn.Conv2d(1, 4, 3, bias=False)
        self.after_relu = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.norm_a, self.norm_b = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.linear, self.norm_c = nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False)
        self.conv_used_twice, self.norm_d = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.after_relu(F.relu(self.norm(self.conv(x))))
        x = self.norm_a(self.shared(x)) + self.norm_b(self.shared(x))
        y = self.conv_used_twice(x)
        x = self.norm_d(y) + y
        return self.norm_c(self.linear(x.mean((2, 3))))


def trained():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Network()
        for part in model.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                part.running_mean.normal_()
                part.running_var.uniform_(0.3, 2)
                if part.affine:
                    nn.init.normal_(part.weight)
                    nn.init.normal_(part.bias)
    return model.eval()


def test_only_what_may_be_folded_is_found():
    x = torch.zeros(2, 1, 6, 6)
    assert foldable_batch_norms(trained(), x) == {"norm": "conv", "norm_c": "linear"}


def test_the_function_is_the_same_and_the_norms_are_gone():
    model = trained()
    x = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    folded = fold_batch_norm(model, x)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        folded.double()(x.double()), model.double()(x.double()), rtol=1e-5, atol=1e-6
    )
    assert isinstance(folded.norm, nn.Identity)
    assert isinstance(model.norm, nn.BatchNorm2d)


def test_a_quantized_network_is_refused():
    model = trained()
    quantize_(model, weight=Uniform())
    with pytest.raises(CompressError, match="fold first"):
        fold_batch_norm(model, torch.zeros(2, 1, 6, 6))
