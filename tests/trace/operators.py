"""One tiny module for each operator: around it, layers whose axes must follow it.

Each entry is ``(model, example, must)``: ``must`` says whether the width of the first layer has to
be elastic (the operator passes it), or has to be fixed (the operator depends on it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FIXING", "PASSING"]

Case = tuple[nn.Module, tuple[Any, ...]]
PASSING: dict[str, Callable[[], Case]] = {}
FIXING: dict[str, Callable[[], Case]] = {}
H = 12  # the width in the middle


class Around(nn.Module):
    """``last(f(first(x)))``."""

    def __init__(
        self, first: nn.Module, middle: Callable[..., Tensor], last: nn.Module, *more: nn.Module
    ) -> None:
        super().__init__()
        self.first, self.last = first, last
        self.more = nn.ModuleList(more)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x), *self.more))


def tokens(name: str, middle: Callable[..., Tensor], *more: nn.Module, out: int = H,
           into: dict[str, Any] = PASSING) -> None:  # fmt: skip
    """A case on (batch, 6 tokens, H)."""
    into[name] = lambda: (
        Around(nn.Linear(5, H), middle, nn.Linear(out, 4), *more),
        (torch.randn(3, 6, 5),),
    )


def images(name: str, middle: Callable[..., Tensor], *more: nn.Module, out: int = H,
           into: dict[str, Any] = PASSING) -> None:  # fmt: skip
    """A case on (batch, H, 8, 8)."""
    into[name] = lambda: (
        Around(nn.Conv2d(3, H, 3, padding=1), middle, nn.Conv2d(out, 4, 1), *more),
        (torch.randn(3, 3, 8, 8),),
    )


def call(layer: nn.Module) -> tuple[Callable[..., Tensor], nn.Module]:
    """A layer as what stands in the middle."""
    return (lambda x, inner: inner(x)), layer


# -- normalisation ----------------------------------------------------------------------------
tokens("layer_norm", *call(nn.LayerNorm(H)))
tokens("layer_norm_without_scale", lambda x: F.layer_norm(x, (H,)))
tokens("rms_norm", *call(nn.RMSNorm(H)))
tokens("native_layer_norm", lambda x: torch.native_layer_norm(x, [H], None, None, 1e-5)[0])
images("group_norm", *call(nn.GroupNorm(4, H)))
images("native_group_norm", lambda x: torch.native_group_norm(x, None, None, 3, H, 64, 4, 1e-5)[0])
images("instance_norm", *call(nn.InstanceNorm2d(H, affine=True)))
images("batch_norm", *call(nn.BatchNorm2d(H)))
images("local_response_norm", *call(nn.LocalResponseNorm(3)), into=FIXING)
tokens("l2_normalise", lambda x: F.normalize(x, dim=-1))
tokens("weight_norm", *call(nn.utils.parametrizations.weight_norm(nn.Linear(H, H))))
tokens("softmax_over_the_axis", lambda x: x.softmax(-1), into=FIXING)
tokens("softmax_over_another", lambda x: x.softmax(1))

# -- convolution ------------------------------------------------------------------------------
images("conv_grouped", *call(nn.Conv2d(H, 24, 3, groups=4)), out=24)
images("conv_depthwise", *call(nn.Conv2d(H, H, 3, padding=2, dilation=2, groups=H)))
images("conv_depth_multiplier", *call(nn.Conv2d(H, 2 * H, 3, groups=H)), out=2 * H)
images("conv_transposed", *call(nn.ConvTranspose2d(H, 8, 2, 2)), out=8)
images("conv_transposed_grouped", *call(nn.ConvTranspose2d(H, 8, 2, 2, groups=4)), out=8)
images("prelu", *call(nn.PReLU(H)))
images("max_pool", lambda x: F.max_pool2d(x, 2))
images("adaptive_pool", lambda x: F.adaptive_avg_pool2d(x, 3))
images("lp_pool", lambda x: F.lp_pool2d(x, 2, 2))
images("max_pool_and_unpool", lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2))
tokens("pool_over_tokens", lambda x: F.avg_pool2d(x[:, None], (2, 1), (2, 1))[:, 0])
images("interpolate", lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"))
images("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), out=H // 4)
images("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), out=4 * H)
images("channel_shuffle", lambda x: F.channel_shuffle(x, 4))
images("unfold", lambda x: F.unfold(x, 3).unflatten(2, (6, 6)), out=9 * H)
images("fold", lambda x: F.fold(F.unfold(x, 2, stride=2), (8, 8), 2, stride=2))
images("grid_sample", lambda x: F.grid_sample(x, x.new_zeros(3, 4, 4, 2), align_corners=False))
for _rank, _conv, _back, _norm in (
    (1, nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d),
    (3, nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
):
    PASSING[f"conv{_rank}d"] = lambda r=_rank, c=_conv, b=_back, n=_norm: (
        nn.Sequential(c(2, H, 3), n(H), c(H, H, 3, padding=1, groups=H), nn.ReLU(),
                      c(H, 8, 3, groups=4, padding=2, dilation=2), b(8, 6, 2, 2), c(6, 3, 1)),
        (torch.randn(2, 2, *[6] * r),),
    )  # fmt: skip


# -- contraction ------------------------------------------------------------------------------
tokens("einsum", lambda x: torch.einsum("bnd,bmd->bnm", x, x) @ x)
tokens("matmul_of_both", lambda x: x @ (x.transpose(1, 2) @ x))
tokens("baddbmm", lambda x: torch.baddbmm(x, x @ x.transpose(1, 2), x))
tokens("tensordot", lambda x, w: torch.tensordot(x, w.weight, dims=([2], [1])), nn.Linear(H, H))
tokens("inner", lambda x, w: torch.inner(x, w.weight), nn.Linear(H, H, bias=False))
tokens("bilinear", lambda x, w: w(x, x), nn.Bilinear(H, H, 8), out=8)
tokens("cosine_similarity", lambda x: F.cosine_similarity(x, x.flip(1), dim=-1)[..., None] * x)
tokens("cdist", lambda x: torch.cdist(x, x) @ x)
tokens("outer_product", lambda x: (x[..., None] * x[..., None, :]).flatten(2), out=H * H)


def _interleaved(x: Tensor) -> Tensor:
    value, gate = x.unflatten(-1, (-1, 2)).unbind(-1)
    return value * gate


# -- views ------------------------------------------------------------------------------------
tokens("split_and_cat", lambda x: torch.cat(x.split([3, 4, 5], -1)[::-1], -1))
tokens("chunk_gate", lambda x: F.glu(x, -1), out=H // 2)
tokens("swiglu", lambda x: F.silu(x[..., : H // 2]) * x[..., H // 2 :], out=H // 2)
tokens("interleaved_gate", lambda x: x[..., ::2] * x[..., 1::2], out=H // 2)
tokens("every_other_but_one", lambda x: x[..., 1:-1:2], out=H // 2 - 1, into=FIXING)
tokens("interleaved_by_view", _interleaved, out=H // 2)
tokens("stack_and_sum", lambda x: torch.stack([x, 2 * x]).sum(0))
tokens("hstack", lambda x: torch.hstack([x, x]))
tokens("repeat", lambda x: x.repeat(1, 1, 2), out=2 * H)
tokens("repeat_interleave", lambda x: x.repeat_interleave(2, -1), out=2 * H)
tokens("repeat_to_a_size", lambda x: x.repeat_interleave(2, -1, output_size=2 * H), out=2 * H)
tokens("expand", lambda x: x[:, :, None].expand(-1, -1, 2, -1).flatten(2), out=2 * H)
tokens("pad", lambda x: F.pad(x, (1, 2)), out=H + 3)
tokens("roll_tokens", lambda x: x.roll(1, 1))
tokens("roll_the_axis", lambda x: x.roll(1, -1), into=FIXING)
tokens("flip_the_axis", lambda x: x.flip(-1), into=FIXING)
tokens("cumsum_tokens", lambda x: x.cumsum(1))
tokens("cumsum_the_axis", lambda x: x.cumsum(-1), into=FIXING)
tokens("windows", lambda x: x.unfold(1, 2, 2).mean(-1))
tokens("movedim", lambda x: x.movedim(-1, 0).movedim(0, -1))
tokens("squeeze", lambda x: x[:, :, None].squeeze(2))
tokens(
    "meshgrid",
    lambda x: x * torch.meshgrid(torch.ones(3), torch.ones(6), indexing="ij")[0][..., None],
)
tokens("as_strided", lambda x: torch.as_strided(x, (3, 6, H), (6 * H, H, 1)), into=FIXING)

# -- picking ----------------------------------------------------------------------------------
tokens(
    "gather_tokens", lambda x: x.gather(1, torch.zeros(3, 2, 1, dtype=torch.long).expand(-1, -1, H))
)
tokens("gather_the_axis", lambda x: x.gather(2, torch.arange(H).expand(3, 6, H)), into=FIXING)
tokens("index_tokens", lambda x: x[:, torch.tensor([3, 1])])
tokens("index_the_axis", lambda x: x[..., torch.arange(H - 1, -1, -1)], into=FIXING)
tokens(
    "scatter_tokens",
    lambda x: x.new_zeros(3, 6, H).scatter_add(1, torch.zeros(3, 6, H, dtype=torch.long), x),
)
tokens("index_select", lambda x: x.index_select(1, torch.tensor([0, 2])))
tokens("index_add", lambda x: x.new_zeros(3, 6, H).index_add(1, torch.arange(6), x))
tokens("topk_tokens", lambda x: x.topk(2, 1).values)
tokens("topk_of_scores", lambda x, w: x * w(x).topk(1, 1).values, nn.Linear(H, 1))
tokens("sort_tokens", lambda x: x.sort(1).values)
tokens("sort_the_axis", lambda x: x.sort(-1).values, into=FIXING)
tokens(
    "mask_of_tokens", lambda x: x.masked_fill(torch.tensor([0, 1, 0, 0, 1, 0]).bool()[:, None], 0.0)
)
tokens("rows_by_mask", lambda x: x[torch.tensor([1, 0, 1]).bool()])
tokens("written_rows", lambda x: x.new_zeros(3, 6, H).index_put((torch.tensor([0, 1]),), x[:2]))
tokens(
    "masked_scatter",
    lambda x: x.masked_scatter(
        torch.tensor([1, 0, 1, 0, 0, 1]).bool()[:, None].expand(3, 6, H), 2 * x
    ),
)
tokens("slice_scatter", lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, 0, 2))
tokens("select_scatter", lambda x: torch.select_scatter(x, x[:, 0] * 2, 1, 3))
tokens("argmax_of_the_axis", lambda x: x + x.argmax(-1, keepdim=True), into=FIXING)
tokens("fft_of_tokens", lambda x: torch.fft.fft(x, dim=1).real)
tokens("fft_of_the_axis", lambda x: torch.fft.fft(x).real, into=FIXING)


# -- what only looks odd ----------------------------------------------------------------------
def _turned(x: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.polar(torch.ones(6, 1), torch.ones(6, 1))).flatten(-2)


tokens("complex", _turned)
tokens("in_place", lambda x: x.clone().mul_(2.0).add_(x).relu_())
tokens("where", lambda x: torch.where(x > 0, x, torch.zeros(()).expand_as(x)))
tokens("aliases", lambda x: torch.multiply(torch.subtract(x, 0.1), torch.divide(x, 2.0)).absolute())
tokens("type_as", lambda x: x * torch.ones(6, 1).type_as(x))
tokens("bucketize", lambda x: x * torch.bucketize(x.detach(), torch.tensor([0.0, 1.0])))
tokens("lstm", lambda x, w: w(x)[0], nn.LSTM(H, 7, batch_first=True), out=7)
tokens("lstm_of_two_directions", lambda x, w: w(x)[0],
       nn.LSTM(H, 7, 2, batch_first=True, bidirectional=True), out=14)  # fmt: skip
tokens("lstm_projected", lambda x, w: w(x)[0], nn.LSTM(H, 7, proj_size=3, batch_first=True), out=3)
tokens("gru", lambda x, w: w(x)[0], nn.GRU(H, 7, batch_first=True), out=7)
tokens("rnn", lambda x, w: w(x)[0], nn.RNN(H, 7, batch_first=True), out=7)
tokens("lstm_cell", lambda x, w: w(x[:, 0])[0], nn.LSTMCell(H, 7), out=7)
tokens("gru_cell", lambda x, w: w(x[:, 0]), nn.GRUCell(H, 7), out=7)


def _autocast(x: Tensor, inner: nn.Module) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        return inner(x)


def _cond(x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda y: y * 2, lambda y: y + 1, (x,))


tokens("autocast", _autocast, nn.Linear(H, H))
tokens("cond", _cond, into=FIXING)


class Squeeze(nn.Module):
    """Squeeze and excite."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(H, 4, 1), nn.Conv2d(4, H, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


images("squeeze_excite", *call(Squeeze()))


class Attention(nn.Module):
    """Fused query, key and value in one of three layouts; or grouped queries."""

    def __init__(self, layout: str, heads: int = 3, groups: int = 3) -> None:
        super().__init__()
        self.layout, self.heads, self.groups, self.size = layout, heads, groups, H // heads
        width = (heads + 2 * groups) * self.size
        self.qkv, self.out = nn.Linear(H, width), nn.Linear(heads * self.size, H)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        fused = self.qkv(x)
        if self.layout == "3hd":
            q, k, v = fused.view(b, n, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        elif self.layout == "h3d":
            q, k, v = fused.view(b, n, self.heads, 3, self.size).permute(3, 0, 2, 1, 4)
        else:
            sizes = [self.heads * self.size, self.groups * self.size, self.groups * self.size]
            q, k, v = (
                t.unflatten(-1, (-1, self.size)).transpose(1, 2) for t in fused.split(sizes, -1)
            )
        enable = self.heads != self.groups
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=enable)
        return self.out(y.transpose(1, 2).reshape(b, n, -1))


tokens("fused_qkv_outer", *call(Attention("3hd")))
tokens("fused_qkv_inside_heads", *call(Attention("h3d")))
tokens("fused_qkv_split", *call(Attention("split")))
tokens("grouped_queries", *call(Attention("split", heads=6, groups=2)))


class Experts(nn.Module):
    """A soft mixture over stacked expert weights."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(H, 3)
        self.up = nn.Parameter(torch.randn(3, H, 8) * 0.3)
        self.down = nn.Parameter(torch.randn(3, 8, H) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(x).softmax(-1)
        each = torch.einsum("bnd,edf->benf", x, self.up).relu()
        return torch.einsum("benf,efd,bne->bnd", each, self.down, weights)


class TopExperts(nn.Module):
    """Each token goes to its best expert, whose weights are looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(H, 3)
        self.up = nn.Parameter(torch.randn(3, H, 8) * 0.3)
        self.down = nn.Parameter(torch.randn(3, 8, H) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        score, chosen = self.router(x).softmax(-1).max(-1)
        hidden = torch.einsum("bnd,bndf->bnf", x, self.up[chosen]).relu()
        return torch.einsum("bnf,bnfd->bnd", hidden, self.down[chosen]) * score[..., None]


tokens("experts", *call(Experts()))
tokens("experts_looked_up", *call(TopExperts()))


class Tied(nn.Module):
    """One table for words in and words out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Embedding(9, H)
        self.last = nn.Linear(H, 9, bias=False)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


PASSING["tied_embedding"] = lambda: (Tied(), (torch.randint(0, 9, (3, 6)),))
PASSING["embedding_bag"] = lambda: (
    nn.Sequential(nn.EmbeddingBag(9, H), nn.Linear(H, 3)),
    (torch.randint(0, 9, (3, 6)),),
)
