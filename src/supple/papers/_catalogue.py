"""The papers as plain data, read once from ``catalogue.toml`` beside this file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from supple.errors import PaperError, near_misses

__all__ = ["Paper", "catalogue", "paper"]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper of the catalogue.

    Attributes:
        id: Its number here, 1 to 128.
        slug: Its short name, lower case with hyphens.
        title: Its title.
        year: When it appeared.
        arxiv: Its arXiv number, such as ``2202.12954``; empty where it has none or it is not known.
        venue: Where it was published; empty where not known.
        room: The room of supple it belongs to.
        kind: What sort of thing it gives: a block, a strategy, a theory, ...
        idea: What it is about, in three sentences.
    """

    id: int
    slug: str
    title: str
    year: int
    arxiv: str
    venue: str
    room: str
    kind: str
    idea: str

    @property
    def url(self) -> str:
        """Where to read it; empty without an arXiv number."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""


@cache
def catalogue() -> tuple[Paper, ...]:
    """All papers, by id.

    Example:
        >>> from supple.papers import catalogue
        >>> len(catalogue()), catalogue()[75].slug
        (128, 'linas')
    """
    text = resources.files("supple.papers").joinpath("catalogue.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["paper"]
    made = (Paper(**{"arxiv": "", "venue": "", **row}) for row in rows)
    return tuple(sorted(made, key=lambda paper: paper.id))


def paper(key: int | str) -> Paper:
    """The paper with this id or slug.

    Raises:
        PaperError: There is none; the message names near misses.

    Example:
        >>> from supple.papers import paper
        >>> paper("linas").id, paper(76).arxiv
        (76, '2202.12954')
    """
    wanted = str(key).strip().lower().replace("_", "-")
    for one in catalogue():
        if wanted in (str(one.id), one.slug):
            return one
    if wanted.lstrip("-").isdigit():
        hint = f"a number from 1 to {len(catalogue())}"
    else:
        hint = near_misses(wanted, [one.slug for one in catalogue()])
    raise PaperError(
        f"the catalogue has no paper {key!r}.",
        hint=f"{hint}, or see `supple papers`.",
        paper=key,
    )
