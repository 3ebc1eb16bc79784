"""Magnitude against the sums written out."""

from __future__ import annotations

import pytest
import torch

from supple.elastic.importance import Magnitude


@pytest.mark.parametrize("p", [1, 2])
def test_it_is_the_sum_over_all_that_a_unit_owns_each_tensor_counting_alike(problem, p):
    want = torch.zeros(6).double()
    for name, values in problem.owned(dict(problem.model.named_parameters())).items():
        total = values.detach().abs().pow(p).sum(1)
        want += 0 if name == "0.bias" else total / total.mean()
    got = Magnitude(p=p).scores(problem.net).axes["0.width"]
    torch.testing.assert_close(got, want)
