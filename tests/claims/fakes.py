"""Tiny claims, one for each thing that can happen to a claim."""

import os
import signal

import torch

from supple.claims import Rule, claim, seeded

TEXT = {"paper": 86, "says": "A is better.", "reported": "Much.", "here": "Little.", "quick": 3,
        "full": 9}  # fmt: skip
HIGHER = Rule(metric="score", method="a", baseline="b", margin=0.5)


@claim(rules=[HIGHER], **TEXT)
def better(seed, settings):
    return {"a": {"score": settings + 0.01 * seed}, "b": {"score": 0.02 * seed}}


@claim(rules=[HIGHER], **TEXT)
def drawn(seed, settings):
    """From torch's own generator and from a path: nothing but the seed may matter."""
    layer = torch.nn.Linear(2, 2)
    with seeded(seed, "weights"):
        other = torch.nn.Linear(2, 2)
    return {
        "a": {
            "score": float(layer.weight.detach().sum()),
            "threads": float(torch.get_num_threads()),
        },
        "b": {"score": float(other.weight.detach().sum()), "curve": [(1, seed), (2, 2 * seed)]},
    }


@claim(rules=[HIGHER], **TEXT)
def nan_once(seed, settings):
    return {"a": {"score": float("nan") if seed == 1 else 5.0}, "b": {"score": float(seed)}}


@claim(rules=[HIGHER], **TEXT)
def raises_once(seed, settings):
    if seed == 1:
        raise ZeroDivisionError("the second seed")
    return {"a": {"score": 5.0 + seed}, "b": {"score": 1.0}}


@claim(rules=[HIGHER], **TEXT)
def raises_always(seed, settings):
    raise ZeroDivisionError("every seed")


@claim(rules=[HIGHER], **TEXT)
def lacks_an_arm(seed, settings):
    return {"a": {"score": 1.0}}


@claim(rules=[HIGHER], **TEXT)
def compares_curves(seed, settings):
    return {"a": {"score": [(1, 2)]}, "b": {"score": 1.0}}


@claim(rules=[HIGHER], **TEXT)
def gives_text(seed, settings):
    return {"a": {"score": "high"}, "b": {"score": 1.0}}


@claim(rules=[HIGHER], **TEXT)
def interrupted(seed, settings):
    if seed == 1:
        signal.raise_signal(signal.SIGINT)
    return {"a": {"score": 1.0}, "b": {"score": 1.0}}


@claim(rules=[HIGHER], **TEXT)
def killed(seed, settings):
    os._exit(3)
