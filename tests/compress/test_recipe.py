"""Recipes: read strictly, carried out on a copy, smaller on disk, equal to what is in memory."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime")

from supple.compress.quantize import Uniform, quantize_
from supple.compress.quantize.onnx_export import export_onnx
from supple.compress.quantize.onnx_graph import record
from supple.compress.recipe import CompressionRecipe, Step, compress, recipe_space
from supple.elastic.training import Batches, Recipe
from supple.errors import CompressError, DataError


def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 4),
        )  # fmt: skip


def data(scale=1.0):
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * scale
    return Batches(x, (x.mean((1, 2, 3)) > 0).long(), batch_size=32)


def done(recipe, **more):
    x = data().inputs[:2]
    return compress(
        model(), recipe, example=(x,), train_data=data(), loss=nn.functional.cross_entropy, **more
    )


@pytest.mark.parametrize(
    ("recipe", "most"),
    [("int8", 0.4), ("bits=4", 0.25), ("prune=0.5", 0.6), ("sparse=0.9", 0.25),
     ("sparse=2:4", 0.65), ("sparse=0.9,bits=4", 0.2), ("prune=0.5,int8", 0.25)],
)  # fmt: skip
def test_the_file_is_smaller_and_computes_what_is_in_memory(recipe, most, tmp_path):
    found = done(recipe)
    x = data().inputs
    whole = len(record(model(), (x[:2],)).model)
    report = export_onnx(found.deployed, tmp_path / "small.onnx")
    assert report.file_bytes <= most * whole
    import onnxruntime  # alone: no part of supple or of the model is needed to run the file

    session = onnxruntime.InferenceSession(
        tmp_path / "small.onnx", providers=["CPUExecutionProvider"]
    )
    (out,) = session.run(None, {session.get_inputs()[0].name: x[:7].numpy()})
    assert np.array_equal(out, found.deployed(x[:7]).numpy())
    if "int8" not in recipe:
        torch.testing.assert_close(found.network(x[:7]), torch.from_numpy(out), rtol=0, atol=1e-4)


def test_zeros_stay_zeros_through_training():
    found = done("sparse=0.75", finetune=Recipe(epochs=1, lr=0.05))
    weights = torch.cat([p.flatten() for p in found.network.parameters() if p.dim() > 1])
    assert float((weights == 0).float().mean()) == pytest.approx(0.75, abs=0.01)
    plain = done("sparse=0.75")
    assert any("not trained" in note for note in plain.notes)
    assert not torch.equal(
        weights, torch.cat([p.flatten() for p in plain.network.parameters() if p.dim() > 1])
    )
    assert sorted(found.network.state_dict()) == sorted(model().state_dict())


def test_two_of_four_are_zero():
    found = done("sparse=2:4")
    rows = found.network[3].weight.detach().movedim(1, -1).reshape(-1, 4)
    assert bool(((rows != 0).sum(1) == 2).all())
    assert bool((found.network[0].weight != 0).all())  # one input channel has no rows of four
    assert any("left whole" in note for note in found.notes)


def test_low_bits_are_on_the_grid_and_said_to_be_simulated():
    found = done("bits=4")
    for p in found.network.parameters():
        if p.dim() > 1:
            assert all(row.unique().numel() <= 15 for row in p)
    assert any("simulated" in note for note in found.notes)


def test_low_bits_of_layers_with_batch_norms_are_packed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = nn.Sequential(
            nn.Conv2d(1, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(1024, 4),
        )  # fmt: skip
        one[1].running_var.uniform_(0.5, 2)
        one[4].running_var.uniform_(0.5, 2)
    x = data().inputs
    found = compress(
        one, "bits=4", example=(x[:2],), train_data=data(), loss=nn.functional.cross_entropy
    )
    assert len(found.deployed.onnx_model) < len(record(one, (x[:2],)).model) / 4


def test_the_model_is_not_changed():
    one = model()
    before = copy.deepcopy(one.state_dict())
    compress(
        one, "prune=0.3,sparse=0.5,bits=8", example=(data().inputs[:2],), train_data=data(),
        loss=nn.functional.cross_entropy, finetune=Recipe(epochs=1, lr=0.01),
    )  # fmt: skip
    assert all(torch.equal(v, before[k]) for k, v in one.state_dict().items())
    assert one.training


def test_recipes_are_data():
    for text in ("int8", "prune=0.5,int8", "sparse=2:4,bits=3", "prune=0.3,sparse=0.5"):
        recipe = CompressionRecipe.parse(text)
        assert CompressionRecipe.from_data(recipe.to_data()) == recipe
        assert str(recipe) == text


@pytest.mark.parametrize(
    "text",
    ["", ",", "int8,int8", "int8,prune=0.5", "bits=4,int8", "prune=0.5,prune=0.5", "bits=1",
     "bits=9", "bits=2.5", "bits", "int8=3", "prune=1.0", "prune=0", "prune=-1", "prune=nan",
     "prune=x", "sparse=4:2", "sparse=a:b", "sparse=1.5", "sparse=0.5,prune=0.5", "quantise=8"],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(text):
    with pytest.raises(CompressError):
        CompressionRecipe.parse(text)


def test_a_near_miss_is_named():
    with pytest.raises(CompressError, match="no step 'prun'") as caught:
        Step(kind="prun", value=0.5)
    assert "prune" in caught.value.hint


def test_bad_models_and_data_are_refused():
    one = model()
    quantize_(one, weight=Uniform())
    with pytest.raises(CompressError, match="quantized already"):
        compress(
            one, "int8", example=(data().inputs[:2],), train_data=data(),
            loss=nn.functional.cross_entropy,
        )  # fmt: skip
    x = data().inputs
    x[3, 0, 0, 0] = torch.nan
    broken = [(x, torch.zeros(64, dtype=torch.long))]
    with pytest.raises(DataError, match="NaN"):
        compress(
            model(), "int8", example=(x[:2],), train_data=broken, loss=nn.functional.cross_entropy
        )


def test_every_config_of_the_space_of_recipes_is_one():
    space = recipe_space(prune=(0.3, 0.5), sparse=(0.9, "2:4"), formats=("int8", "bits=4"))
    assert space.size == 27
    found = {str(CompressionRecipe.of(space.sample(seed=seed))) for seed in range(400)}
    assert len(found) == 27
    assert "None" in found
    with pytest.raises(CompressError):
        recipe_space(prune=(1.5,))
