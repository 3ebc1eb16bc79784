"""Deep incubation, module distillation and the learngene pool: what may change, and how."""

import pytest
import torch
from torch.nn import functional as F

from supple.compress.join import (
    DeepIncubation,
    LearngenePool,
    ModuleDistiller,
    find_stack,
    hybrid_loss,
    split_blocks,
)
from supple.elastic.training import Batches, Recipe
from supple.errors import CompressError
from tests.compress.join._models import Model, inputs, model, targets

RECIPE = Recipe(epochs=2, lr=0.05)


def data():
    return Batches(inputs(32), targets(32), batch_size=8)


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def changed(module, before):
    return {k for k, v in module.state_dict().items() if not torch.equal(v, before[k])}


def incubation():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DeepIncubation(lambda n: Model(8, n), [2, 3, 1], example=inputs())


@pytest.mark.parametrize(
    ("module", "prefixes"),
    [
        (0, ("stem", "blocks.0.", "blocks.1.")),
        (1, ("blocks.2.", "blocks.3.", "blocks.4.")),
        (-1, ("blocks.5.", "norm", "head")),
    ],
)
def test_only_the_modules_own_parameters_change(module, prefixes):
    one = incubation()
    target, meta = state(one.target), state(one.meta)
    one.train_module(module, data(), F.cross_entropy, RECIPE)
    found = changed(one.target, target)
    assert found == {k for k in target if k.startswith(prefixes)}
    assert not changed(one.meta, meta)
    assert all(p.requires_grad for p in one.target.parameters())


def test_a_hybrid_runs_the_meta_models_other_parts():
    one, x = incubation(), inputs()
    flow = one.meta.blocks[0](one.meta.stem(x))
    for block in list(one.target.blocks)[2:5]:
        flow = block(flow)
    flow = one.meta.blocks[2](flow)
    assert torch.equal(one.hybrid(1)(x), one.meta.head(one.meta.norm(flow)))


def test_with_its_own_meta_block_the_hybrid_is_the_meta_model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = DeepIncubation(lambda n: Model(8, n), [1, 1], example=inputs())
    one.target.load_state_dict(one.meta.state_dict())
    assert torch.equal(one.hybrid(0)(inputs()), one.meta(inputs()))


def test_one_module_is_end_to_end_training():
    def build(n):
        return model(8, n)

    one = DeepIncubation(build, [3], example=inputs())
    plain = build(3)
    one.train_module(0, data(), F.cross_entropy, RECIPE)
    from supple.elastic.training import Plain, train

    train(plain, data(), F.cross_entropy, Plain(), RECIPE)
    for ours, theirs in zip(one.assemble().parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def distiller(widths=(8, 8, 8), **settings):
    meta, teacher, student = (
        model(w, n, seed=w + n) for w, n in zip(widths, (2, 4, 2), strict=True)
    )
    stack = find_stack(meta, inputs())
    return ModuleDistiller(
        meta, teacher, student, stack=stack, teacher_depths=[2, 2], student_depths=[1, 1],
        widths=widths, **settings,
    )  # fmt: skip


def test_the_loss_is_torchs_divergence():
    a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    task = torch.tensor(0.7)
    found = hybrid_loss(a, b, task, alpha=0.3, tau=2.0)
    divergence = F.kl_div((a / 2).log_softmax(1), (b / 2).softmax(1), reduction="batchmean") / 4
    torch.testing.assert_close(found, 0.7 * task + 0.3 * 4 * divergence)


def test_equal_modules_have_no_distance():
    one = distiller()
    for student, teacher in zip(one.student_parts[0], one.teacher_parts[0][:1], strict=True):
        student.load_state_dict(teacher.state_dict())
    one.student.stem.load_state_dict(one.teacher.stem.state_dict())
    one.teacher_parts[0] = one.teacher_parts[0][:1]
    x = inputs()
    assert torch.equal(one.hybrid(0, "student")(x), one.hybrid(0, "teacher")(x))


@pytest.mark.parametrize(
    ("module", "prefixes"), [(0, ("stem", "blocks.0.")), (-1, ("blocks.1.", "norm", "head"))]
)
def test_only_the_students_module_changes(module, prefixes):
    one = distiller((6, 12, 8))
    one.fit_teacher_stitches(data(), F.cross_entropy, RECIPE)
    parts = {name: state(getattr(one, name)) for name in ("meta", "teacher", "student")}
    one.fit(module, data(), F.cross_entropy, RECIPE)
    assert not changed(one.meta, parts["meta"])
    assert not changed(one.teacher, parts["teacher"])
    assert changed(one.student, parts["student"]) == {
        k for k in parts["student"] if k.startswith(prefixes)
    }


def pool():
    teacher, students = model(16, 4), [model(4, 3, seed=1), model(8, 3, seed=2)]
    stacks = [find_stack(m, inputs()) for m in (teacher, *students)]
    return LearngenePool(teacher, students, stacks)


def test_learned_maps_begin_the_stitches_and_the_teacher_stays():
    one = pool()
    before = state(one.teacher)
    for student in range(2):
        one.distil(student, data(), F.cross_entropy, RECIPE)
    assert not changed(one.teacher, before)
    net = one.build(inputs(60))
    small, large = one.maps
    weight = large.weight @ torch.linalg.pinv(small.weight)
    torch.testing.assert_close(net.stitching["0-1:0"].weight, weight)
    # What the small map makes of a stream goes where the large one sends it, where that can be.
    v = torch.linalg.pinv(small.weight) @ torch.randn(4, 6)
    mapped = small.weight @ v + small.bias[:, None]
    expected = large.weight @ v + large.bias[:, None]
    found = weight @ mapped + net.stitching["0-1:0"].bias[:, None]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_bad_input():
    with pytest.raises(CompressError, match="do not make up 3"):
        split_blocks(list(model().blocks), [2, 2])
    with pytest.raises(CompressError, match="no module 3"):
        incubation().train_module(3, data(), F.cross_entropy, RECIPE)
    with pytest.raises(CompressError, match="alpha"):
        distiller(alpha=2.0)
    with pytest.raises(CompressError, match="not learned yet"):
        pool().build(inputs(60))
