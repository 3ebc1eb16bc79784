"""MACs against closed forms and torch's own FLOP counter (which counts two per MAC)."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from supple.elastic import Elastic
from supple.errors import ExampleError
from supple.measure import MACs


class Call(nn.Module):
    """A function as a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def r(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def attention(**settings):
    return Call(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **settings))


Q = r(2, 4, 6, 8)  # batch, heads, tokens, head size
SCORES = 4 * 6 * 6 * 8  # per sample: Q K^T, and the same again for P V

# network, example, MACs per sample
CLOSED_FORMS = {
    "linear": (nn.Linear(4, 5), r(3, 4), 20),
    "linear over tokens": (nn.Linear(4, 5), r(3, 7, 4), 7 * 20),
    "linear without bias": (nn.Linear(4, 5, bias=False), r(3, 7, 4), 7 * 20),
    "convolution": (nn.Conv2d(3, 8, 3, padding=1), r(2, 3, 6, 5), 6 * 5 * 8 * 3 * 9),
    "strided": (nn.Conv2d(3, 8, 3, stride=2), r(2, 3, 7, 7), 3 * 3 * 8 * 3 * 9),
    "grouped": (nn.Conv2d(4, 8, 3, groups=2), r(2, 4, 8, 8), 36 * 8 * 2 * 9),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6), r(2, 6, 8, 8), 36 * 6 * 9),
    "dilated 1d": (nn.Conv1d(2, 3, 5, dilation=2), r(2, 2, 12), 4 * 3 * 2 * 5),
    "3d": (nn.Conv3d(1, 2, 2), r(2, 1, 3, 3, 3), 8 * 2 * 8),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), r(2, 4, 5, 5), 25 * 4 * 6 * 9),
    "transposed grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), r(2, 4, 5, 5), 25 * 4 * 3 * 9),
    "attention": (attention(), (Q, Q, Q), 2 * SCORES),
    "causal attention": (attention(is_causal=True), (Q, Q, Q), 2 * SCORES),
    "masked attention": (attention(attn_mask=torch.zeros(6, 6)), (Q, Q, Q), 2 * SCORES),
    "grouped queries": (attention(enable_gqa=True), (Q, Q[:, :2], Q[:, :2]), 2 * SCORES),
    "values of another size": (attention(), (Q, Q, r(2, 4, 6, 5)), SCORES + 4 * 36 * 5),
    "attention in three dims": (attention(), (r(2, 6, 8),) * 3, 2 * 36 * 8),
    "multi-head layer": (
        nn.MultiheadAttention(8, 2, batch_first=True), (r(2, 5, 8),) * 3,
        5 * 8 * 24 + 5 * 8 * 8 + 2 * 25 * 8,
    ),
    "transformer layer": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), r(2, 5, 8),
        5 * 8 * 24 + 5 * 8 * 8 + 2 * 25 * 8 + 2 * 5 * 8 * 16,
    ),
    "einsum": (Call(lambda a, b: torch.einsum("bij,bjk->bik", a, b)), (r(2, 3, 4), r(2, 4, 5)), 60),
    "batched product": (Call(torch.baddbmm), (r(2, 3, 5), r(2, 3, 4), r(2, 4, 5)), 60),
    "matrix and vector": (Call(lambda a, v: a @ v), (r(2, 3, 4), r(4)), 12),
    "bilinear": (nn.Bilinear(3, 4, 5), (r(2, 3), r(2, 4)), 5 * 3 * 4 + 5 * 4),
    "distances": (Call(lambda a, b: torch.cdist(a, b)), (r(2, 3, 4), r(2, 5, 4)), 60),
    "lstm": (nn.LSTM(4, 5, 2, batch_first=True), r(2, 7, 4), 7 * 20 * (4 + 5 + 5 + 5)),
    "bidirectional lstm": (
        nn.LSTM(4, 5, bidirectional=True, batch_first=True), r(2, 7, 4), 2 * 7 * 20 * 9,
    ),
    "gru": (nn.GRU(4, 5, batch_first=True), r(2, 7, 4), 7 * 15 * 9),
    "rnn": (nn.RNN(4, 5, batch_first=True), r(2, 7, 4), 7 * 5 * 9),
    "lstm cell": (nn.LSTMCell(4, 5), r(2, 4), 20 * 9),
    "element-wise": (nn.Sequential(nn.BatchNorm1d(4), nn.GELU(), nn.LayerNorm(4)), r(2, 4), 0),
    "embedding": (nn.Embedding(9, 4), torch.zeros(2, 3).long(), 0),
}  # fmt: skip


@pytest.mark.parametrize("fake", [False, True], ids=["real", "fake"])
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_every_operator_counts_as_its_formula_says(name, fake):
    network, example, expected = CLOSED_FORMS[name]
    assert MACs(example=example, fake=fake).measure(network).value == expected


def residual_cnn():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, bias=False)
            self.norm, self.depth = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.up, self.head = nn.ConvTranspose2d(8, 4, 2, 2), nn.Linear(4, 10)

        def forward(self, x):
            x = F.relu(self.norm(self.stem(x)))
            return self.head(self.up(x + self.depth(x)).mean((2, 3)))

    return Block(), r(3, 3, 15, 15)


def token_mixer():
    layers = nn.Sequential(nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8))
    return Call(lambda x: layers(torch.einsum("btd,bsd->bts", x, x) @ x)), r(2, 6, 8)


@pytest.mark.parametrize("make", [residual_cnn, token_mixer])
def test_a_whole_network_equals_torchs_flop_counter(make):
    network, x = make()
    with FlopCounterMode(display=False) as counter:
        network.eval()(x)
    found = MACs(example=x).measure(network)
    assert 2 * found.details["total"] == counter.get_total_flops() > 0
    assert found.value * len(x) == found.details["total"]
    assert sum(found.details["operators"].values()) == found.details["total"]


def test_the_count_per_sample_does_not_depend_on_the_batch():
    network, x = residual_cnn()
    values = {MACs(example=(x[:n],)).measure(network).value for n in (1, 2, 3)}
    assert len(values) == 1


def test_fake_tensors_compute_nothing_and_leave_the_network_as_it_was():
    network = nn.Sequential(nn.Linear(20_000, 20_000, device="meta"))
    expected = 20_000**2
    assert MACs(example=torch.empty(1, 20_000, device="meta")).measure(network).value == expected
    network, x = residual_cnn()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    MACs(example=x, fake=True).measure(network.train())
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert network.training


def test_a_sub_network_counts_like_its_extraction():
    net = Elastic(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), (r(2, 6),))
    for config in (net.space.smallest, net.space.at_ratio(0.5), net.space.largest):
        width = next(iter(config.values()))
        for network in (net.at(config), net.extract(config)):
            assert MACs(example=r(2, 6)).measure(network).value == width * 9


def test_the_fused_attention_setting_is_restored():
    assert torch.backends.mha.get_fastpath_enabled()
    MACs(example=r(2, 4)).measure(nn.Linear(4, 4))
    assert torch.backends.mha.get_fastpath_enabled()


def test_an_example_that_does_not_fit_says_so():
    with pytest.raises(ExampleError, match="does not run on the example"):
        MACs(example=r(2, 3)).measure(nn.Linear(4, 4))
