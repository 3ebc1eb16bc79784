"""The tensor products as one layer."""

# D1, D2, D3 numbers of the two inputs and the output; G grid points

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from supple.blocks._checks import check_features, check_option
from supple.blocks.tensor_product.spherical import coupling, sphere_grid, spherical_harmonics
from supple.errors import BlockError
from supple.papers import implements

__all__ = ["TensorProduct"]

Kind = Literal["cg", "cg_sparse", "gaunt", "matrix", "vector_gaunt"]


@implements(49)
class TensorProduct(nn.Module):
    """The product of two features that turn together.

    - ``cg``: every path (l1, l2, l3) with its own weight, as one dense tensor.
    - ``cg_sparse``: the same function from the non-zero coefficients only.
    - ``gaunt``: both features are functions on the sphere, multiplied point by point on a grid
      that is fine enough to be exact. Weights for each degree of each input and of the output.
      Paths with odd l1 + l2 + l3 do not exist: there is no cross product.
    - ``matrix``: both features become matrices, which are multiplied. Weights as for ``gaunt``.
    - ``vector_gaunt``: both features become vector fields on the sphere, whose cross product is
      taken point by point; it has the paths that ``gaunt`` lacks.

    A network around it may be cut number by number, which ends the symmetry; to keep it, name the
    layer before in `supple.elastic.Elasticity`'s ``fixed``.

    Args:
        degree1: Largest degree of the first input.
        degree2: Largest degree of the second.
        degree_out: Largest degree of the output; by default their sum.
        kind: Which product.

    Raises:
        BlockError: A negative degree, or inputs of other sizes.

    Example:
        >>> block = TensorProduct(degree1=1, degree2=1, kind="cg")
        >>> block(torch.randn(5, 4), torch.randn(5, 4)).shape
        torch.Size([5, 9])
    """

    basis: Tensor
    path: Tensor
    first: Tensor
    second: Tensor
    third: Tensor
    values: Tensor
    grid1: Tensor
    grid2: Tensor
    grid_out: Tensor
    embed1: Tensor
    embed2: Tensor
    embed_out: Tensor
    field1: Tensor
    field2: Tensor
    field_out: Tensor
    of1: Tensor
    of2: Tensor
    of_out: Tensor
    weight: Tensor
    weight1: Tensor
    weight2: Tensor
    weight_out: Tensor

    def __init__(
        self,
        *,
        degree1: int,
        degree2: int,
        degree_out: int | None = None,
        kind: Kind = "cg",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_option(self, "kind", kind, get_args(Kind))
        degree_out = degree1 + degree2 if degree_out is None else degree_out
        if min(degree1, degree2, degree_out) < 0:
            raise BlockError(
                f"TensorProduct got degrees {degree1}, {degree2} and {degree_out}.",
                why="Degrees count from 0, the scalars.",
                hint="degree1=1, degree2=1 multiplies scalars and vectors.",
            )
        self.degrees = (degree1, degree2, degree_out)
        self.kind = kind
        self.in_features = (degree1 + 1) ** 2
        self.out_features = (degree_out + 1) ** 2
        self.paths = _paths(*self.degrees)
        like = torch.empty(0, device=device, dtype=dtype)
        build = {
            "cg": self._build_dense,
            "cg_sparse": self._build_sparse,
            "gaunt": self._build_gaunt,
            "matrix": self._build_matrix,
            "vector_gaunt": self._build_vectors,
        }
        for name, value in build[kind]().items():
            self.register_buffer(name, value.to(like) if value.is_floating_point() else value)
        if kind.startswith("cg"):
            self.weight = nn.Parameter(like.new_empty(len(self.paths)))
        else:
            fields = 3 if kind == "vector_gaunt" else 1
            for name, degree in zip(
                ("weight1", "weight2", "weight_out"), self.degrees, strict=True
            ):
                self.register_parameter(name, nn.Parameter(like.new_empty((degree + 1) * fields)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All weights one."""
        for weight in self.parameters():
            nn.init.ones_(weight)

    # -- constants ----------------------------------------------------------------------------
    def _build_dense(self) -> dict[str, Tensor]:
        d1, d2, d3 = ((degree + 1) ** 2 for degree in self.degrees)
        basis = torch.zeros(len(self.paths), d1, d2, d3, dtype=torch.float64)
        for p, (l1, l2, l3) in enumerate(self.paths):
            basis[p, _part(l1), _part(l2), _part(l3)] = coupling(l1, l2, l3)
        return {"basis": basis}

    def _build_sparse(self) -> dict[str, Tensor]:
        path, a, b, c = (column.contiguous() for column in self._build_dense()["basis"].nonzero().T)
        values = self._build_dense()["basis"][path, a, b, c]
        return {"path": path, "first": a, "second": b, "third": c, "values": values}

    def _build_gaunt(self) -> dict[str, Tensor]:
        points, weights = sphere_grid(sum(self.degrees))
        to1, to2, out = (spherical_harmonics(points, degree) for degree in self.degrees)
        return {"grid1": to1, "grid2": to2, "grid_out": weights[:, None] * out} | self._spread(1)

    def _build_matrix(self) -> dict[str, Tensor]:
        side = math.ceil(max(self.degrees[0], self.degrees[1], self.degrees[2]) / 2)
        embeds = []
        for degree in self.degrees:
            parts = [coupling(side, side, l) for l in range(degree + 1)]  # noqa: E741
            embeds.append(torch.cat(parts, -1))  # (side, side, D)
        names = ("embed1", "embed2", "embed_out")
        return dict(zip(names, embeds, strict=True)) | self._spread(1)

    def _build_vectors(self) -> dict[str, Tensor]:
        points, weights = sphere_grid(sum(self.degrees) + 3)
        fields = [_vector_harmonics(points, degree) for degree in self.degrees]
        fields[2] = weights[:, None, None, None] * fields[2]
        names = ("field1", "field2", "field_out")
        return dict(zip(names, fields, strict=True)) | self._spread(3)

    def _spread(self, fields: int) -> dict[str, Tensor]:
        """Which weight each number of a feature has, (fields, D)."""
        found = {}
        for name, degree in zip(("of1", "of2", "of_out"), self.degrees, strict=True):
            rows = torch.cat([torch.full((2 * l + 1,), l) for l in range(degree + 1)])  # noqa: E741
            found[name] = rows[None] + (degree + 1) * torch.arange(fields)[:, None]
        return found

    # -- running ------------------------------------------------------------------------------
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(…, D1) and (…, D2) to (…, D3); the dots are equal or broadcast."""
        check_features(self, x, (self.degrees[0] + 1) ** 2)
        check_features(self, y, (self.degrees[1] + 1) ** 2)
        if self.kind == "cg":
            tensor = torch.einsum("p,pabc->abc", self.weight, self.basis)
            return torch.einsum("...a,...b,abc->...c", x, y, tensor)
        if self.kind == "cg_sparse":
            return self._sparse(x, y)
        if self.kind == "gaunt":
            u = (x * self.weight1[self.of1[0]]) @ self.grid1.T
            v = (y * self.weight2[self.of2[0]]) @ self.grid2.T
            return (u * v) @ self.grid_out * self.weight_out[self.of_out[0]]
        if self.kind == "matrix":
            u = torch.einsum("...d,abd->...ab", x * self.weight1[self.of1[0]], self.embed1)
            v = torch.einsum("...d,abd->...ab", y * self.weight2[self.of2[0]], self.embed2)
            product = torch.einsum("...ab,abd->...d", u @ v, self.embed_out)
            return product * self.weight_out[self.of_out[0]]
        # Weights join the constant fields first: those are small beside a batch.
        u = torch.einsum("...d,gvd->...gv", x, _weighed(self.weight1[self.of1], self.field1))
        v = torch.einsum("...d,gvd->...gv", y, _weighed(self.weight2[self.of2], self.field2))
        crossed = torch.linalg.cross(u, v, dim=-1)
        out = _weighed(self.weight_out[self.of_out], self.field_out)
        return torch.einsum("...gv,gvd->...d", crossed, out)

    def _sparse(self, x: Tensor, y: Tensor) -> Tensor:
        """One coefficient after the other, samples last: their rows are read and added whole."""
        dims = max(x.dim(), y.dim())
        x, y = (v.reshape((1,) * (dims - v.dim()) + v.shape).movedim(-1, 0) for v in (x, y))
        values = self.values * self.weight[self.path]
        each = x[self.first] * y[self.second] * values.reshape(-1, *[1] * (dims - 1))
        result = each.new_zeros(self.out_features, *each.shape[1:])
        return result.index_add(0, self.third, each).movedim(0, -1)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"degrees={self.degrees}, kind={self.kind!r}"


def _weighed(weights: Tensor, fields: Tensor) -> Tensor:
    """The three fields of each number, weighed: (3, D) and (G, 3, 3, D) to (G, 3, D)."""
    return torch.einsum("jd,gvjd->gvd", weights, fields)


def _paths(degree1: int, degree2: int, degree_out: int) -> list[tuple[int, int, int]]:
    return [
        (l1, l2, l3)
        for l1 in range(degree1 + 1)
        for l2 in range(degree2 + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, degree_out) + 1)
    ]


def _part(degree: int) -> slice:
    """Where a degree stands in a feature."""
    return slice(degree**2, (degree + 1) ** 2)


def _vector_harmonics(points: Tensor, degree: int) -> Tensor:
    """Vector fields (G, 3, 3, D): for each number of a feature one for each of three harmonics.

    Those of degree l - 1, l and l + 1, coupled with a vector; zero where there is none.
    """
    harmonics = spherical_harmonics(points, degree + 1)
    fields = points.new_zeros(len(points), 3, 3, (degree + 1) ** 2)
    for l in range(degree + 1):  # noqa: E741
        for j, other in enumerate((l - 1, l, l + 1)):
            if other < 0 or (l == 0 and other != 1):
                continue
            c = coupling(other, 1, l)  # harmonic, vector (y, z, x), feature
            here = torch.einsum("ga,avd->gvd", harmonics[:, _part(other)], c)
            fields[:, :, j, _part(l)] = here[:, [2, 0, 1]]  # to (x, y, z)
    return fields
