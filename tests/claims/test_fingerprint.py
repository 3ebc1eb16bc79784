"""The hash of what was measured: it changes with the code, and with nothing else."""

import textwrap

import pytest

from supple.claims import entries, fingerprint
from supple.claims._fingerprint import changed
from supple.errors import ClaimError

CLAIM = '''
"""A claim."""
from supple.blocks import Thing
from supple.claims import Rule, claim, fit
from supple.elastic import Elastic
from supple.errors import SuppleError

@claim(paper=1, says="It is good.", rules=[Rule(margin=0.1)], quick=1)
def measure(seed, settings):
    """Measures."""
    return fit(Thing(seed), 2)
'''

SOURCES = {
    "supple/__init__.py": "",
    "supple/errors.py": "class SuppleError: ...\n",
    "supple/blocks/__init__.py": "from supple.blocks.thing import Thing\n",
    "supple/blocks/thing.py": '''
        """Things."""
        from supple.blocks._basis import basis
        from supple.trace import engine

        SIZE = 3
        UNUSED = 4

        class Thing:
            """A thing."""

            def forward(self, x: int) -> int:
                # The sum.
                return basis(x) + SIZE + engine(x)

        def other():
            return UNUSED
        ''',
    "supple/blocks/_basis.py": """
        def basis(x):
            return helper(x)

        def helper(x):
            return x
        """,
    "supple/elastic/__init__.py": "from supple.elastic._elastic import Elastic\n",
    "supple/elastic/_elastic.py": "class Elastic: ...\n",
    "supple/trace/__init__.py": "def engine(x):\n    return x\n",
    "supple/claims/__init__.py": '''
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from supple.claims._claim import claim
            from supple.claims._fit import fit
            from supple.claims._rule import Rule
        def __getattr__(name): ...
        ''',
    "supple/claims/_claim.py": "def claim(): ...\n",
    "supple/claims/_rule.py": "class Rule: ...\n",
    "supple/claims/_fit.py": "def fit(model, epochs):\n    return epochs\n",
}  # fmt: skip


@pytest.fixture
def sources(tmp_path):
    """A package on disk: ``edit`` replaces text in it, ``now`` is the claim's fingerprint."""
    for name, text in {**SOURCES, "supple/claims/thing.py": CLAIM}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    class Sources:
        root = tmp_path

        def now(self):
            return fingerprint(tmp_path / "supple/claims/thing.py", tmp_path)

        def edit(self, name, old, new):
            path = tmp_path / "supple" / name
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new))
            # File times may be too coarse to tell two edits of a test apart.
            from supple.claims import _fingerprint

            _fingerprint._read_version.cache_clear()

    return Sources()


def test_it_names_the_claim_and_what_it_imports(sources):
    assert set(sources.now()) == {
        "claim",
        "supple.blocks.thing.Thing",
        "supple.claims._fit.fit",
    }
    assert sources.now() == sources.now()


@pytest.mark.parametrize(
    ("name", "old", "new", "marked"),
    [
        ("claims/thing.py", "Thing(seed), 2", "Thing(seed), 3", ("claim",)),
        ("claims/thing.py", "margin=0.1", "margin=0.2", ("claim",)),
        ("claims/thing.py", "quick=1", "quick=2", ("claim",)),
        ("blocks/thing.py", "SIZE = 3", "SIZE = 5", ("supple.blocks.thing.Thing",)),
        ("blocks/thing.py", "basis(x) +", "basis(x) -", ("supple.blocks.thing.Thing",)),
        # Two steps away, in the room of what was measured.
        (
            "blocks/_basis.py",
            "    return x\n",
            "    return x + 1\n",
            ("supple.blocks.thing.Thing",),
        ),
        ("claims/_fit.py", "return epochs", "return 2 * epochs", ("supple.claims._fit.fit",)),
    ],
)
def test_code_that_was_measured_marks_it(sources, name, old, new, marked):
    before = sources.now()
    sources.edit(name, old, new)
    assert changed(before, sources.now()) == marked


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("claims/thing.py", "It is good.", "It is very good."),
        ("claims/thing.py", '"""Measures."""', '"""Measures it."""'),
        ("blocks/thing.py", "# The sum.", "# The total."),
        ("blocks/thing.py", '"""A thing."""', '"""Some thing."""'),
        ("blocks/thing.py", "x: int) -> int", "x: float) -> float"),
        ("blocks/thing.py", "UNUSED = 4", "UNUSED = 5"),
        ("blocks/thing.py", "return UNUSED", "return 2 * UNUSED"),
        ("blocks/thing.py", "    return basis(x) + SIZE + engine(x)",
         "    return (basis(x)\n            + SIZE + engine(x))"),
        ("claims/_rule.py", "class Rule: ...", "class Rule: margin = 2"),
        ("errors.py", "class SuppleError: ...", "class SuppleError: code = 1"),
        ("elastic/_elastic.py", "class Elastic: ...", "class Elastic: fast = True"),
        # Another room has checks of its own.
        ("trace/__init__.py", "return x", "return x + 1"),
    ],
)  # fmt: skip
def test_nothing_else_marks_it(sources, name, old, new):
    before = sources.now()
    sources.edit(name, old, new)
    assert changed(before, sources.now()) == ()


def test_a_package_that_looks_names_up_is_searched(sources):
    before = sources.now()
    sources.edit("blocks/__init__.py", "from supple.blocks.thing import Thing",
                 "def __getattr__(name): ...")  # fmt: skip
    assert changed(before, sources.now()) == ()


def test_a_module_imported_whole_is_measured_whole(sources):
    sources.edit("claims/thing.py", "import Thing", "import thing")
    before = sources.now()
    assert "supple.blocks.thing" in before
    sources.edit("blocks/thing.py", "UNUSED = 4", "UNUSED = 5")
    assert changed(before, sources.now()) == ("supple.blocks.thing",)


def test_what_cannot_be_found_is_an_error(sources):
    sources.edit("blocks/__init__.py", "Thing", "Other")
    with pytest.raises(ClaimError, match="cannot find where 'Thing'"):
        sources.now()


def test_what_is_new_or_gone_counts_as_changed():
    assert changed({"a": "1", "b": "2"}, {"b": "2", "c": "3"}) == ("a", "c")


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_every_claim_of_supple_has_one(entry):
    found = fingerprint(entry.path)
    assert "claim" in found
    assert len(found) > 1
