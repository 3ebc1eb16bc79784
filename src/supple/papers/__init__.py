"""The catalogue: the 128 papers supple is made of, and what in supple implements each.

    from supple.papers import catalogue, implementations, paper
    paper("linas").title              one paper, by id or slug
    implementations(76)               what implements it, found in the sources

The papers are plain data in ``catalogue.toml``. What implements them is not listed there: a class
or function says so itself, ``@implements(76)``, and is found without importing it. Nothing here
loads torch.
"""

from supple.papers._catalogue import Paper, catalogue, paper
from supple.papers._citation import implements
from supple.papers._implementations import Implementation, implementations

__all__ = ["Implementation", "Paper", "catalogue", "implementations", "implements", "paper"]
