"""What every training rule promises, and the formulas of each, against slow plain versions."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.elastic.training import (
    Distil,
    Plain,
    Recipe,
    Sandwich,
    SortedNet,
    StepContext,
    SuperPlusRandom,
    match_outputs,
    rule_by_name,
    rule_names,
    rule_settings,
    train,
)
from supple.errors import TrainingError

from .conftest import ElasticMLP, make_batch


def context(seed: int = 0, teacher: nn.Module | None = None) -> StepContext:
    return StepContext(rng=np.random.default_rng(seed), loss=F.cross_entropy, teacher=teacher)


def total(rule: Any, net: nn.Module, batch: Any, step: StepContext) -> Tensor:
    return torch.stack(list(rule(net, batch, step))).sum()


def gradients(net: nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]


def kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    p = torch.softmax(teacher / temperature, 1)
    q = torch.softmax(student / temperature, 1)
    return (p * (p.log() - q.log())).sum(1).mean() * temperature**2


# --- the room ------------------------------------------------------------------------------------


def test_every_rule_is_found_by_its_name_and_comes_back_from_json() -> None:
    assert rule_names() == ("distil", "plain", "sandwich", "sorted_net", "super_plus_random")
    for name in rule_names():
        rule = rule_by_name(name)
        data = json.loads(json.dumps(rule_settings(rule)))
        assert rule_by_name(data.pop("name"), **data) == rule


def test_names_are_read_with_hyphens_and_capitals() -> None:
    assert rule_by_name("Sorted-Net", accumulate=4) == SortedNet(accumulate=4)


def test_an_unknown_rule_or_setting_names_the_near_miss() -> None:
    with pytest.raises(TrainingError, match="'sandwich'"):
        rule_by_name("sandwhich")
    with pytest.raises(TrainingError, match="'n_random'"):
        rule_by_name("sandwich", n_randoms=3)


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("sandwich", {"temperature": 0.0}),
        ("sandwich", {"n_random": -1}),
        ("sandwich", {"match": "class"}),
        ("sorted_net", {"accumulate": 0}),
        ("sorted_net", {"sampler": "unifrom"}),
        ("super_plus_random", {"n_random": 0}),
        ("distil", {"weight": 1.5}),
    ],
)
def test_settings_that_mean_nothing_are_refused(rule: str, settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=f"'{rule}'"):
        rule_by_name(rule, **settings)


@pytest.mark.parametrize("name", ["sandwich", "sorted_net", "super_plus_random"])
def test_a_rule_that_samples_refuses_a_network_that_is_not_elastic(name: str, batch: Any) -> None:
    with pytest.raises(TrainingError, match="needs an elastic network, got a Linear"):
        total(rule_by_name(name), nn.Linear(4, 3), batch, context())


@pytest.mark.parametrize("name", rule_names())
@pytest.mark.parametrize("with_teacher", [False, True])
def test_no_rule_gives_its_teacher_a_gradient(name: str, with_teacher: bool, batch: Any) -> None:
    if name == "distil" and not with_teacher:
        pytest.skip("distil has no meaning without a teacher")
    net, teacher = ElasticMLP(0), ElasticMLP(1)
    total(rule_by_name(name), net, batch, context(0, teacher if with_teacher else None)).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())


@pytest.mark.parametrize("name", ["sandwich", "sorted_net", "super_plus_random"])
def test_what_is_sampled_follows_from_the_generator_alone(name: str, batch: Any) -> None:
    runs = []
    for _ in range(2):
        net = ElasticMLP()
        total(rule_by_name(name), net, batch, context(5))
        runs.append(net.sampled)
    assert runs[0] == runs[1]


# --- soft targets ---------------------------------------------------------------------------------


def test_the_distance_of_class_scores_is_the_scaled_kl_divergence() -> None:
    student, teacher = torch.randn(6, 5), torch.randn(6, 5)
    targets = torch.zeros(6, dtype=torch.long)
    for temperature in (0.5, 1.0, 5.0):
        found = match_outputs(student, teacher, targets, temperature=temperature)
        torch.testing.assert_close(found, kl(teacher, student, temperature))
    assert match_outputs(teacher, teacher, targets).abs() < 1e-6


def test_values_are_matched_by_their_mean_squared_difference() -> None:
    student, teacher = torch.randn(6, 2), torch.randn(6, 2)
    expected = ((student - teacher) ** 2).mean()
    torch.testing.assert_close(match_outputs(student, teacher, torch.randn(6, 2)), expected)
    targets = torch.zeros(6, dtype=torch.long)
    torch.testing.assert_close(match_outputs(student, teacher, targets, match="values"), expected)


@pytest.mark.parametrize("shape", ["segmentation", "language"])
def test_the_class_dimension_is_the_one_the_targets_lack(shape: str) -> None:
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    if shape == "segmentation":
        targets, rows = torch.zeros(2, 4, 5, dtype=torch.long), lambda t: t.movedim(1, -1)
    else:
        targets, rows = torch.zeros(2, 3, 4, dtype=torch.long), lambda t: t
    expected = kl(rows(teacher).reshape(-1, rows(teacher).shape[-1]),
                  rows(student).reshape(-1, rows(student).shape[-1]), 2.0)  # fmt: skip
    found = match_outputs(student, teacher, targets, temperature=2.0)
    torch.testing.assert_close(found, expected)


def test_outputs_with_logits_are_matched_by_them_and_other_outputs_refused() -> None:
    a, b, targets = torch.randn(4, 3), torch.randn(4, 3), torch.zeros(4, dtype=torch.long)
    found = match_outputs({"logits": a}, {"logits": b}, targets)
    torch.testing.assert_close(found, match_outputs(a, b, targets))
    with pytest.raises(TrainingError, match="got a list"):
        match_outputs([a], [b], targets)
    with pytest.raises(TrainingError, match=r"\(4, 3\), the teacher's \(4, 2\)"):
        match_outputs(a, b[:, :2], targets)


# --- plain and distil -----------------------------------------------------------------------------


def test_plain_is_the_task_loss_of_the_whole_network(mlp: ElasticMLP, batch: Any) -> None:
    assert total(Plain(), mlp, batch, context()) == F.cross_entropy(mlp(batch[0]), batch[1])


def test_distil_mixes_the_task_and_the_teacher(mlp: ElasticMLP, batch: Any) -> None:
    teacher = ElasticMLP(1)
    x, y = batch
    expected = 0.3 * F.cross_entropy(mlp(x), y) + 0.7 * kl(teacher(x), mlp(x), 2.0)
    found = total(Distil(temperature=2.0, weight=0.7), mlp, batch, context(0, teacher))
    torch.testing.assert_close(found, expected)


def test_distil_with_mixup_is_the_loss_of_mixed_pairs(mlp: ElasticMLP, batch: Any) -> None:
    teacher, (x, y) = ElasticMLP(1), batch
    found = total(Distil(temperature=2.0, weight=0.7, mixup=0.4), mlp, batch, context(5, teacher))
    rng = context(5).rng
    order = torch.tensor(rng.permutation(len(x)).tolist())
    share = rng.beta(0.4, 0.4)
    assert 0 < share < 1
    assert not torch.equal(order, torch.arange(len(x)))
    mixed = share * x + (1 - share) * x[order]
    scores = mlp(mixed)
    task = share * F.cross_entropy(scores, y) + (1 - share) * F.cross_entropy(scores, y[order])
    torch.testing.assert_close(found, 0.3 * task + 0.7 * kl(teacher(mixed), scores, 2.0))


def test_distil_mixes_real_inputs_only(mlp: ElasticMLP, batch: Any) -> None:
    tokens = (torch.zeros(4, 6, dtype=torch.long), batch[1])
    with pytest.raises(TrainingError, match="int64"):
        total(Distil(mixup=1.0), mlp, tokens, context(0, mlp))
    with pytest.raises(TrainingError, match="mixup -1"):
        Distil(mixup=-1)


def test_distil_without_a_teacher_says_so(mlp: ElasticMLP, batch: Any) -> None:
    with pytest.raises(TrainingError, match="needs a teacher"):
        total(Distil(), mlp, batch, context())


# --- sandwich -------------------------------------------------------------------------------------


def test_sandwich_is_the_mean_over_largest_smallest_and_random(mlp: ElasticMLP, batch: Any) -> None:
    x, y = batch
    found = total(Sandwich(n_random=2, temperature=3.0), mlp, batch, context(1))
    assert mlp.sampled[0] == mlp.space.smallest
    assert len(mlp.sampled) == 3
    full = mlp(x)
    parts = [kl(full, mlp.at(config)(x), 3.0) for config in mlp.sampled[:3]]
    torch.testing.assert_close(found, (F.cross_entropy(full, y) + sum(parts)) / 4)


def test_sandwich_without_distillation_is_the_mean_task_loss(mlp: ElasticMLP, batch: Any) -> None:
    x, y = batch
    found = total(Sandwich(n_random=1, distil=False), mlp, batch, context(1))
    parts = [F.cross_entropy(mlp.at(config)(x), y) for config in mlp.sampled[:2]]
    torch.testing.assert_close(found, (F.cross_entropy(mlp(x), y) + sum(parts)) / 3)


def test_in_place_distillation_leaves_the_largest_the_gradient_of_its_task(batch: Any) -> None:
    # The parameters only the largest network has see nothing of the distillation: their gradient
    # is that of the task loss alone.
    taught, alone = ElasticMLP(), ElasticMLP()
    total(Sandwich(n_random=0), taught, batch, context()).backward()
    F.cross_entropy(alone(batch[0]), batch[1]).backward()
    torch.testing.assert_close(2 * taught.first.weight.grad[6:], alone.first.weight.grad[6:])


def test_a_frozen_teacher_takes_the_place_of_the_largest(mlp: ElasticMLP, batch: Any) -> None:
    x, y = batch
    teacher = ElasticMLP(1)
    rule = Sandwich(n_random=0, task_weight=0.25)
    found = total(rule, mlp, batch, context(0, teacher))
    small = mlp.at(mlp.space.smallest)(x)
    largest_part = (F.cross_entropy(mlp(x), y) + kl(teacher(x), mlp(x), 1.0)) / 2
    small_part = 0.75 * kl(teacher(x), small, 1.0) + 0.25 * F.cross_entropy(small, y)
    torch.testing.assert_close(found, (largest_part + small_part) / 2)


# --- sorted net (paper 75) ------------------------------------------------------------------------


@pytest.mark.parametrize("draws", [1, 2, 4])
def test_accumulating_draws_gives_their_averaged_gradient(draws: int, batch: Any) -> None:
    net, alone = ElasticMLP(), ElasticMLP()
    for loss in SortedNet(accumulate=draws)(net, batch, context(2)):
        loss.backward()
    sums = [torch.zeros_like(p) for p in alone.parameters()]
    pieces = zip(batch[0].chunk(draws), batch[1].chunk(draws), net.sampled, strict=True)
    for x, y, config in pieces:
        alone.zero_grad()
        F.cross_entropy(alone.at(config)(x), y).backward()
        sums = [a + b for a, b in zip(sums, gradients(alone), strict=True)]
    for found, expected in zip(gradients(net), sums, strict=True):
        torch.testing.assert_close(found, expected / draws)


def test_with_all_probability_on_the_full_network_it_is_ordinary_training(data: Any) -> None:
    sampled, plain, by_hand = ElasticMLP(), ElasticMLP(), ElasticMLP()
    recipe = Recipe(epochs=3, lr=0.1)
    train(sampled, data, F.cross_entropy, SortedNet(accumulate=1, sampler="largest"), recipe)
    train(plain, data, F.cross_entropy, Plain(), recipe)
    optimizer = torch.optim.SGD(
        [{"params": [p for p in by_hand.parameters() if p.ndim > 1], "weight_decay": 1e-4},
         {"params": [p for p in by_hand.parameters() if p.ndim == 1]}],
        lr=0.1, momentum=0.9, nesterov=True,
    )  # fmt: skip
    for step in range(15):
        batch = list(data.epoch(step // 5))[step % 5]
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_at(step, 15)
        optimizer.zero_grad()
        F.cross_entropy(by_hand(batch[0]), batch[1]).backward()
        optimizer.step()
    for a, b, c in zip(sampled.parameters(), plain.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_parameters_beyond_the_drawn_prefix_get_no_gradient(mlp: ElasticMLP, batch: Any) -> None:
    rule = SortedNet(accumulate=1, sampler=lambda space, rng: space.smallest)
    total(rule, mlp, batch, context()).backward()
    assert not mlp.first.weight.grad[3:].any()
    assert not mlp.second.weight.grad[:, 3:].any()
    assert mlp.first.weight.grad[:3].any()


def test_the_full_network_can_be_one_of_the_draws(mlp: ElasticMLP, batch: Any) -> None:
    rule = SortedNet(accumulate=3, include_full=True, sampler=lambda space, rng: space.smallest)
    total(rule, mlp, batch, context())
    space = mlp.space
    assert mlp.sampled == [space.largest, space.smallest, space.smallest]


def test_no_micro_batch_has_a_single_example(mlp: ElasticMLP) -> None:
    total(SortedNet(accumulate=4), mlp, make_batch(size=5), context())
    assert len(mlp.sampled) == 2


# --- super plus random (paper 82) -----------------------------------------------------------------


@pytest.mark.parametrize("n_random", [1, 3])
def test_super_plus_random_has_the_loss_of_the_paper(
    n_random: int, mlp: ElasticMLP, batch: Any
) -> None:
    x, y = batch
    rule = SuperPlusRandom(temperature=5.0, distil_weight=0.5, n_random=n_random)
    found = total(rule, mlp, batch, context(4))
    full = mlp(x)
    subs = [mlp.at(config)(x) for config in mlp.sampled[:n_random]]
    task = sum(F.cross_entropy(sub, y) for sub in subs) / n_random
    soft = sum(kl(full, sub, 5.0) for sub in subs) / n_random
    torch.testing.assert_close(found, (task + F.cross_entropy(full, y)) / 2 + 0.5 * soft)


def test_the_distance_sends_no_gradient_into_the_full_network(batch: Any) -> None:
    # With the sub-network fixed to the smallest, the rest of the network is trained by its task.
    net, alone = ElasticMLP(), ElasticMLP()
    net.space = net.space.restrict({"first": 3, "second": 2})
    total(SuperPlusRandom(), net, batch, context()).backward()
    F.cross_entropy(alone(batch[0]), batch[1]).backward()
    torch.testing.assert_close(2 * net.first.weight.grad[3:], alone.first.weight.grad[3:])


def test_rules_are_frozen_values() -> None:
    assert Sandwich() == Sandwich(n_random=2, distil=True, temperature=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sandwich().n_random = 3  # type: ignore[misc]
