"""Mixture of experts: a router sends each token to a few of many feed-forward networks.

`SwitchFFN` sends each token to one expert, holds all experts in stacked weights and bounds how
many tokens an expert takes in training. `SparseMoE` mixes the best k of any modules. Both keep a
balance loss of their last call in ``aux_loss``; add `collect_aux_losses` to the loss.

Paper 79: Zhou, Liu, Dong, "Build a Robust QA System with Transformer-based Mixture of Experts"
(arXiv 2204.09598), with the layers of Shazeer et al. (arXiv 1701.06538) and of Fedus, Zoph,
Shazeer (arXiv 2101.03961).
"""

# T tokens, D features, E experts, F hidden features

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._checks import check_features, check_option, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = ["SparseMoE", "SwitchFFN", "collect_aux_losses", "switch_balance_loss", "upcycle"]


def switch_balance_loss(probabilities_TE: Tensor) -> Tensor:
    """``E sum_e f_e P_e``: share of tokens times mean probability; 1 where all are used alike.

    Example:
        >>> switch_balance_loss(torch.tensor([[0.6, 0.4], [0.4, 0.6]])).item()
        1.0
    """
    experts = probabilities_TE.shape[-1]
    chosen = F.one_hot(probabilities_TE.argmax(-1), experts).to(probabilities_TE.dtype)
    return experts * (chosen.mean(0) * probabilities_TE.mean(0)).sum()


def _is_symbolic(x: Tensor) -> bool:
    """There are no values to route by: a graph is captured, or only shapes are asked for."""
    return torch.compiler.is_compiling() or x.is_meta


class _Routed(nn.Module):
    """What both layers share: the router and what is known of the last call."""

    def __init__(self, num_experts: int, in_features: int, made: dict[str, Any]) -> None:
        super().__init__()
        check_positive(self, num_experts=num_experts, in_features=in_features)
        self.num_experts = num_experts
        self.in_features = self.out_features = in_features
        self.router = nn.Linear(in_features, num_experts, bias=False, **made)
        self.aux_loss: Tensor | None = None
        self.router_stats: dict[str, Tensor] = {}

    def _logits(self, x_TD: Tensor) -> Tensor:
        """In float32 at least: half precision is too coarse to compare experts."""
        wide = torch.promote_types(x_TD.dtype, torch.float32)
        return F.linear(x_TD.to(wide), self.router.weight.to(wide))

    def _remember(self, loss: Tensor, load_E: Tensor) -> None:
        """Kept for the training loop; a graph that is being captured keeps nothing."""
        if torch.compiler.is_compiling() or loss.is_meta:
            return
        self.aux_loss = loss
        mean = load_E.mean()
        spread = load_E.std(correction=0) / mean
        self.router_stats = {"load": load_E.detach(), "load_cv": spread.detach()}


@implements(79)
class SwitchFFN(_Routed):
    """A feed-forward network for each expert; every token goes through one.

    ``y = p_e(x) W2_e relu(W1_e x)`` for the expert e of the largest probability p. In training an
    expert takes at most ``ceil(capacity_factor * tokens / experts)`` tokens, the first ones; the
    rest get zero, so that a residual connection passes them on unchanged. In evaluation none is
    dropped.

    Args:
        in_features: Features D of a token, in and out.
        hidden_features: Features F within an expert.
        num_experts: Experts E.
        capacity_factor: Room in an expert, relative to an even share; None for no bound.
        balance_weight: Weight of the balance loss in ``aux_loss``.

    Example:
        >>> block = SwitchFFN(in_features=8, hidden_features=16, num_experts=4).eval()
        >>> block(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        *,
        in_features: int,
        hidden_features: int,
        num_experts: int,
        capacity_factor: float | None = 1.25,
        balance_weight: float = 0.01,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(num_experts, in_features, made)
        check_positive(self, hidden_features=hidden_features)
        self.hidden_features = hidden_features
        self.capacity_factor = capacity_factor
        self.balance_weight = balance_weight
        shape = (num_experts, hidden_features)
        self.weight1 = nn.Parameter(torch.empty((*shape, in_features), **made))
        self.bias1 = nn.Parameter(torch.empty(shape, **made))
        self.weight2 = nn.Parameter(
            torch.empty((num_experts, in_features, hidden_features), **made)
        )
        self.bias2 = nn.Parameter(torch.empty((num_experts, in_features), **made))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """As ``nn.Linear`` does, for each expert by itself."""
        for tensor, fan in (
            (self.weight1, self.in_features),
            (self.bias1, self.in_features),
            (self.weight2, self.hidden_features),
            (self.bias2, self.hidden_features),
            (self.router.weight, self.in_features),
        ):
            bound = 1 / math.sqrt(fan)
            nn.init.uniform_(tensor, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (…, D) to the same shape."""
        check_features(self, x, self.in_features)
        x_TD = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
        p_TE = self._logits(x_TD).softmax(-1)
        gate_TE = self._gates(p_TE)
        self._remember(
            self.balance_weight * switch_balance_loss(p_TE), (gate_TE > 0).sum(0).to(p_TE)
        )
        gate_TE = gate_TE.to(x.dtype)
        if _is_symbolic(x):
            y_TD = self._all_experts(x_TD, gate_TE)
        else:
            y_TD = self._chosen_experts(x_TD, gate_TE)
        return y_TD if x.dim() == 2 else y_TD.reshape(x.shape)

    def _gates(self, p_TE: Tensor) -> Tensor:
        """The probability of the chosen expert, zero for all others and for dropped tokens."""
        chosen = F.one_hot(p_TE.argmax(-1), self.num_experts).to(p_TE.dtype)
        if self.training and self.capacity_factor is not None:
            room = math.ceil(self.capacity_factor * p_TE.shape[0] / self.num_experts)
            place = chosen.cumsum(0) * chosen  # 1 for an expert's first token
            chosen = chosen * (place <= room)
        return p_TE * chosen

    def _all_experts(self, x_TD: Tensor, gate_TE: Tensor) -> Tensor:
        """Every expert on every token: a graph without data-dependent sizes."""
        h = torch.einsum("td,efd->tef", x_TD, self.weight1) + self.bias1
        y = torch.einsum("tef,edf->ted", torch.relu(h), self.weight2) + self.bias2
        return torch.einsum("te,ted->td", gate_TE, y)

    def _chosen_experts(self, x_TD: Tensor, gate_TE: Tensor) -> Tensor:
        """Each expert on its own tokens only."""
        y_TD = torch.zeros_like(x_TD)
        for e in range(self.num_experts):
            mine = gate_TE[:, e].nonzero().squeeze(1)
            if mine.numel() == 0:
                continue
            h = torch.relu(F.linear(x_TD[mine], self.weight1[e], self.bias1[e]))
            y = F.linear(h, self.weight2[e], self.bias2[e])
            y_TD = y_TD.index_add(0, mine, gate_TE[mine, e].unsqueeze(1) * y)
        return y_TD

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"{self.in_features}, hidden={self.hidden_features}, experts={self.num_experts}"


@implements(79)
class SparseMoE(_Routed):
    """The best k of any experts, mixed by a softmax over their logits.

    ``y = sum over the k largest logits of g_e E_e(x)``. With ``router="noisy_topk"`` learned
    noise is added to the logits in training, drawn as dropout's is. The balance loss is
    ``balance_weight`` times the squared coefficient of variation of the summed gates
    ("importance"); with ``router="switch"`` it is that of the Switch transformer.

    Args:
        experts: Modules from (…, D) to (…, D).
        in_features: Features D.
        top_k: Experts for each token.
        router: ``"noisy_topk"`` or ``"switch"``.
        balance_weight: Weight of the balance loss in ``aux_loss``.

    Raises:
        BlockError: More experts asked for each token than there are.

    Example:
        >>> block = SparseMoE(experts=[nn.Linear(8, 8) for _ in range(4)], in_features=8, top_k=2)
        >>> block.eval()(torch.randn(2, 8)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        *,
        experts: list[nn.Module] | list[nn.Linear] | list[nn.Sequential],
        in_features: int,
        top_k: int = 1,
        router: Literal["noisy_topk", "switch"] = "switch",
        balance_weight: float = 0.01,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(len(experts), in_features, made)
        check_option(self, "router", router, ("noisy_topk", "switch"))
        check_positive(self, top_k=top_k)
        if top_k > len(experts):
            raise BlockError(
                f"SparseMoE got top_k={top_k} and {len(experts)} experts.",
                why="A token cannot go to more experts than there are.",
                hint=f"top_k={len(experts)} or more experts.",
                top_k=top_k,
            )
        self.experts = nn.ModuleList(experts)
        self.top_k = top_k
        self.kind = router
        self.balance_weight = balance_weight
        is_noisy = router == "noisy_topk"
        self.noise = nn.Linear(in_features, len(experts), bias=False, **made) if is_noisy else None
        self._reset_router(None)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """The router as ``nn.Linear``, the noise as softplus(0); experts as their layers do."""
        self._reset_router(generator)
        for part in self.experts.modules():
            if callable(getattr(part, "reset_parameters", None)):
                part.reset_parameters()  # type: ignore[operator]

    def _reset_router(self, generator: torch.Generator | None) -> None:
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.router.weight, -bound, bound, generator=generator)
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)

    def gates(self, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """The gates (T, E), zero outside the best k, and the logits they come from."""
        logits = self._logits(x_TD)
        if self.noise is not None and self.training:
            scale = F.softplus(F.linear(x_TD.to(logits.dtype), self.noise.weight.to(logits.dtype)))
            logits = logits + torch.randn_like(logits) * scale
        if self.kind == "switch":  # probabilities over all experts, then the best k
            p = logits.softmax(-1)
            best = p.topk(self.top_k, -1)
            return torch.zeros_like(p).scatter(-1, best.indices, best.values), logits
        best = logits.topk(self.top_k, -1)
        shares = best.values.softmax(-1)
        return torch.zeros_like(logits).scatter(-1, best.indices, shares), logits

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (…, D) to the same shape."""
        check_features(self, x, self.in_features)
        x_TD = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
        gate_TE, logits = self.gates(x_TD)
        if self.kind == "switch":
            loss = switch_balance_loss(logits.softmax(-1))
        else:
            importance = gate_TE.sum(0)
            loss = importance.var(correction=0) / (importance.mean().square() + 1e-10)
        self._remember(self.balance_weight * loss, (gate_TE > 0).sum(0).to(gate_TE))
        gate_TE = gate_TE.to(x.dtype)
        y_TD = torch.zeros_like(x_TD)
        for e, expert in enumerate(self.experts):
            if _is_symbolic(x):
                y_TD = y_TD + gate_TE[:, e : e + 1] * expert(x_TD)
                continue
            mine = gate_TE[:, e].nonzero().squeeze(1)
            if mine.numel():
                y_TD = y_TD.index_add(0, mine, gate_TE[mine, e].unsqueeze(1) * expert(x_TD[mine]))
        return y_TD if x.dim() == 2 else y_TD.reshape(x.shape)

    def extract_expert(self, index: int) -> nn.Module:
        """A copy of one expert: a dense network."""
        return copy.deepcopy(self.experts[index])

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"experts={self.num_experts}, top_k={self.top_k}, router={self.kind!r}"


@implements(79)
def upcycle(
    module: nn.Module,
    *,
    in_features: int,
    num_experts: int,
    noise: float = 0.01,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> SparseMoE:
    """A mixture whose experts are copies of a trained network, each with a little noise.

    Args:
        module: From (…, D) to (…, D); it is not changed.
        in_features: Features D.
        num_experts: Copies.
        noise: Standard deviation of the noise, relative to that of each parameter.
        generator: Where the noise comes from.
        **settings: The further ones of `SparseMoE`.

    Example:
        >>> upcycle(nn.Linear(4, 4), in_features=4, num_experts=3, noise=0.0).num_experts
        3
    """
    experts: list[nn.Module] = []
    for _ in range(num_experts):
        expert = copy.deepcopy(module)
        with torch.no_grad():
            for p in expert.parameters():
                made = torch.empty_like(p).normal_(generator=generator)
                p.add_(made * (noise * float(p.std(correction=0))))
        experts.append(expert)
    like = next(module.parameters())
    return SparseMoE(
        experts=experts, in_features=in_features, device=like.device, dtype=like.dtype, **settings
    )


def collect_aux_losses(model: nn.Module) -> Tensor | None:
    """The sum of the balance losses of the last call; None if no layer has one.

    Example:
        >>> block = SwitchFFN(in_features=4, hidden_features=8, num_experts=2)
        >>> collect_aux_losses(block) is None
        True
        >>> _ = block(torch.randn(6, 4))
        >>> collect_aux_losses(block).ndim
        0
    """
    losses = [
        m.aux_loss for m in model.modules() if isinstance(m, _Routed) and m.aux_loss is not None
    ]
    return torch.stack(losses).sum() if losses else None
