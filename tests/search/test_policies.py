"""What only OP-GFlowNet, REINFORCE and the neural bandits promise."""

import itertools

import numpy as np
import pytest
import torch

from supple.errors import SearchError
from supple.search import NeuSquareCB, OPGFlowNet, Reinforce
from supple.search._flow_policy import FlowPolicy, order_preserving_loss
from supple.search._history import History
from supple.search._neural_bandit import PerturbedNetwork
from supple.search._recurrent_policy import RecurrentPolicy
from supple.search.neu_fast_cb import fast_chances
from supple.search.neu_square_cb import square_chances
from supple.search.reinforce import compression_reward
from supple.space import Space, Swap, Width

EVERY = np.array(list(itertools.product(range(2), range(3), range(2))))


# OP-GFlowNet


def test_the_flow_of_all_orders_of_a_config_adds_up_to_its_chance():
    """Over all configs and all orders of filling them in, P_F adds up to one."""
    policy = FlowPolicy([2, 3, 2], hidden=5, seed=0)
    with torch.no_grad():
        policy.parameters[4] *= 50  # not nearly even
        total = 0.0
        for order in itertools.permutations(range(3)):
            orders = np.tile(order, (len(EVERY), 1))
            total += float((policy.log_rewards(EVERY, orders) - np.log(6)).exp().sum())
    assert total == pytest.approx(1.0)


def test_samples_follow_the_policy():
    policy = FlowPolicy([2, 3, 2], hidden=5, seed=0)
    with torch.no_grad():
        policy.parameters[4] *= 50
        chances = np.zeros(len(EVERY))
        for order in itertools.permutations(range(3)):
            orders = np.tile(order, (len(EVERY), 1))
            chances += (policy.log_rewards(EVERY, orders) - np.log(6)).exp().numpy()
    drawn = policy.sample(20_000, np.random.default_rng(0), explore=0.0)
    counts = [np.mean(np.all(drawn == row, axis=1)) for row in EVERY]
    assert counts == pytest.approx(chances, abs=0.015)


def test_the_order_preserving_loss_by_hand_and_its_invariance():
    rewards = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    is_best = torch.tensor([False, True, True])
    loss = order_preserving_loss(rewards, is_best)
    weights = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    assert loss.item() == pytest.approx(-np.mean(np.log(weights[1:])))
    assert order_preserving_loss(rewards + 7.0, is_best).item() == pytest.approx(loss.item())
    everyone = torch.ones(3, dtype=torch.bool)
    even = order_preserving_loss(torch.zeros(3, dtype=torch.float64), everyone)
    assert even.item() == pytest.approx(np.log(3))
    assert torch.autograd.gradcheck(lambda r: order_preserving_loss(r, is_best), (rewards,))


def known(space, losses):
    rows = space.to_indices_many(space.configs())
    values = losses(rows).reshape(len(rows), -1)
    return History(
        genes=rows,
        losses=values,
        seen=frozenset(),
        objectives=values.shape[1],
        maximised=(False,) * values.shape[1],
    )


def test_what_it_learns_to_draw_is_the_front():
    space = Space({n: Swap(options=tuple("vwxyz")) for n in "abc"})
    past = known(space, lambda rows: np.stack([rows[:, 0] + rows[:, 1], (rows > 0).sum(1)], 1))
    front = past.genes[np.all(past.genes == 0, axis=1)]
    flow = OPGFlowNet(space=space, steps=80, batch_size=64, explore=0.0, learning_rate=0.01)
    drawn = flow._trained(past, np.random.default_rng(0)).sample(200, np.random.default_rng(1), 0.0)
    assert np.mean(np.all(drawn == front[0], axis=1)) > 0.5  # one config of 125


# REINFORCE


def test_the_reward_of_n2n():
    assert compression_reward(1.0, [1.0, 0.0, 0.5, 0.1]) == pytest.approx([0.0, 1.0, 0.75, 0.99])
    saved = compression_reward(0.9, np.linspace(1, 0, 50))
    assert np.all(np.diff(saved) > 0)
    assert np.all(np.diff(saved, 2) < 0)


def test_chances_of_all_configs_add_up_to_one_and_samples_follow_them():
    policy = RecurrentPolicy([2, 3, 2], hidden=6, seed=0)
    with torch.no_grad():
        for head in policy.heads:
            head *= 200
        chances = policy.log_probabilities(EVERY).exp().numpy()
    assert chances.sum() == pytest.approx(1.0)
    drawn = policy.sample(20_000, np.random.default_rng(0))
    counts = [np.mean(np.all(drawn == row, axis=1)) for row in EVERY]
    assert counts == pytest.approx(chances, abs=0.015)
    assert chances.std() > 0.01


def test_the_policy_converges_to_the_best_arm():
    space = Space({"arm": Swap(options=tuple("abcdef"))})
    rng = np.random.default_rng(0)
    genes = rng.integers(0, 6, size=(300, 1))
    losses = np.where(genes == 2, 0.1, 0.8)
    past = History(genes=genes, losses=losses, seen=frozenset(), objectives=1, maximised=(False,))
    policy = Reinforce(space=space, population=10, learning_rate=0.05)._trained(past)
    with torch.no_grad():
        chances = policy.log_probabilities(np.arange(6)[:, None]).exp().numpy()
    assert chances.argmax() == 2
    assert chances[2] > 0.9


# Neural bandits


@pytest.mark.parametrize("chances_of", [square_chances, fast_chances])
def test_chances_of_arms(chances_of):
    rng = np.random.default_rng(0)
    predicted = 0.1 + 0.8 * rng.random(7)
    best = predicted.argmin()
    chances = chances_of(predicted, 5.0)
    assert chances.sum() == pytest.approx(1.0)
    assert chances.min() > 0
    assert chances[best] >= 1 / 7
    assert chances_of(predicted, 0.0) == pytest.approx([1 / 7] * 7)
    assert chances_of(predicted, 1e12)[best] == pytest.approx(1.0)
    assert chances_of(np.full(7, 0.4), 5.0) == pytest.approx([1 / 7] * 7)
    order = rng.permutation(7)
    assert chances_of(predicted[order], 5.0) == pytest.approx(chances[order])


def test_fast_explores_less_where_the_best_arm_is_good():
    assert fast_chances([0.01, 0.5], 1.0)[0] > square_chances([0.01, 0.5], 1.0)[0]


def network(loss, perturbation=0.3):
    return PerturbedNetwork(
        4,
        width=6,
        perturbation=perturbation,
        copies=5,
        loss=loss,
        rng=np.random.default_rng(0),
    )


@pytest.mark.parametrize("loss", ["square", "kl"])
def test_the_slope_is_that_of_differences(loss):
    made = network(loss)
    rng = np.random.default_rng(1)
    context, target = rng.normal(size=4), 0.3
    made.theta = made.theta + 0.3 * rng.normal(size=made.theta.shape)

    def value(theta):
        weights, last = made._parts(theta)
        plain = np.maximum(weights @ context, 0) @ last / 6**0.5
        scores = plain + made.size * (made.signs @ (theta - made.first))
        if loss == "square":
            return np.mean((scores + 0.5 - target) ** 2) / 2
        guess = 1 / (1 + np.exp(-scores))
        return np.mean(-target * np.log(guess) - (1 - target) * np.log(1 - guess))

    slope = made.gradient(context, target)
    for place in range(0, len(made.theta), 5):
        step = np.zeros_like(made.theta)
        step[place] = 1e-6
        numeric = (value(made.theta + step) - value(made.theta - step)) / 2e-6
        assert slope[place] == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize("loss", ["square", "kl"])
def test_at_the_start_every_arm_is_predicted_one_half(loss):
    contexts = np.random.default_rng(0).normal(size=(9, 4))
    assert network(loss).predict(contexts) == pytest.approx([0.5] * 9)


def test_it_learns_online_and_stays_in_its_ball():
    made = network("square", perturbation=0.05)
    rng = np.random.default_rng(0)
    weights = np.array([0.2, -0.2, 0.1, 0.0])
    for _ in range(800):
        context = rng.normal(size=4)
        made.update(context, 0.5 + weights @ context, rate=0.05, radius=3.0)
    others = rng.normal(size=(200, 4))
    assert np.corrcoef(made.scores(others), others @ weights)[0, 1] > 0.9
    assert np.linalg.norm(made.theta - made.first) <= 3.0 + 1e-9
    made.update(others[0], 1.0, rate=1e6, radius=0.5)
    assert np.linalg.norm(made.theta - made.first) == pytest.approx(0.5)


def test_settings_that_cannot_run_are_refused():
    space = Space({"a": Width(options=(1, 2))})
    with pytest.raises(SearchError, match="even number of units"):
        NeuSquareCB(space=space, width=7)
    with pytest.raises(SearchError, match="cannot train a policy"):
        OPGFlowNet(space=space, steps=0)
    with pytest.raises(SearchError, match="cannot be trained"):
        Reinforce(space=space, memory=1.0)
