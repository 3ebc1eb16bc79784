"""The shared loop: seeded, resumable to the bit, and clear about what goes wrong."""

from __future__ import annotations

import json
import math
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from supple.elastic.training import (
    Batches,
    Distil,
    Plain,
    Recipe,
    Rule,
    Sandwich,
    SortedNet,
    SuperPlusRandom,
    TrainingProgress,
    rule_names,
    train,
)
from supple.errors import DataError, TrainingError

from .conftest import ElasticMLP, make_batch

RULES = (Plain(), Sandwich(), SortedNet(), SuperPlusRandom())
SGD = Recipe(epochs=3, lr=0.1)
ADAMW = Recipe(epochs=3, lr=0.01, optimizer="adamw", grad_clip=0.5)


class Stop(Exception):
    """Raised by a test to end a run."""


def stop_after(step: int) -> Any:
    def report(progress: TrainingProgress) -> None:
        if progress.step == step:
            raise Stop

    return report


def equal_weights(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


# --- seeded ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    rule: Rule, data: Batches
) -> None:
    nets = []
    for seed, noise in ((1, 0), (1, 99), (2, 0)):
        torch.manual_seed(noise)  # the state outside has no influence
        net = ElasticMLP(dropout=0.5)
        train(net, data, F.cross_entropy, rule, SGD, seed=seed)
        nets.append(net)
    assert equal_weights(nets[0], nets[1])
    assert not equal_weights(nets[0], nets[2])


def test_torch_random_state_modes_and_gradients_are_as_before(data: Batches) -> None:
    net, teacher = ElasticMLP(dropout=0.5).eval(), ElasticMLP(1).train()
    net.head.train()
    before = torch.get_rng_state()
    weights = {name: t.clone() for name, t in teacher.state_dict().items()}
    train(net, data, F.cross_entropy, Sandwich(), SGD, teacher=teacher)
    assert torch.equal(torch.get_rng_state(), before)
    assert not net.training
    assert not net.first.training
    assert net.head.training
    assert teacher.training
    assert all(torch.equal(t, weights[name]) for name, t in teacher.state_dict().items())
    assert all(p.grad is None for p in (*net.parameters(), *teacher.parameters()))


def test_training_lowers_the_loss_of_every_sub_network() -> None:
    net = ElasticMLP()
    x, y = make_batch(size=256)
    log = train(
        net, Batches(x, y, batch_size=32), F.cross_entropy, Sandwich(), Recipe(epochs=40, lr=0.2)
    )
    configs = list(net.space.configs())
    losses = [F.cross_entropy(net.at(config)(x), y).item() for config in configs]
    assert len(configs) == 9
    assert max(losses) < 0.5
    assert log.final_loss < log.losses[0] / 2


# --- resumed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("stop", [1, 5, 8, 14])
def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(
    rule: Rule, recipe: Recipe, stop: int, data: Batches, tmp_path: Path
) -> None:
    whole, parts = ElasticMLP(dropout=0.3), ElasticMLP(dropout=0.3)
    one = train(whole, data, F.cross_entropy, rule, recipe, seed=4)
    path = tmp_path / "run.ckpt"
    settings: dict[str, Any] = {"seed": 4, "checkpoint": path, "checkpoint_every": 1}
    with pytest.raises(Stop):
        train(parts, data, F.cross_entropy, rule, recipe, progress=stop_after(stop), **settings)
    fresh = ElasticMLP(seed=9, dropout=0.3)
    two = train(fresh, data, F.cross_entropy, rule, recipe, **settings)
    assert two.resumed_at == stop
    assert two.losses == one.losses
    assert equal_weights(whole, fresh)


def test_what_was_done_after_the_last_checkpoint_is_done_again(
    data: Batches, tmp_path: Path
) -> None:
    whole, parts = ElasticMLP(), ElasticMLP()
    train(whole, data, F.cross_entropy, Sandwich(), ADAMW)
    settings: dict[str, Any] = {"checkpoint": tmp_path / "c", "checkpoint_every": 4}
    with pytest.raises(Stop):
        train(parts, data, F.cross_entropy, Sandwich(), ADAMW, progress=stop_after(7), **settings)
    log = train(parts, data, F.cross_entropy, Sandwich(), ADAMW, **settings)
    assert log.resumed_at == 4
    assert equal_weights(whole, parts)


@pytest.mark.parametrize("own_generator", [False, True])
def test_a_shuffling_data_loader_resumes_in_mid_epoch_too(
    own_generator: bool, tmp_path: Path
) -> None:
    def loader() -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(7) if own_generator else None
        dataset = TensorDataset(*make_batch(size=40))
        return DataLoader(dataset, batch_size=8, shuffle=True, generator=generator)

    whole, parts = ElasticMLP(dropout=0.2), ElasticMLP(dropout=0.2)
    first = loader()
    before = first.generator.get_state() if own_generator else torch.get_rng_state()
    one = train(whole, first, F.cross_entropy, SortedNet(), SGD)
    after = first.generator.get_state() if own_generator else torch.get_rng_state()
    assert torch.equal(before, after)
    settings: dict[str, Any] = {"checkpoint": tmp_path / "c", "checkpoint_every": 1}
    with pytest.raises(Stop):
        train(
            parts, loader(), F.cross_entropy, SortedNet(), SGD, progress=stop_after(8), **settings
        )
    two = train(parts, loader(), F.cross_entropy, SortedNet(), SGD, **settings)
    assert two.losses == one.losses
    assert equal_weights(whole, parts)


def test_epochs_of_a_data_loader_have_different_orders() -> None:
    seen: list[list[int]] = []

    def rule(net: nn.Module, batch: Any, step: Any) -> Tensor:
        seen.append(batch[1].tolist())
        return net(batch[0]).sum()

    dataset = TensorDataset(torch.randn(30, 4), torch.arange(30))
    train(ElasticMLP(), DataLoader(dataset, batch_size=30, shuffle=True), F.mse_loss, rule, SGD)
    assert len({tuple(order) for order in seen}) == 3
    assert all(sorted(order) == list(range(30)) for order in seen)


def test_a_finished_run_is_not_run_again(data: Batches, tmp_path: Path) -> None:
    net, other = ElasticMLP(), ElasticMLP(5)
    one = train(net, data, F.cross_entropy, Plain(), SGD, checkpoint=tmp_path / "c")
    two = train(other, data, F.cross_entropy, Plain(), SGD, checkpoint=tmp_path / "c")
    assert two.resumed_at == two.steps == 15
    assert two.losses == one.losses
    assert equal_weights(net, other)


def test_batch_norm_statistics_are_part_of_the_state(tmp_path: Path) -> None:
    def net() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))

    data = Batches(*make_batch(size=40), batch_size=8)
    whole, parts, fresh = net(), net(), net()
    train(whole, data, F.cross_entropy, Plain(), SGD)
    settings: dict[str, Any] = {"checkpoint": tmp_path / "c", "checkpoint_every": 1}
    with pytest.raises(Stop):
        train(parts, data, F.cross_entropy, Plain(), SGD, progress=stop_after(6), **settings)
    train(fresh, data, F.cross_entropy, Plain(), SGD, **settings)
    assert equal_weights(whole, fresh)


def test_tied_weights_can_be_kept(tmp_path: Path, data: Batches) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    net[1].weight = net[0].weight
    train(net, data, F.cross_entropy, Plain(), SGD, checkpoint=tmp_path / "c")
    assert net[1].weight is net[0].weight
    train(net, data, F.cross_entropy, Plain(), SGD, checkpoint=tmp_path / "c")


# --- interrupted ----------------------------------------------------------------------------------


def test_ctrl_c_ends_after_the_step_and_leaves_a_checkpoint(data: Batches, tmp_path: Path) -> None:
    whole, parts = ElasticMLP(), ElasticMLP()
    train(whole, data, F.cross_entropy, Sandwich(), SGD)
    calls = 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 7:  # within the seventh step, whose rule asks for the task loss once
            signal.raise_signal(signal.SIGINT)
        return F.cross_entropy(outputs, targets)

    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        train(
            parts,
            data,
            loss,
            Sandwich(),
            SGD,
            checkpoint=tmp_path / "c",
            progress=lambda p: done.append(p.step),
        )
    assert done[-1] == 7
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    fresh = ElasticMLP(8)
    log = train(fresh, data, F.cross_entropy, Sandwich(), SGD, checkpoint=tmp_path / "c")
    assert log.resumed_at == 7
    assert equal_weights(whole, fresh)


def test_a_second_ctrl_c_ends_at_once_and_keeps_the_checkpoint_before(
    data: Batches, tmp_path: Path
) -> None:
    net = ElasticMLP()
    calls = 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 7:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return F.cross_entropy(outputs, targets)

    settings: dict[str, Any] = {"checkpoint": tmp_path / "c", "checkpoint_every": 4}
    with pytest.raises(KeyboardInterrupt):
        train(net, data, loss, Plain(), SGD, **settings)
    log = train(net, data, F.cross_entropy, Plain(), SGD, **settings)
    assert log.resumed_at == 4


def test_a_handler_of_the_caller_is_left_alone(data: Batches) -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        handler = signal.getsignal(signal.SIGINT)

        def report(progress: TrainingProgress) -> None:
            signal.raise_signal(signal.SIGINT)

        log = train(ElasticMLP(), data, F.cross_entropy, Plain(), SGD, progress=report)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(caught) == log.steps == 15


def test_a_thread_can_train_too(data: Batches) -> None:
    logs: list[Any] = []
    net = ElasticMLP()
    thread = threading.Thread(
        target=lambda: logs.append(train(net, data, F.cross_entropy, Plain(), SGD))
    )
    thread.start()
    thread.join()
    assert logs[0].steps == 15


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_loss_that_is_not_finite_names_step_rule_and_last_finite_loss(
    rule: Any, value: float, data: Batches, tmp_path: Path
) -> None:
    net = ElasticMLP()
    steps: list[TrainingProgress] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        found = F.cross_entropy(outputs, targets)
        return found * value if len(steps) == 6 else found

    with pytest.raises(TrainingError) as caught:
        train(
            net, data, loss, rule, SGD,
            progress=steps.append, checkpoint=tmp_path / "c", checkpoint_every=3,
        )  # fmt: skip
    text = str(caught.value)
    assert f"loss is {value} at step 6 of 15, under the rule '{rule.name}'" in text
    assert f"last finite loss is {steps[-1].loss:.6g}, at step 5" in text
    assert "grad_clip" in text
    assert str(tmp_path / "c") in text
    assert caught.value.data["step"] == 6
    # The weights hold no nan, and the checkpoint is that of step 6.
    assert all(bool(t.isfinite().all()) for t in net.state_dict().values())
    assert train(net, data, F.cross_entropy, rule, SGD, checkpoint=tmp_path / "c").resumed_at == 6


def test_nan_in_the_data_is_told_from_a_loss_that_diverged() -> None:
    x, y = make_batch()
    x[3] = math.nan
    with pytest.raises(TrainingError, match="this batch holds values that are nan"):
        train(ElasticMLP(), [(x, y)], F.cross_entropy, Plain(), SGD)


def test_a_gradient_that_is_not_finite_stops_before_the_update(batch: Any) -> None:
    net = nn.Linear(4, 3)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * 0).sqrt().sum()  # zero, with an infinite slope

    before = net.weight.detach().clone()
    with pytest.raises(TrainingError, match="norm of the gradient is nan at step 0"):
        train(net, [batch], loss, Plain(), SGD)
    assert torch.equal(net.weight, before)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda o, t: F.cross_entropy(o, t).item(), "is a float"),
        (lambda o, t: F.cross_entropy(o, t, reduction="none"), r"shape \(16,\)"),
        (lambda o, t: F.cross_entropy(o, t).detach(), "depends on no parameter"),
    ],
)
def test_a_loss_that_is_no_loss_says_what_it_is(loss: Any, found: str, batch: Any) -> None:
    with pytest.raises(TrainingError, match=found):
        train(ElasticMLP(), [batch], loss, Plain(), SGD)


def test_a_rule_without_a_loss_says_so(batch: Any) -> None:
    def silent(net: Any, batch: Any, step: Any) -> Any:
        return iter(())

    with pytest.raises(TrainingError, match="silent' gave no loss"):
        train(ElasticMLP(), [batch], F.cross_entropy, silent, SGD)


def test_an_empty_loader_says_so() -> None:
    empty: DataLoader[Any] = DataLoader(TensorDataset(*make_batch(size=4)), 8, drop_last=True)
    for loader in (empty, []):
        with pytest.raises(DataError, match="gave no batch"):
            train(ElasticMLP(), loader, F.cross_entropy, Plain(), SGD)


def test_a_generator_is_refused_for_it_can_be_read_once(batch: Any) -> None:
    with pytest.raises(DataError, match="can be read only once"):
        train(ElasticMLP(), (b for b in [batch]), F.cross_entropy, Plain(), SGD)


def test_a_loader_without_a_length_is_counted(batch: Any) -> None:
    class Stream:
        def __iter__(self) -> Any:
            yield from [batch, batch, batch]

    log = train(ElasticMLP(), Stream(), F.cross_entropy, Plain(), Recipe(epochs=2))
    assert (log.steps, log.epochs) == (6, 2.0)


def test_a_loader_that_dries_up_says_in_which_epoch(batch: Any) -> None:
    class Once:
        def __init__(self) -> None:
            self.left = [batch, batch]

        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Any:
            while self.left:
                yield self.left.pop()

    with pytest.raises(DataError, match="no batch in epoch 1"):
        train(ElasticMLP(), Once(), F.cross_entropy, Plain(), SGD)


@pytest.mark.parametrize("item", [torch.ones(4, 4), {"x": 1, "y": 2}, (1, 2, 3)])
def test_a_loader_of_something_else_says_what_it_yields(item: Any) -> None:
    with pytest.raises(DataError, match=r"expected \(inputs, targets\)"):
        train(ElasticMLP(), [item], F.cross_entropy, Plain(), SGD)


def test_a_frozen_network_says_so(batch: Any) -> None:
    with pytest.raises(TrainingError, match="no parameter to train"):
        train(ElasticMLP().requires_grad_(False), [batch], F.cross_entropy, Plain(), SGD)


def test_a_teacher_nobody_listens_to_is_refused(batch: Any) -> None:
    assert "plain" in rule_names()
    with pytest.raises(TrainingError, match="'plain' was given a teacher"):
        train(ElasticMLP(), [batch], F.cross_entropy, Plain(), SGD, teacher=ElasticMLP())


# --- checkpoints that do not fit ------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_checkpoint_says_what_to_do(keep: int, data: Batches, tmp_path: Path) -> None:
    path = tmp_path / "c"
    train(ElasticMLP(), data, F.cross_entropy, Plain(), SGD, checkpoint=path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrainingError, match="cannot be read") as caught:
        train(ElasticMLP(), data, F.cross_entropy, Plain(), SGD, checkpoint=path)
    assert "delete it" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": Recipe(epochs=3, lr=0.2)}, "recipe"),
        ({"rule": SortedNet()}, "rule"),
        ({"seed": 1}, "seed"),
        ({"net": nn.Linear(4, 3)}, "network"),
        ({"loader": Batches(*make_batch(size=24), batch_size=8)}, "batches per epoch"),
    ],
)
def test_a_checkpoint_of_another_run_says_what_differs(
    change: dict[str, Any], named: str, data: Batches, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "net": ElasticMLP(), "loader": data, "loss": F.cross_entropy,
        "rule": Plain(), "recipe": SGD, "seed": 0, "checkpoint": tmp_path / "c",
    }  # fmt: skip
    train(**asked)
    with pytest.raises(TrainingError, match="of another run") as caught:
        train(**{**asked, **change})
    assert named in caught.value.data["differing"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    data: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    settings: dict[str, Any] = {"checkpoint": path, "checkpoint_every": 1}
    with pytest.raises(Stop):
        train(ElasticMLP(), data, F.cross_entropy, Plain(), SGD, progress=stop_after(3), **settings)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("supple.elastic.training._checkpoint.os.fsync", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        train(ElasticMLP(), data, F.cross_entropy, Plain(), SGD, **settings)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_the_checkpoint_holds_tensors_and_json_only(data: Batches, tmp_path: Path) -> None:
    train(ElasticMLP(), data, F.cross_entropy, Sandwich(), ADAMW, checkpoint=tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = json.loads(header["__metadata__"]["supple"])
    assert about["run"]["rule"]["name"] == "sandwich"
    assert about["step"] == 15
    assert "net/first.weight" in header
    assert "optimizer/0/exp_avg" in header


# --- the recipe and the log -----------------------------------------------------------------------


def test_the_learning_rate_warms_up_and_follows_half_a_cosine(data: Batches) -> None:
    seen: list[float] = []
    recipe = Recipe(steps=100, lr=0.4, warmup=0.1, final_lr=0.25)
    train(
        ElasticMLP(), data, F.cross_entropy, Plain(), recipe, progress=lambda p: seen.append(p.lr)
    )
    step = np.arange(100)
    cosine = 0.25 + 0.75 * (1 + np.cos(np.pi * (step - 10) / 90)) / 2
    expected = 0.4 * np.where(step < 10, (step + 1) / 11, cosine)
    np.testing.assert_allclose(seen, expected, rtol=1e-12)


def test_weight_decay_spares_biases_and_norms() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    groups = Recipe(epochs=1, weight_decay=0.1).build(net.parameters()).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.1), (3, 0.0)]


def test_gradients_are_clipped_to_the_given_norm(batch: Any) -> None:
    net, by_hand = ElasticMLP(), ElasticMLP()
    recipe = Recipe(steps=1, lr=1.0, warmup=0.0, momentum=0.0, weight_decay=0.0, grad_clip=0.01)
    train(net, [batch], F.cross_entropy, Plain(), recipe)
    F.cross_entropy(by_hand(batch[0]), batch[1]).backward()
    moved = [(a - b).flatten() for a, b in zip(net.parameters(), by_hand.parameters(), strict=True)]
    assert float(torch.cat(moved).detach().norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epochs": 1, "steps": 1},
        {"epochs": 0},
        {"steps": -3},
        {"epochs": 1, "lr": math.nan},
        {"epochs": 1, "optimizer": "lion"},
        {"epochs": 1, "warmup": 2},
        {"epochs": 1, "grad_clip": 0},
        {"epochs": 1, "momentum": 1.0},
    ],
)
def test_a_recipe_that_means_nothing_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="A recipe got"):
        Recipe(**settings)


def test_recipe_and_log_are_json(data: Batches) -> None:
    log = train(ElasticMLP(), data, F.cross_entropy, Plain(), ADAMW)
    found = json.loads(json.dumps(log.to_json()))
    assert Recipe(**found["recipe"]) == ADAMW
    assert len(found["losses"]) == found["steps"] == 15
    assert found["rule"] == {"name": "plain"}


def test_a_fraction_of_an_epoch_is_a_length(data: Batches) -> None:
    log = train(ElasticMLP(), data, F.cross_entropy, Plain(), Recipe(epochs=0.4))
    assert (log.steps, log.epochs) == (2, 0.4)


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_a_seed_is_a_whole_number(seed: Any, data: Batches) -> None:
    with pytest.raises(TrainingError, match="The seed is"):
        train(ElasticMLP(), data, F.cross_entropy, Plain(), SGD, seed=seed)


def test_a_network_with_named_inputs_is_fed_by_name() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, *, image: Tensor, scale: Tensor) -> Tensor:
            return self.layer(image) * scale

    x, y = make_batch()
    data = Batches({"image": x, "scale": torch.ones(16, 1)}, y, batch_size=4)
    net = Two()
    log = train(net, data, F.cross_entropy, Distil(), Recipe(epochs=2), teacher=Two())
    assert log.steps == 8
