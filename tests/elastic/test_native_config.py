"""Correcting a config, on models that are built from one as those of Hugging Face are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity


class Config:
    """Two widths in a list, a number that may be left out, and one that refuses whole numbers."""

    def __init__(self, widths: list[int], scale: float | None = None) -> None:
        self.widths, self.inner, self.kv_scale = widths, None, scale

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "kv_scale" and type(value) is int:
            raise TypeError("kv_scale has to be a float or None")
        super().__setattr__(name, value)

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class FromConfig(nn.Module):
    """What such a model needs to have: a config it is built from, and a way to save itself."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        first, second = config.widths
        self.one, self.two = nn.Linear(5, first), nn.Linear(first, second)
        self.three = nn.Linear(second, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(self.one(x).relu()).relu())

    def save_pretrained(self, folder: str) -> None:
        raise NotImplementedError


class Around(nn.Module):
    """The user's own module around one."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = FromConfig(Config([16, 24]))

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inside(x)


class Scaled(FromConfig):
    """Its code reads the config, so a smaller one computes something else."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.root = float(config.widths[0]) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.root


GOOD = "save_pretrained and from_pretrained give this network; its config was corrected"


def extraction(model: nn.Module) -> Any:
    net = Elastic(model.eval(), (torch.randn(2, 5),), Elasticity(multiple_of=2))
    sizes = {name: 8 if "one" in name else 12 for name in net.space}
    found = net.extraction(net.space.largest.replace(sizes))
    assert found.kind == "native", found.reason
    return found


def test_a_list_of_sizes_is_corrected_item_by_item() -> None:
    model = FromConfig(Config([16, 24]))
    found = extraction(model)
    assert found.notes == (GOOD,)
    assert found.network.config.widths == [8, 12]
    assert model.config.widths == [16, 24]
    again = FromConfig(found.network.config)
    again.load_state_dict(found.network.state_dict())
    x = torch.randn(4, 5)
    assert torch.equal(again(x), found.network(x))


def test_a_model_inside_of_ones_own_module_has_its_config_corrected() -> None:
    found = extraction(Around())
    assert found.notes == (f"inside: {GOOD}",)
    assert found.network.inside.config.widths == [8, 12]


def test_a_network_that_its_config_would_build_otherwise_is_told() -> None:
    found = extraction(Scaled(Config([16, 24])))
    assert "from_pretrained would build another network" in found.notes[0]


def test_what_building_raises_is_a_note_and_leaves_the_config_alone() -> None:
    class Strict(FromConfig):
        def __init__(self, config: Config) -> None:
            if config.widths != [16, 24]:
                raise ValueError("other widths are not for sale")
            super().__init__(config)

    found = extraction(Strict(Config([16, 24])))
    assert "no settings of its config give the network" in found.notes[0]
    assert found.network.config.widths == [16, 24]
