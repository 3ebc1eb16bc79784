"""Models that are odd: each works, or ends in one clear error that names its line."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from torch import Tensor, nn

from supple import Elastic
from supple.errors import SuppleError, TraceError
from tests.elastic.coverage import FINE, agreement, dead_units, gradients, largest


class Branching(nn.Module):
    """Its path depends on the values of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # the line
            return self.b(self.a(x))
        return self.b(-self.a(x))


class Counting(nn.Module):
    """A Python number is read from a tensor and used as a size."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        count = int(x.abs().sum().item()) + 1
        return self.b(self.a(x)).repeat(count, 1)


class Picking(nn.Module):
    """The number of rows in the middle is what the data decide."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 12), nn.Linear(12, 6)
        self.c = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        rows = torch.nonzero(h.detach().sum(-1) > 0)[:, 0]
        picked = self.b(torch.tanh(h[rows])).view(-1, 2, 3).flatten(1)
        return self.c(torch.zeros(len(x), 6).index_add(0, rows, picked))


class Ending(nn.Module):
    """What a mask picks is regrouped: as many rows as the data decide, divided by the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 12), nn.Linear(12, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        picked = torch.tanh(self.a(x))[x[..., 0] > -100.0]
        return self.c(self.b(picked).view(x.shape[0], -1, 6)[:, -1])


class Twice(nn.Module):
    """A weight that is used as a matrix and as its transpose, and a module in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.shared = nn.Linear(8, 8)
        self.again = self.shared
        self.down = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.shared(self.up(x)))
        h = self.again(h) @ self.shared.weight
        return self.down(h) + (h @ self.up.weight).sum(-1, keepdim=True)


class Reshaped(nn.Module):
    """One module called with inputs of different shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.inner, self.down = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(x)
        return self.down(self.inner(h) + self.inner(h.mean(1)).unsqueeze(1))


class Buffers(nn.Module):
    """Complex and integer buffers, one along an axis that may be cut and one that may not."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 3)
        self.register_buffer("turn", torch.polar(torch.ones(4), torch.linspace(0, 1, 4)))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("flags", torch.tensor([1, 1, 0, 1, 1, 0, 1, 1]))

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(x) * self.flags
        turned = torch.view_as_complex(h.unflatten(-1, (4, 2))) * self.turn
        return self.down(torch.view_as_real(turned).flatten(-2))[..., self.order]


class Custom(nn.Module):
    """An operator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.b(torch.ops.supple_test.folded(self.a(x)))))


@torch.library.custom_op("supple_test::folded", mutates_args=())
def folded(x: Tensor) -> Tensor:
    """Reverses the last axis and adds it: nobody can know this from outside."""
    return x + x.flip(-1)


@folded.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def check(model: nn.Module, *example: Tensor) -> Elastic:
    model = model.eval()
    before = copy.deepcopy(model.state_dict())
    net = Elastic(model, example, FINE)
    assert largest(net, model, example) == 0.0
    assert agreement(net, example) < 1e-5
    assert dead_units(net, model, example) < 1e-4
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    return net


@pytest.mark.parametrize("kind", [Branching, Counting])
def test_what_depends_on_values_ends_in_one_error_with_the_line(kind: type[nn.Module]) -> None:
    with pytest.raises(TraceError, match="torch.export cannot capture") as caught:
        Elastic(kind(), (torch.randn(3, 4),))
    line = "if x.sum() > 0:" if kind is Branching else "x.abs().sum().item()"
    assert line in str(caught.value)
    assert "test_coverage_bad_input.py" in str(caught.value)


def test_a_number_of_rows_that_the_data_decide_works() -> None:
    torch.manual_seed(0)
    net = check(Picking(), torch.randn(5, 4))
    assert {axis.size for axis in net.structure.axes} == {12, 6} or net.structure.axes


def test_rows_that_the_data_decide_may_be_regrouped() -> None:
    torch.manual_seed(0)
    net = check(Ending(), torch.randn(2, 5, 4))
    assert {axis.size for axis in net.structure.axes} == {12, 6}
    assert not net.report().unknown


def test_a_shared_module_and_a_weight_used_twice_are_cut_together() -> None:
    torch.manual_seed(0)
    net = check(Twice(), torch.randn(3, 4))
    assert len(net.structure.axes) == 1
    cut = {member.tensor for member in net.structure.axes[0].members}
    assert {"up.weight", "shared.weight", "down.weight"} <= cut


def test_a_module_called_with_different_shapes_works() -> None:
    torch.manual_seed(0)
    net = check(Reshaped(), torch.randn(3, 5, 4))
    assert net.structure.axes


def test_complex_and_integer_buffers_are_cut_along() -> None:
    torch.manual_seed(0)
    net = check(Buffers(), torch.randn(3, 4))
    cut = {(m.tensor, m.dim) for axis in net.structure.axes for m in axis.members}
    assert ("turn", 0) in cut
    assert ("flags", 0) in cut
    assert not any(tensor == "order" for tensor, _ in cut)


def test_an_operator_nobody_knows_leaves_its_axes_whole_and_says_so() -> None:
    torch.manual_seed(0)
    net = check(Custom(), torch.randn(3, 4))
    assert [axis.name for axis in net.structure.axes] == ["b.width"]
    assert net.report().unknown == ("supple_test::folded",)
    reasons = {f.name: f for f in net.report().fixed}
    assert "supple_test::folded" in reasons["a.weight[0]"].operator
    assert "supple_test.folded" in reasons["a.weight[0]"].where


class Endless(nn.Module):
    """It would be unrolled for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(10**9):
            x = torch.relu(self.a(x))
        return x


def test_what_takes_too_long_ends_in_one_error() -> None:
    check(Twice(), torch.randn(3, 4))  # what the exporter loads first does not count
    start = time.monotonic()
    with pytest.raises(TraceError, match="took longer than 0.5 s") as caught:
        Elastic(Endless(), (torch.randn(2, 4),), time_limit_s=0.5)
    assert time.monotonic() - start < 20.0
    assert "self.a(x)" in str(caught.value)
    assert torch.is_grad_enabled()
    Elastic(Twice(), (torch.randn(3, 4),))  # nothing is left behind


class Noisy(nn.Module):
    """Another graph in training than in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x + 1 if self.training else x)


def test_a_second_graph_is_left_out_where_there_is_no_time_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = (torch.randn(3, 4),)
    assert len(Elastic(Noisy().eval(), example)._captures) == 2
    monkeypatch.setattr("supple.elastic._elastic.is_time_for_as_much", lambda: False)
    net = Elastic(Noisy().eval(), example)
    assert len(net._captures) == 1
    (note,) = net.notes
    assert note.startswith("in training the network computes as in evaluation")
    assert "time_limit_s" in note


class Counted(nn.Module):
    """Its output depends on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.calls = nn.Linear(4, 8), nn.Linear(8, 2), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.b(self.a(x) * self.calls)


def test_state_that_changes_with_every_call_is_named_with_its_line() -> None:
    with pytest.raises(TraceError, match="differs from the model") as caught:
        Elastic(Counted().eval(), (torch.randn(3, 4),))
    assert "attribute 'calls'" in caught.value.why
    assert "self.calls += 1" in caught.value.why


class Straight(torch.autograd.Function):
    """What is written in place inside must not spoil the gradient outside."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.softmax(1).mul_(2.0)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


class WithFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(Straight.apply(self.a(x)))


def test_what_a_function_of_its_own_writes_in_place_still_trains() -> None:
    torch.manual_seed(0)
    net = check(WithFunction(), torch.randn(2, 5, 4))
    assert gradients(net, (torch.randn(2, 5, 4),)) == ""


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(4).to_sparse())
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(torch.sparse.mm(self.mix, x.T).T))


def test_tensors_that_cannot_be_cut_are_refused_by_name() -> None:
    with pytest.raises(TraceError, match="'mix' of Sparse is stored as torch.sparse_coo"):
        Elastic(Sparse(), (torch.randn(3, 4),))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_script_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    with pytest.raises(TraceError, match="compiled by TorchScript"):
        Elastic(torch.jit.script(model), (torch.randn(3, 4),))


class Doubly(nn.Module):
    """A derivative inside the forward pass: the exporter says nothing of where it stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.func.grad(lambda y: self.a(y).square().sum())(x))


def test_an_error_without_a_place_names_the_forward_of_the_model() -> None:
    with pytest.raises(TraceError, match="torch.export cannot capture Doubly") as caught:
        Elastic(Doubly(), (torch.randn(3, 4),))
    assert "test_coverage_bad_input.py" in str(caught.value)


def test_a_parameter_that_nothing_uses_is_reported() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)).eval()
    model.spare = nn.Parameter(torch.zeros(3, 5))  # type: ignore[assignment]
    fixed = {f.name: f for f in Elastic(model, (torch.randn(3, 4),)).report().fixed}
    assert fixed["spare"].reason == "no call uses it"
    assert fixed["spare"].size == 15


def test_a_model_without_values_is_refused() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    with pytest.raises(SuppleError, match="on the device 'meta'"):
        Elastic(model, (torch.randn(3, 4),))
