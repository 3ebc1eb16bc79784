"""What the exporter is spared changes nothing of the graph, nor of torch afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn
from torch.fx import _lazy_graph_module
from torch.fx.experimental import proxy_tensor
from torch.fx.passes import shape_prop
from torch.utils._traceback import CapturedTraceback

from supple.trace._exporting import exporting
from supple.trace._places import user_frame
from tests.families import CLASSIC


def lines_of(model: nn.Module, example: tuple[torch.Tensor, ...]) -> list[tuple[str, ...]]:
    program = torch.export.export(model, example, strict=False)
    return [
        (n.name, str(n.target), str(n.args), user_frame(n.meta.get("stack_trace") or ""))
        for n in program.graph.nodes
    ]


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_the_graph_and_the_lines_of_the_model_are_the_same(name: str) -> None:
    model, example = CLASSIC[name]()
    plain = lines_of(model, example)
    with exporting():
        assert lines_of(model, example) == plain
    assert any(line[-1] for line in plain)


class Failing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x
        return -x


def test_torch_is_left_as_it_was_after_an_error_too() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(Exception, match="data-dependent"), exporting():
        torch.export.export(Failing(), (torch.ones(2),), strict=False)
    assert vars(fx.proxy)["CapturedTraceback"] is CapturedTraceback
    assert proxy_tensor._extract_tensor_metadata is shape_prop._extract_tensor_metadata
    assert not _lazy_graph_module._use_lazy_graph_module_flag
    assert torch.backends.mha.get_fastpath_enabled() is before
