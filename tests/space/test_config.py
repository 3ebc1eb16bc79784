"""Config: an immutable value."""

import math
import subprocess
import sys

import numpy as np
import pytest

from supple.errors import ConfigError
from supple.space import Config

CONFIG = Config({"stem.width": 16, "stage1.depth": 2, "act": "gelu", "bits": 1.5})


def test_the_id_is_the_same_in_every_process_and_version():
    assert CONFIG.id == "da5e1753bf55"
    code = (
        "from supple.space import Config;"
        "print(Config({'bits': 1.5, 'act': 'gelu', 'stage1.depth': 2.0, 'stem.width': 16}).id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == CONFIG.id


def test_it_is_a_mapping_equal_to_any_other_mapping_with_the_same_items():
    assert dict(CONFIG) == {"stem.width": 16, "stage1.depth": 2, "act": "gelu", "bits": 1.5}
    assert CONFIG == {"bits": 1.5, "act": "gelu", "stage1.depth": 2, "stem.width": 16}
    assert CONFIG != {"stem.width": 16}
    assert CONFIG != 3
    assert len(CONFIG) == 4
    assert "act" in CONFIG
    assert "none" not in CONFIG
    assert CONFIG.get("none") is None
    assert [] not in CONFIG
    with pytest.raises(KeyError):
        CONFIG["none"]


def test_it_cannot_be_changed():
    with pytest.raises(TypeError):
        CONFIG["act"] = "relu"
    with pytest.raises(AttributeError):
        CONFIG.id = "other"


def test_options_are_plain_whatever_they_were():
    config = Config({"a": np.int64(8), "b": np.float32(8.0), "c": np.str_("x"), "d": 8.5})
    assert [type(option) for option in config.values()] == [int, int, str, float]


def test_replace_keeps_order_and_refuses_unknown_names():
    assert list(CONFIG.replace({"stage1.depth": 1}, act="relu")) == list(CONFIG)
    assert CONFIG.replace({"stage1.depth": 1}, act="relu")["act"] == "relu"
    assert CONFIG["act"] == "gelu"
    with pytest.raises(ConfigError, match="did you mean 'stage1.depth'"):
        CONFIG.replace({"stage1.dept": 1})


@pytest.mark.parametrize("option", [True, None, math.nan, math.inf, [8], {}, 2**60])
def test_what_is_no_option_is_refused(option):
    with pytest.raises(ConfigError, match="'a'"):
        Config({"a": option})


def test_names_must_be_strings():
    with pytest.raises(ConfigError, match="has the choice 3"):
        Config({3: 8})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": true}',
        '{"a": [1]}',
        '{"a": 1, "a": 2}',
        '{"a": 1',
        '{"": 1}',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        b"\xff",
    ],
)
def test_json_that_is_no_config_is_refused(text):
    with pytest.raises(ConfigError):
        Config.from_json(text)


def test_json_with_text_outside_ascii_comes_back():
    config = Config({"größe": "ü\ud800"})
    assert Config.from_json(config.to_json()) == config
    assert len(config.id) == 12
