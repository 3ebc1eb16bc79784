"""``supple claims``: what papers say, measured again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from supple.cli._errors import print_error
from supple.cli._exit import Exit
from supple.cli._options import AsJson, Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

    from supple.claims import Budget, Evidence, Status, Step
    from supple.errors import ClaimError

__all__ = ["claims"]

claims = App(
    name="claims", sort_key=10, help="Measure again what papers say, and show what was found."
)

_STYLES = {
    "reproduced": "green",
    "weaker": "yellow",
    "not reproduced": "red",
    "opposite": "bold red",
    "not decided": "dim",
}


@claims.default
@claims.command(name="list")
def list_claims(*, json: AsJson = False) -> int:
    """List all claims with their verdicts.

    Parameters
    ----------
    json
        Print one JSON object.
    """
    from supple.claims import statuses

    found = statuses()
    if json:
        from supple.cli._summary import print_json

        print_json({"claims": [status_data(one) for one in found]})
        return Exit.OK
    _print_list(found)
    return Exit.OK


@claims.command
def run(
    *names: str,
    quick: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    full: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    seeds: int | None = None,
    jobs: int = 1,
    out: Path | None = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Measure claims, all of them if none is named, and keep the evidence.

    A claim that cannot be measured here, because its data are missing for example, is told in the
    end, and the others are measured.

    Evidence is kept in a checkout of supple, with the pages in docs/claims; elsewhere, or with a
    number of seeds that is not the claim's own, only where --out says.

    Parameters
    ----------
    names
        The claims, as `supple claims list` names them.
    quick
        The small settings: seconds each. This is the default.
    full
        The settings of the documentation: minutes each.
    seeds
        How many seeds; by default as many as the claim says.
    jobs
        Processes to measure in. Times are only comparable with 1.
    out
        A folder for the evidence.
    json
        Print one JSON object.
    quiet
        Show no progress.
    """
    from supple.claims import entries, load, run_all

    budget: Budget = _budget(quick, full)
    chosen = [load(name) for name in dict.fromkeys(names or [one.name for one in entries()])]
    folder = _folder(out, seeds)
    evidences: list[Evidence] = []
    failed: list[ClaimError] = []
    with _progress(quiet) as told:
        for evidence in run_all(
            chosen, budget=budget, seeds=seeds, jobs=jobs, progress=told, failed=failed.append
        ):
            _keep(evidence, folder)
            evidences.append(evidence)
            if not json:
                _print_evidence(evidence)
    if json:
        from supple.cli._summary import print_json

        print_json({"evidence": [_data(evidence) for evidence in evidences]})
    elif folder is None:
        print("Not kept; --out FOLDER keeps it.")
    for error in failed:
        print_error(error)
    return Exit.ERROR if failed else Exit.OK


@claims.command
def show(name: str, /, *, json: AsJson = False) -> int:
    """Show a claim: what the paper says, the rules that decide, and the evidence.

    Parameters
    ----------
    name
        The claim, as `supple claims list` names it.
    json
        Print one JSON object.
    """
    from supple.claims import load, status

    found = status(name)
    claim = load(name)
    if json:
        from supple.cli._summary import print_json

        evidence = None if found.evidence is None else _data(found.evidence)
        print_json({**status_data(found), "reported": claim.reported, "here": claim.here,
                    "rules": [rule.sentence() for rule in claim.rules],
                    "evidence": evidence})  # fmt: skip
        return Exit.OK
    from supple.papers import paper

    console = _console()
    console.print(f"{claim.name}, paper {claim.paper}: {paper(claim.paper).title}", style="bold")
    texts = (("The paper says", claim.says), ("It reports", claim.reported), ("Here", claim.here))
    for title, text in (*texts, ("What was tried", claim.tried)):
        if text:
            console.print(f"\n{title}: {text}", markup=False)
    console.print("\nRules, written before measuring:")
    for rule in claim.rules:
        console.print(f"  {rule.sentence()}", markup=False)
    console.print()
    _print_state(found, console)
    if found.evidence is not None:
        _print_evidence(found.evidence)
    return Exit.OK


@claims.command
def verify(*names: str, json: AsJson = False) -> int:
    """Say which evidence is missing, damaged, or older than a change of what it measured.

    Ends with 1 where any is.

    Parameters
    ----------
    names
        The claims; by default all.
    json
        Print one JSON object.
    """
    from supple.claims import status, statuses

    found = [status(name) for name in names] if names else list(statuses())
    if json:
        from supple.cli._summary import print_json

        print_json({"claims": [status_data(one) for one in found]})
    else:
        for one in found:
            _print_state(one, _console())
    return Exit.OK if all(one.state == "fresh" for one in found) else Exit.ERROR


@claims.command
def pages(folder: Path = Path("docs/claims"), /) -> int:
    """Write the page and figure of every claim that has evidence, and the table of all.

    Parameters
    ----------
    folder
        Where to.
    """
    from supple.claims import write_pages

    for path in write_pages(folder):
        print(path)
    return Exit.OK


def status_data(found: Status) -> dict[str, Any]:
    """A claim and the state of its evidence as plain data."""
    evidence = found.evidence
    return {
        "name": found.entry.name,
        "paper": found.entry.paper,
        "says": found.entry.says,
        "state": found.state,
        "verdict": None if evidence is None else evidence.verdict,
        "budget": None if evidence is None else evidence.budget,
        "date": None if evidence is None else evidence.date,
        "changed": list(found.changed),
        "problem": found.problem,
    }


def _budget(quick: bool, full: bool) -> Budget:
    if quick and full:
        from supple.errors import ClaimError

        raise ClaimError("both --quick and --full were asked for.", hint="one of the two.")
    return "full" if full else "quick"


def _folder(out: Path | None, seeds: int | None) -> Path | None:
    """Where evidence is kept: ``out``; else in the checkout, for the claim's own seeds."""
    from supple.claims._evidence import EVIDENCE

    if out is not None or seeds is not None:
        return out
    return EVIDENCE if _checkout() is not None else None


def _checkout() -> Path | None:
    """The folder of the repository, where supple runs from one."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "docs").is_dir() else None


def _keep(evidence: Evidence, folder: Path | None) -> None:
    from supple.claims import store_evidence, write_pages
    from supple.claims._evidence import EVIDENCE

    if folder is None:
        return
    store_evidence(evidence, folder)
    root = _checkout()
    if folder == EVIDENCE and root is not None:
        write_pages(root / "docs" / "claims", [evidence.claim])


def _data(evidence: Evidence) -> Any:
    import json

    return json.loads(evidence.to_json())


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Tells of every seed on stderr: one line that changes on a terminal, else a line each."""
    stream = sys.stderr
    end = "" if stream.isatty() else "\n"

    def tell(step: Step) -> None:
        text = f"{step.done}/{step.total} {step.claim}, seed {step.seed}: {step.seconds:.1f} s"
        print(f"\r\x1b[2K{text}" if not end else text, end=end, file=stream, flush=True)

    yield (lambda step: None) if quiet else tell
    if not quiet and not end:
        print("\r\x1b[2K", end="", file=stream, flush=True)


def _print_evidence(evidence: Evidence) -> None:
    from supple.claims._page import finding_text

    console = _console()
    style = _STYLES[evidence.verdict]
    console.print(
        _styled(f"{evidence.claim}: {evidence.verdict}", f"bold {style}"),
        f"({evidence.budget}, {len(evidence.seeds)} seeds, {evidence.seconds:.0f} s)",
    )
    table = _table("rule", "effect (95 % interval)", "verdict")
    for rule, finding in zip(evidence.rules, evidence.findings, strict=True):
        verdict = _styled(finding.verdict, _STYLES[finding.verdict])
        table.add_row(rule.sentence(), finding_text(rule, finding), verdict)
    console.print(table)
    for seed, text in evidence.failures.items():
        console.print(f"seed {seed} failed: {text}", style="red", markup=False)


def _print_list(found: Sequence[Status]) -> None:
    """A line for each claim, and how many there are of each verdict."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from supple.papers import paper

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("claim", "verdict", "paper"):
        table.add_column(column, no_wrap=True)
    table.add_column("title")  # the one that gives way on a narrow screen
    verdicts: Counter[str] = Counter()
    for one in found:
        verdict = one.evidence.verdict if one.evidence else one.verdict
        verdicts[verdict] += 1
        mark = "*" if one.state == "stale" else ""
        style = _STYLES.get(verdict, "dim")
        title = Text(paper(one.entry.paper).title, no_wrap=True, overflow="ellipsis")
        table.add_row(one.entry.name, _styled(verdict + mark, style), str(one.entry.paper), title)
    console = _console()
    console.print(table)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    console.print(f"{len(found)} claims: {counted}", markup=False)
    if any(one.state == "stale" for one in found):
        console.print("* what was measured has changed since; `supple claims verify` says what")
    console.print("`supple claims show NAME` tells what a paper says and what was found")


def _print_state(found: Status, console: Console) -> None:
    notes = {
        "fresh": f"{found.verdict} (evidence is of the sources as they are)",
        "stale": f"{found.verdict}: {', '.join(found.changed)}",
        "missing": "no evidence yet",
        "damaged": found.problem,
    }
    style = "green" if found.state == "fresh" else "yellow"
    console.print(_styled(f"{found.state:<8}", style), f"{found.entry.name}: {notes[found.state]}")


def _styled(text: str, style: str) -> Any:
    from rich.text import Text

    return Text(text, style=style)


def _table(*columns: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)
