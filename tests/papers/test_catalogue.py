"""The catalogue: complete, unique, of known rooms, in three sentences each."""

import re

import pytest

from supple.errors import PaperError
from supple.papers import catalogue, paper
from tests.laws.test_rooms import HEIGHT

IDS = [one.slug for one in catalogue()]


def test_it_has_the_128_papers_once_each():
    assert [one.id for one in catalogue()] == list(range(1, 129))
    for field in ("slug", "title"):
        values = [getattr(one, field) for one in catalogue()]
        assert len(set(values)) == 128
    known = [one.arxiv for one in catalogue() if one.arxiv]
    assert len(set(known)) == len(known)


@pytest.mark.parametrize("one", catalogue(), ids=IDS)
def test_every_entry_is_well_formed(one):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.slug)
    assert one.title == one.title.strip()
    assert one.room in HEIGHT
    assert one.kind
    # Numbers of arXiv since 2007: year and month of the first version, then a counter.
    assert re.fullmatch(r"\d{2}(0[1-9]|1[0-2])\.\d{4,5}", one.arxiv)
    first = 2000 + int(one.arxiv[:2])
    assert first <= one.year <= first + 4


@pytest.mark.parametrize("one", catalogue(), ids=IDS)
def test_every_idea_has_three_sentences(one):
    assert len(re.findall(r"[.?](?= [A-Z]|$)", one.idea)) == 3
    assert one.idea == one.idea.strip()
    assert "  " not in one.idea
    assert 100 < len(one.idea) < 420


@pytest.mark.parametrize("key", [76, "76", "linas", "LINAS", " linas "])
def test_a_paper_is_found_by_id_and_slug(key):
    assert paper(key).title.startswith("A Hardware-Aware System")


def test_underscores_stand_for_hyphens():
    assert paper("s_kan") is paper("s-kan")


def test_an_arxiv_number_gives_an_address():
    assert paper(76).url == "https://arxiv.org/abs/2202.12954"


@pytest.mark.parametrize(
    ("key", "hint"),
    [("lnas", "'linas'"), (0, "1 to 128"), (129, "1 to 128"), ("-1", "1 to 128"), ("", "known")],
)
def test_an_unknown_paper_names_what_to_try(key, hint):
    with pytest.raises(PaperError, match=re.escape(hint)):
        paper(key)
