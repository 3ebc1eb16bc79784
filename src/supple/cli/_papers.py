"""``supple papers``: the catalogue, with what implements each paper and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from supple.cli._claims import status_data
from supple.cli._exit import Exit
from supple.cli._options import AsJson

if TYPE_CHECKING:
    from supple.claims import Status
    from supple.papers import Paper

__all__ = ["papers"]

papers = App(name="papers", sort_key=9, help="List the papers supple is made of, and show one.")


@papers.default
def list_papers(
    *,
    room: str | None = None,
    status: Literal["implemented", "not-yet", "claimed"] | None = None,
    json: AsJson = False,
) -> int:
    """List the papers, what implements each, and the verdicts of its claims.

    Parameters
    ----------
    room
        Only those of this room, such as blocks.
    status
        Only those that are implemented, not yet implemented, or have a claim.
    json
        Print one JSON object.
    """
    from supple.papers import catalogue

    _check_room(room)
    claims = _claims_by_paper()
    rows = [
        row
        for row in (_data(one, claims.get(one.id, ())) for one in catalogue())
        if (room is None or row["room"] == room) and (status is None or _has(row, status))
    ]
    if json:
        from supple.cli._summary import print_json

        print_json({"papers": rows})
        return Exit.OK
    _print_list(rows)
    return Exit.OK


@papers.command
def show(paper: str, /, *, json: AsJson = False) -> int:
    """Show a paper: the idea, how to use it, its claims and their evidence.

    Parameters
    ----------
    paper
        Its slug or number, such as linas or 76.
    json
        Print one JSON object.
    """
    from supple.papers import implementations
    from supple.papers import paper as found_paper

    one = found_paper(paper)
    claims = _claims_by_paper().get(one.id, ())
    found = sorted(implementations(one.id), key=lambda f: f".{one.room}." not in f.path)
    example = next((_code(thing.example) for thing in found if thing.example), "")
    if json:
        from supple.cli._summary import print_json

        row = {**_data(one, claims), "idea": one.idea, "example": example}
        row["claims"] = [status_data(claim) for claim in claims]
        print_json(row)
        return Exit.OK
    _print_paper(one, example, claims)
    return Exit.OK


def _claims_by_paper() -> dict[int, tuple[Status, ...]]:
    from supple.claims import statuses

    found: dict[int, tuple[Status, ...]] = {}
    for one in statuses():
        found[one.entry.paper] = (*found.get(one.entry.paper, ()), one)
    return found


def _data(one: Paper, claims: tuple[Status, ...]) -> dict[str, Any]:
    from supple.papers import implementations

    return {
        "id": one.id,
        "slug": one.slug,
        "title": one.title,
        "year": one.year,
        "arxiv": one.arxiv,
        "venue": one.venue,
        "room": one.room,
        "kind": one.kind,
        "status": "implemented" if implementations(one.id) else "not yet",
        "implementations": [found.path for found in implementations(one.id)],
        "claims": [
            {
                "name": claim.entry.name,
                "verdict": claim.evidence.verdict if claim.evidence else None,
                "state": claim.state,
            }
            for claim in claims
        ],
    }


def _has(row: dict[str, Any], status: str) -> bool:
    if status == "claimed":
        return bool(row["claims"])
    return bool(row["implementations"]) == (status == "implemented")


def _check_room(room: str | None) -> None:
    from supple.errors import PaperError, near_misses
    from supple.papers import catalogue

    rooms = {one.room for one in catalogue()}
    if room is not None and room not in rooms:
        raise PaperError(
            f"no paper is of a room '{room}'.", hint=near_misses(room, rooms), room=room
        )


def _print_list(rows: list[dict[str, Any]]) -> None:
    lines = [("id", "slug", "room", "parts", "claims", "title")]
    for row in rows:
        verdicts = (claim["verdict"] or "not measured" for claim in row["claims"])
        parts = str(len(row["implementations"]) or "not yet")
        lines.append(
            (str(row["id"]), row["slug"], row["room"], parts, ", ".join(verdicts), row["title"])
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    done = sum(1 for row in rows if row["implementations"])
    claimed = sum(1 for row in rows if row["claims"])
    print(f"\n{len(rows)} papers, {done} implemented, {claimed} claimed")


def _print_paper(one: Paper, example: str, claims: tuple[Status, ...]) -> None:
    from supple.papers import implementations

    where = " · ".join(part for part in (str(one.year), one.venue, one.url) if part)
    print(f"{one.id}. {one.title}\n{where}\nroom {one.room} · {one.kind}\n\n{one.idea}\n")
    found = implementations(one.id)
    if not found:
        print("Not implemented yet.")
    for thing in found:
        print(f"{thing.path}: {thing.summary}")
    if example:
        print(f"\nHow to use it:\n\n{_indented(example)}")
    for claim in claims:
        print(f"\nClaim '{claim.entry.name}': {claim.entry.says}\n  {claim.verdict}")
        if claim.evidence is not None:
            _print_findings(claim)
        print(f"  supple claims show {claim.entry.name}")


def _print_findings(claim: Status) -> None:
    from supple.claims._page import finding_text

    assert claim.evidence is not None
    for rule, finding in zip(claim.evidence.rules, claim.evidence.findings, strict=True):
        print(f"  {rule.sentence()}: {finding.verdict}, {finding_text(rule, finding)}")


def _code(example: str) -> str:
    """A docstring's example as a script: what it answers stands in comments."""
    lines = []
    for line in example.splitlines():
        is_code = line.startswith((">>>", "..."))
        lines.append(line[4:] if is_code else f"# {line}".rstrip())
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
