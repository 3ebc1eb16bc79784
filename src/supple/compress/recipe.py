"""Recipes: what to do to a network, as data; and doing it.

A recipe is a text such as ``prune=0.5,int8``: steps in order, joined by commas.

==================  ==============================================================================
``prune=0.5``       cut widths, heads and groups until half of the parameters are gone; the network
                    is smaller and faster as it is
``sparse=0.9``      set 90 % of the weights to zero, the smallest first; smaller on disk
``sparse=2:4``      set two of every four inputs in a row to zero; smaller on disk
``int8``            weights and activations of 8 bits, computed in integers by ONNX Runtime
``bits=4``          weights as whole numbers of 2 to 8 bits, computed in floats; smaller on disk
==================  ==============================================================================

The network is trained again behind the last ``prune`` or ``sparse``; weights that were set to zero
stay zero.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from supple.compress.mask import prunable
from supple.compress.packed import pack_onnx
from supple.compress.prune import Pruned, prune
from supple.compress.prune._chosen_cut import chosen_cut
from supple.compress.quantize.fold import fold_batch_norm
from supple.compress.quantize.network import bake_, quantize_, weight_quantizers
from supple.compress.quantize.onnx_graph import OnnxNetwork, record
from supple.compress.quantize.onnx_int8 import OnnxInt8
from supple.compress.quantize.report import quantization_report
from supple.compress.quantize.uniform import Uniform
from supple.elastic.batch_norm import recalibrate
from supple.elastic.training import Plain, Recipe, Rule, train
from supple.errors import CompressError
from supple.space import Option, Space, Swap

__all__ = ["STEPS", "Compressed", "CompressionRecipe", "Step", "compress", "recipe_space"]

STEPS = ("prune", "sparse", "int8", "bits")
NOTHING = "nothing"
CALIBRATION_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a recipe.

    Attributes:
        kind: One of `STEPS`.
        value: A share for ``prune`` and ``sparse``, a pattern such as ``2:4`` for ``sparse``, a
            number of bits for ``bits``, None for ``int8``.
    """

    kind: str
    value: float | int | str | None = None

    def __post_init__(self) -> None:
        if self.kind not in STEPS:
            raise CompressError(
                f"there is no step '{self.kind}' of a recipe.",
                hint=f"the steps are {', '.join(STEPS)}",
                step=self.kind,
            )
        problem = self._problem()
        if problem:
            raise CompressError(
                f"the step '{self.kind}' of a recipe got {self.value!r}.",
                why=problem,
                hint=_EXAMPLES[self.kind],
                step=self.kind,
            )

    def _problem(self) -> str:
        value, kind = self.value, self.kind
        if kind == "int8":
            return "" if value is None else "It takes no value."
        if kind == "bits":
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            return "" if is_whole and 2 <= int(str(value)) <= 8 else "Bits are 2 to 8."
        if kind == "sparse" and isinstance(value, str):
            kept, _, of = value.partition(":")
            fine = kept.isdigit() and of.isdigit() and 0 < int(kept) < int(of)
            return "" if fine else "A pattern is n:m, n of every m are kept."
        is_number = isinstance(value, float | int) and not isinstance(value, bool)
        if not is_number or not 0 < float(str(value)) < 1:
            return "It is the share that is removed, above 0 and below 1."
        return ""

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind}={self.value}"


_EXAMPLES = {
    "prune": "prune=0.5", "sparse": "sparse=0.9, or sparse=2:4", "int8": "int8", "bits": "bits=4",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CompressionRecipe:
    """Steps in order.

    Attributes:
        steps: At least one; formats (``int8``, ``bits``) come last and there is one at most.

    Example:
        >>> from supple.compress.recipe import CompressionRecipe
        >>> recipe = CompressionRecipe.parse("prune=0.5,int8")
        >>> recipe.to_data()
        [{'kind': 'prune', 'value': 0.5}, {'kind': 'int8', 'value': None}]
        >>> str(CompressionRecipe.from_data(recipe.to_data()))
        'prune=0.5,int8'
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        kinds = [step.kind for step in self.steps]
        formats = [kind for kind in kinds if kind in ("int8", "bits")]
        if not kinds:
            raise CompressError("a recipe has no step.", hint="prune=0.5,int8, for instance.")
        if len(formats) > 1 or (formats and kinds[-1] not in formats):
            raise CompressError(
                f"a recipe got the steps {', '.join(kinds)}.",
                why="A network has one number format, and it is the last thing to be chosen: an "
                "already quantized model is not cut or quantized again.",
                hint="one of int8 and bits=…, at the end.",
            )
        if (
            kinds.count("prune") > 1
            or kinds.count("sparse") > 1
            or kinds[:2] == ["sparse", "prune"]
        ):
            raise CompressError(
                f"a recipe got the steps {', '.join(kinds)}.",
                why="Structures are cut once, then single weights once.",
                hint="prune=0.5,sparse=0.5,int8.",
            )

    @classmethod
    def parse(cls, text: str) -> CompressionRecipe:
        """A recipe from a text such as ``prune=0.5,int8``.

        Raises:
            CompressError: A step is unknown, or its value out of range.
        """
        steps = []
        for part in (part.strip() for part in text.split(",")):
            kind, equals, value = part.partition("=")
            if part:
                steps.append(Step(kind=kind.strip(), value=_value(value) if equals else None))
        return cls(steps=tuple(steps))

    @classmethod
    def from_data(cls, data: Sequence[Mapping[str, Any]]) -> CompressionRecipe:
        """A recipe from what `to_data` gives."""
        return cls(steps=tuple(Step(kind=str(d["kind"]), value=d.get("value")) for d in data))

    @classmethod
    def of(cls, config: Mapping[str, Option]) -> CompressionRecipe | None:
        """The recipe that a config of `recipe_space` stands for; None where nothing is done."""
        named = [str(config.get(name, NOTHING)) for name in ("prune", "sparse", "format")]
        text = ",".join(step for step in named if step != NOTHING)
        return cls.parse(text) if text else None

    def to_data(self) -> list[dict[str, Any]]:
        """The steps as JSON data."""
        return [{"kind": step.kind, "value": step.value} for step in self.steps]

    @property
    def is_trained(self) -> bool:
        """Whether something is removed, so that training makes up for it."""
        return any(step.kind in ("prune", "sparse") for step in self.steps)

    def __str__(self) -> str:
        return ",".join(str(step) for step in self.steps)


def recipe_space(
    *,
    prune: Sequence[float] = (0.25, 0.5, 0.75),
    sparse: Sequence[float | str] = (0.5, 0.8, 0.9, "2:4"),
    formats: Sequence[str] = ("int8", "bits=4"),
) -> Space:
    """All recipes of these steps as a space, so that any strategy can search them.

    Args:
        prune: Shares of the parameters to cut.
        sparse: Shares of the weights to set to zero, or patterns.
        formats: Number formats.

    Raises:
        CompressError: A value is out of range.

    Example:
        >>> from supple.compress.recipe import CompressionRecipe, recipe_space
        >>> space = recipe_space(prune=(0.5,), sparse=(), formats=("int8",))
        >>> space.size, str(CompressionRecipe.of({"prune": "prune=0.5", "format": "int8"}))
        (4, 'prune=0.5,int8')
    """
    steps = {
        "prune": [Step(kind="prune", value=share) for share in prune],
        "sparse": [Step(kind="sparse", value=share) for share in sparse],
        "format": [step for text in formats for step in CompressionRecipe.parse(text).steps],
    }
    return Space(
        {
            name: Swap(options=(NOTHING, *(str(step) for step in options)))
            for name, options in steps.items()
            if options
        }
    )


def _value(text: str) -> float | int | str:
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What came out.

    Attributes:
        network: The network in torch: plain, with zeros and low-bit values in its weights. With
            ``int8`` it is the one in floats that the integers were made from.
        deployed: What a file of it computes, run by ONNX Runtime; its bytes are
            ``deployed.onnx_model``.
        recipe: What was done.
        notes: What a user should know, one sentence each.
    """

    network: nn.Module = field(repr=False)
    deployed: OnnxNetwork = field(repr=False)
    recipe: CompressionRecipe
    notes: tuple[str, ...]


def compress(
    model: nn.Module,
    recipe: CompressionRecipe | str,
    *,
    example: Any,
    train_data: Iterable[Any],
    loss: Callable[[Any, Any], Tensor],
    finetune: Recipe | None = None,
    rule: Rule | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: Callable[[Any], None] | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Carries out a recipe on a copy of a trained model.

    Args:
        model: Any module that ``torch.export`` captures.
        recipe: The steps, or their text.
        example: Inputs of one call.
        train_data: Training batches ``(inputs, targets)``: for scores, training and calibration.
        loss: ``loss(outputs, targets)``.
        finetune: How the network is trained behind the last cut; None does not train it.
        rule: Training rule, for instance `Distil`, with ``model`` as teacher; plain by default.
        seed: Of training and of what draws.
        threads: Threads of one call of what is deployed.
        progress: Called with a `TrainingProgress` now and then.
        checkpoint: File that the training is kept in, to go on from after an interruption.

    Raises:
        CompressError: A step does not fit the model.
        DataError: There is no batch, or calibration data holds NaN.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.recipe import compress
        >>> from supple.elastic.training import Batches
        >>> x = torch.randn(64, 8)
        >>> data = Batches(x, (x[:, 0] > 0).long(), batch_size=32)
        >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
        >>> small = compress(model, "prune=0.5,int8", example=(x[:2],), train_data=data,
        ...                  loss=nn.functional.cross_entropy)
        >>> small.network[0].out_features < 64, small.deployed.int8_layers
        (True, ('0', '2'))
    """
    asked = CompressionRecipe.parse(recipe) if isinstance(recipe, str) else recipe
    if weight_quantizers(model):
        raise CompressError(
            f"the {type(model).__name__} is quantized already.",
            why="Formats on top of formats would round twice.",
            hint="compress the original network.",
        )
    notes: list[str] = []
    network = copy.deepcopy(model).eval()
    batches = list(islice(iter(train_data), CALIBRATION_BATCHES))
    for step in asked.steps:
        if step.kind in ("prune", "sparse"):
            pruned = _pruned(network, step, example, batches, loss, seed)
            notes += [f"{step}: {_kept(pruned)}", *pruned.notes]
            network = pruned.network
    if asked.is_trained:
        if batches:
            recalibrate(network, batches)
        if finetune is not None:
            teacher = copy.deepcopy(model).eval() if _takes_teacher(rule) else None
            train(network, train_data, loss, rule or Plain(), finetune,
                  teacher=teacher, seed=seed, progress=progress, checkpoint=checkpoint)  # fmt: skip
            recalibrate(network, batches)
        else:
            notes.append("It was not trained after it was cut.")
    network = _finished(network).eval()
    return _deployed(network, asked, example, batches, notes, threads)


def _pruned(
    network: nn.Module, step: Step, example: Any, batches: list[Any], loss: Any, seed: int
) -> Pruned:
    if step.kind == "prune":
        share = float(str(step.value))
        return chosen_cut(network, share, example=example, batches=batches, loss=loss, seed=seed)
    if isinstance(step.value, str):
        # A pattern needs its rows: layers that have none of that length, such as the first, stay.
        row = int(step.value.partition(":")[2])
        whole = [name for name, weight in prunable(network).items() if weight.shape[1] % row]
        pruned = prune(network, 0.0, pattern=step.value, protect=whole, example=example, seed=seed)
        note = f"{step}: left whole, for their inputs are no multiple of {row}: {', '.join(whole)}"
        return replace(pruned, notes=(*pruned.notes, *([note] if whole else [])))
    return prune(network, float(str(step.value)), example=example, seed=seed)


def _kept(pruned: Pruned) -> str:
    share = pruned.parameters_after / pruned.parameters_before
    return (
        f"{pruned.parameters_after:,} of {pruned.parameters_before:,} parameters are left "
        f"({share:.1%})"
    )


def _takes_teacher(rule: Rule | None) -> bool:
    return bool(getattr(rule, "takes_teacher", False))


def _finished(network: nn.Module) -> nn.Module:
    from supple.compress.mask import remove_masks

    return remove_masks(network)


def _deployed(
    network: nn.Module,
    recipe: CompressionRecipe,
    example: Any,
    batches: list[Any],
    notes: list[str],
    threads: int,
) -> Compressed:
    last = recipe.steps[-1]
    if last.kind == "bits":
        network = _low_bits(network, int(str(last.value)), example, notes)
    graph = record(network, example)
    if last.kind == "int8":
        deployed = OnnxInt8().quantize(graph, graph.layers, batches)
        deployed.threads = threads
        notes.append(
            f"int8: {len(deployed.int8_layers)} layers are computed in integers by ONNX Runtime"
        )
        if any(step.kind == "sparse" for step in recipe.steps):
            notes.append("Zeros stay zeros in int8, and are stored as any other value.")
    else:
        packed = pack_onnx(graph.model)
        deployed = OnnxNetwork(graph, packed.model, threads=threads)
        if packed.forms:
            notes.append(
                f"{len(packed.forms)} weights are stored in fewer bytes; ONNX Runtime unpacks them "
                "while it loads, so they save space and no time"
            )
    return Compressed(network=network, deployed=deployed, recipe=recipe, notes=tuple(notes))


def _low_bits(network: nn.Module, bits: int, example: Any, notes: list[str]) -> nn.Module:
    # Before, not after: a file has batch norms folded, and folding moves weights off their grid.
    network = fold_batch_norm(network, example)
    quantize_(network, weight=Uniform(bits=bits, estimator="mse" if bits < 8 else "minmax"))
    report = quantization_report(network, example)
    notes.append(
        f"bits={bits}: simulated in floats; packed weights take {report.stored_bytes:,.0f} of "
        f"{report.float_bytes:,.0f} bytes"
    )
    return bake_(network)
