"""Codebook features: vectors as means of a few codes, to be read and forced (2310.17230).

A. Tamkin et al., "Codebook Features: Sparse and Discrete Interpretability for Neural Networks",
ICML 2024. Between two layers a vector is replaced by the mean of the k codes most like it. The
network is trained through that; then a code that fires for a property can be switched on to make
the network go on as if the property held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supple.compress.quantize._quantizer import straight_through
from supple.compress.quantize.kmeans import lloyd
from supple.errors import CompressError, near_misses
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = [
    "CodebookLayer",
    "code_scores",
    "codebook_loss",
    "codebooks",
    "disabled_codes",
    "forced_codes",
    "insert_codebooks_",
    "recorded_codes",
]


@implements(73)
class CodebookLayer(nn.Module):
    """Replaces each vector by the mean of the ``k`` codes most similar to its layer norm.

    Inputs get the gradient straight through; codes that of the task, and of the squared distance to
    what they stand for, which `codebook_loss` gives.

    Args:
        features: Size of a vector.
        codes: Codes in a codebook.
        k: Codes taken.
        groups: Parts of the vector with a codebook each, such as attention heads.
        similarity: ``inner`` (with codes of length one) or ``euclidean``.

    Attributes:
        ids: Of the last call: shape (..., groups, k).

    Example:
        >>> import torch
        >>> from supple.compress.quantize import CodebookLayer
        >>> layer = CodebookLayer(features=8, codes=16, k=2)
        >>> layer(torch.randn(3, 5, 8)).shape, layer.ids.shape
        (torch.Size([3, 5, 8]), torch.Size([3, 5, 1, 2]))
    """

    def __init__(
        self,
        *,
        features: int,
        codes: int,
        k: int = 1,
        groups: int = 1,
        similarity: Literal["inner", "euclidean"] = "inner",
    ) -> None:
        super().__init__()
        if groups < 1 or features % groups:
            raise CompressError(
                f"a codebook layer got {features} features and {groups} groups.",
                why=f"{features} is not a multiple of {groups}.",
                hint="groups that divide the features, often the number of heads.",
            )
        if not 1 <= k <= codes:
            raise CompressError(
                f"a codebook layer got k={k} of {codes} codes.", hint=f"k from 1 to {codes}."
            )
        if similarity not in ("inner", "euclidean"):
            raise CompressError(
                f"a codebook layer got similarity={similarity!r}.", hint='"inner" or "euclidean".'
            )
        self.features, self.groups, self.k = features, groups, k
        self.similarity = similarity
        self.norm = nn.LayerNorm(features)
        self.codes = nn.Parameter(torch.empty(groups, codes, features // groups))
        self.is_enabled = True
        self.forced: Tensor | None = None
        self.ids: Tensor = torch.empty(0, groups, k, dtype=torch.int64)
        self.loss: Tensor = torch.zeros(())
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Codes from a standard normal distribution."""
        nn.init.normal_(self.codes)
        self.norm.reset_parameters()

    @property
    def bits(self) -> float:
        """Bits of one vector: the numbers of its codes."""
        count = self.codes.shape[1]
        return self.groups * self.k * max(1.0, float(torch.tensor(count).log2()))

    def start_from(self, x: Tensor, *, seed: int = 0, rounds: int = 10) -> None:
        """Codes from k-means over vectors, of shape (..., features)."""
        with torch.no_grad():
            parts = self._parts(x.detach())
            draws = torch_generator(seed, "codebook")
            for group in range(self.groups):
                points = parts[:, group]
                count = self.codes.shape[1]
                picked = torch.randint(len(points), (count,), generator=draws)
                self.codes[group] = lloyd(points, points[picked].clone(), rounds)

    def revive(self, x: Tensor, used: Tensor, *, seed: int = 0, noise: float = 0.01) -> int:
        """Gives codes that were not used the place of vectors drawn from ``x``.

        Args:
            x: Vectors, shape (..., features).
            used: How often each code was used, shape (groups, codes).
            seed: Of the draws.
            noise: Spread around the vectors, in parts of their length.

        Returns:
            How many codes were moved.
        """
        draws = torch_generator(seed, "codebook", "revive")
        with torch.no_grad():
            parts = self._parts(x.detach())
            for group in range(self.groups):
                dead = (used[group] == 0).nonzero()[:, 0]
                picked = parts[torch.randint(len(parts), (len(dead),), generator=draws), group]
                spread = noise * picked.norm(dim=1, keepdim=True) / picked.shape[1] ** 0.5
                random = torch.randn(picked.shape, generator=draws).to(picked)
                self.codes[group, dead] = picked + spread * random
        return int((used == 0).sum())

    def forward(self, x: Tensor) -> Tensor:
        """(..., features) -> (..., features)."""
        if not self.is_enabled:
            return x
        if x.shape[-1] != self.features:
            raise CompressError(
                f"a codebook layer of {self.features} features got a tensor of shape "
                f"{tuple(x.shape)}."
            )
        normed = self.norm(x)
        parts = normed.reshape(-1, self.groups, self.features // self.groups)
        ids = self._nearest(parts.detach())
        if self.forced is not None:
            wanted = self.forced.expand(*x.shape[:-1], self.groups, self.k)
            wanted = wanted.reshape(-1, self.groups, self.k)
            ids = torch.where(wanted >= 0, wanted, ids)
        self.ids = ids.reshape(*x.shape[:-1], self.groups, self.k)
        group = torch.arange(self.groups)[None, :, None]
        mean = self.codes[group, ids].mean(2)
        if torch.is_grad_enabled():
            self.loss = (mean - parts.detach()).square().mean()
        # The codes' own gradient, and the same one again for the input.
        return (mean + straight_through(torch.zeros_like(parts), parts)).reshape(x.shape)

    def _parts(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x)
        return normed.reshape(-1, self.groups, self.features // self.groups)

    def _nearest(self, parts: Tensor) -> Tensor:
        codes = self.codes.detach()
        if self.similarity == "euclidean":
            scores = -torch.cdist(parts.transpose(0, 1), codes).transpose(0, 1)
        else:
            length = codes.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            scores = torch.einsum("ngd,gcd->ngc", parts, codes / length)
        return scores.topk(self.k, dim=-1).indices

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.features}, codes={self.codes.shape[1]}, k={self.k}, groups={self.groups}"


def insert_codebooks_(
    network: nn.Module, names: Iterable[str], **settings: Any
) -> dict[str, CodebookLayer]:
    """Puts a codebook behind each of the named modules, in place.

    Args:
        network: Any module.
        names: Qualified names of modules that return one tensor.
        **settings: Of `CodebookLayer`.

    Raises:
        CompressError: There is no such module, or it has a codebook.

    Example:
        >>> from torch import nn
        >>> from supple.compress.quantize import insert_codebooks_
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        >>> list(insert_codebooks_(network, ["0"], features=8, codes=32))
        ['0']
    """
    found = dict(network.named_modules())
    wanted = list(names)
    for name in wanted:
        if name not in found or not name:
            raise CompressError(f"there is no module '{name}'.", hint=near_misses(name, found))
        if hasattr(found[name], "codebook"):
            raise CompressError(f"'{name}' has a codebook already.")
    for name in wanted:
        found[name].codebook = CodebookLayer(**settings)
        found[name].register_forward_hook(_through_codebook)
    return codebooks(network)


def _through_codebook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    codebook = module.codebook
    assert isinstance(codebook, CodebookLayer)
    found: Tensor = codebook(output)
    return found


def codebooks(network: nn.Module) -> dict[str, CodebookLayer]:
    """The codebooks of a network by the name of the module they stand behind."""
    return {
        name.removesuffix(".codebook"): part
        for name, part in network.named_modules()
        if isinstance(part, CodebookLayer)
    }


def codebook_loss(network: nn.Module) -> Tensor:
    """The mean squared distance of all codes to what they stood for in the last call."""
    losses = [layer.loss for layer in codebooks(network).values()]
    return torch.stack(losses).sum() if losses else torch.zeros(())


@contextmanager
def recorded_codes(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Inside, the ids of every call are kept: layer -> (..., groups, k), one for each call."""
    found: dict[str, list[Tensor]] = {name: [] for name in codebooks(network)}

    def recorder(name: str) -> Any:
        return lambda layer, inputs, output: found[name].append(layer.ids)

    hooks = [one.register_forward_hook(recorder(n)) for n, one in codebooks(network).items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def forced_codes(network: nn.Module, codes: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, layers take these codes in the place of the nearest ones: steering.

    Args:
        network: A network with codebooks.
        codes: Layer -> ids that broadcast to (..., groups, k); -1 leaves the choice to the layer.

    Raises:
        CompressError: There is no such codebook, or it has no such code.
    """
    layers = codebooks(network)
    for name, ids in codes.items():
        if name not in layers:
            raise CompressError(f"there is no codebook '{name}'.", hint=near_misses(name, layers))
        if int(ids.max()) >= layers[name].codes.shape[1] or int(ids.min()) < -1:
            raise CompressError(f"codebook '{name}' has {layers[name].codes.shape[1]} codes.")
    try:
        for name, ids in codes.items():
            layers[name].forced = ids
        yield
    finally:
        for name in codes:
            layers[name].forced = None


@contextmanager
def disabled_codes(network: nn.Module) -> Iterator[None]:
    """Inside, codebooks pass on what they get."""
    layers = codebooks(network).values()
    before = [layer.is_enabled for layer in layers]
    try:
        for layer in layers:
            layer.is_enabled = False
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.is_enabled = was


def code_scores(ids: Tensor, labels: Tensor, *, codes: int, classes: int) -> dict[str, Tensor]:
    """How well each code's firing tells each class.

    Args:
        ids: Of one group, shape (examples, k).
        labels: Class of each example, shape (examples,).
        codes: Codes of the codebook.
        classes: Classes.

    Returns:
        ``precision``, ``recall`` and ``f1``, each of shape (codes, classes); 0 where a code never
        fired or a class has no example.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import code_scores
        >>> ids, labels = torch.tensor([[0], [0], [1]]), torch.tensor([0, 1, 1])
        >>> code_scores(ids, labels, codes=2, classes=2)["precision"].tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    fired = torch.zeros(len(ids), codes).scatter_(1, ids, 1.0)
    is_class = torch.nn.functional.one_hot(labels, classes).float()
    both = fired.T @ is_class
    precision = both / fired.sum(0)[:, None].clamp(min=1)
    recall = both / is_class.sum(0)[None].clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return {"precision": precision, "recall": recall, "f1": f1}
