"""Classification by components: two forms of the score, and a certificate that holds."""

import pytest
import torch

from supple.blocks.cbc import (
    CBCHead,
    ClassificationByComponents,
    RBFClassifier,
    certified_margin_loss,
    margin_loss,
    robustness_radius,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def head_by_hand(head, d):
    """Presence and absence, one by one."""
    scores = torch.zeros(*d.shape[:-1], head.num_classes, dtype=d.dtype)
    for c in range(head.num_classes):
        weights = head.reasoning[c].exp() / head.reasoning[c].exp().sum()
        for k in range(head.num_components):
            scores[..., c] += weights[0, k] * d[..., k]
            if head.is_negative:
                scores[..., c] += weights[1, k] * (1 - d[..., k])
    return scores


def by_hand(block, x):
    d = torch.exp(-torch.cdist(x, block.components) / block.sigma)
    return head_by_hand(block.head, d)


CASES = {
    "cbc": BlockCase(
        make=lambda: ClassificationByComponents(in_features=4, num_components=5, num_classes=3),
        example=drawn(6, 4),
        reference=by_hand,
        tolerance=1e-7,  # the square root of a small number is added to distances
        wrong_inputs=[drawn(2, 5)],
        parameters=5 * 4 + 3 * 2 * 5,
        elastic=("in", "out"),
    ),
    "rbf": BlockCase(
        make=lambda: RBFClassifier(in_features=4, num_components=5, num_classes=3, sigma=2.0),
        example=drawn(6, 4),
        reference=by_hand,
        tolerance=1e-7,
        wrong_inputs=[drawn(2, 5)],
        parameters=5 * 4 + 3 * 5,
        elastic=("in", "out"),
    ),
    "head": BlockCase(
        make=lambda: CBCHead(num_components=5, num_classes=3),
        example=drawn(6, 5).sigmoid(),
        reference=head_by_hand,
        wrong_inputs=[drawn(2, 4)],
        parameters=3 * 2 * 5,
        elastic=("out",),
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def made(seed=0, **settings):
    given = {"in_features": 4, "num_components": 5, "num_classes": 3} | settings
    block = ClassificationByComponents(**given).double()
    block.reset_parameters(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        block.head.reasoning.mul_(10)  # classes that differ
    return block


def test_scores_are_probabilities_and_explained_in_full():
    block, x = made(), drawn(50, 4, seed=1).double()
    scores = block(x)
    assert ((scores >= 0) & (scores <= 1)).all()
    positive, negative = block.head.probabilities()
    assert torch.allclose((positive + negative).sum(1), torch.ones(3).double())
    there, missing = block.explain(x)
    assert torch.allclose((there + missing).sum(-1), scores)


@pytest.mark.parametrize("seed", range(3))
def test_no_change_within_the_radius_alters_the_class(seed):
    block, x = made(seed), drawn(40, 4, seed=seed + 7).double()
    y = block(x).argmax(1)
    radius = robustness_radius(block, x, y)
    assert (radius >= 0).all()
    draw = torch.Generator().manual_seed(seed)
    for i in range(300):
        step = torch.randn(x.shape, generator=draw, dtype=x.dtype)
        if i % 3 == 0:  # straight at the rival: down the gap to the second best class
            moved = x.clone().requires_grad_()
            best = block(moved).topk(2, 1).values
            (step,) = torch.autograd.grad((best[:, 1] - best[:, 0]).sum(), moved)
        length = torch.where(radius.isfinite(), radius, 10.0).unsqueeze(1) * 0.999
        changed = block(x + step / step.norm(dim=1, keepdim=True) * length)
        assert (changed.argmax(1) == y).all()


def test_the_radius_is_tight_for_two_components_on_a_line():
    """Evidence for one class only at each of two points: the boundary is the middle."""
    block = RBFClassifier(in_features=1, num_components=2, num_classes=2).double()
    with torch.no_grad():
        block.components.copy_(torch.tensor([[-1.0], [1.0]]))
        block.head.reasoning.copy_(torch.tensor([[[50.0, 0.0]], [[0.0, 50.0]]]))
    x = torch.tensor([[-0.7], [0.25]]).double()
    radius = robustness_radius(block, x, torch.tensor([0, 1]))
    assert radius.tolist() == pytest.approx([0.7, 0.25], abs=1e-6)
    wrong = robustness_radius(block, x, torch.tensor([1, 0]))
    assert wrong.tolist() == pytest.approx([-0.7, -0.25], abs=1e-6)
    middle = robustness_radius(block, torch.zeros(1, 1).double(), torch.tensor([0]))
    assert middle.item() == pytest.approx(0, abs=1e-6)


def test_losses():
    scores = torch.tensor([[0.9, 0.2, 0.5], [0.1, 0.3, 0.25]])
    y = torch.tensor([0, 2])
    want = (max(0, 0.5 - 0.9 + 0.3) + max(0, 0.3 - 0.25 + 0.3)) / 2
    assert margin_loss(scores, y, margin=0.3).item() == pytest.approx(want)
    block, x = made(), drawn(6, 4).double()
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    loss = certified_margin_loss(block, x, y, cap=0.2)
    radii = robustness_radius(block, x, y).tolist()
    assert loss.item() == pytest.approx(sum(max(0, 0.2 - r) for r in radii) / 6)
    loss.backward()
    assert block.components.grad.isfinite().all()


def test_errors():
    with pytest.raises(BlockError, match="sigma"):
        made(sigma=0.0)
    with pytest.raises(BlockError, match="3 classes"):
        margin_loss(torch.zeros(2, 3), torch.tensor([0, 3]))
