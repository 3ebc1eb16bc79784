"""The page of a claim in the documentation: Markdown and a figure, from its evidence alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supple.claims._claim import Claim
from supple.claims._evidence import EVIDENCE, Evidence, load_evidence
from supple.claims._figure import Dots, dots_svg, lines_svg
from supple.claims._registry import entries, load
from supple.claims._rule import Finding, Rule
from supple.papers import paper

__all__ = ["figure", "finding_text", "index_page", "page", "write_pages"]


def write_pages(folder: Path, names: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Write the page and the figure of each claim that has evidence, and the table of all.

    Args:
        folder: Where to, ``docs/claims`` in the repository.
        names: The claims whose pages to write; by default all. The table is always written.
    """
    from supple.report._files import write_whole

    written = []
    for one in entries():
        evidence = load_evidence(one.name)
        if evidence is None or (names is not None and one.name not in names):
            continue
        claim = load(one.name)
        for name, text in (
            (f"{one.name}.md", page(claim, evidence)),
            (f"{one.name}.svg", figure(claim, evidence)),
        ):
            write_whole(folder / name, text)
            written.append(folder / name)
    write_whole(folder / "README.md", index_page())
    return (*written, folder / "README.md")


def index_page(evidence_folder: Path = EVIDENCE) -> str:
    """The table of all claims as Markdown."""
    lines = [
        "# Claims",
        "",
        "What papers say, measured again by `supple claims run NAME --full`. The rule that decides",
        "is written before anything is measured; what does not hold stays here and says so.",
        "[How to write a claim](writing.md).",
        "",
        "| claim | paper | what the paper says | verdict | budget |",
        "|---|---|---|---|---|",
    ]
    for one in entries():
        evidence = load_evidence(one.name, evidence_folder)
        title = paper(one.paper).title
        verdict = f"**{evidence.verdict}**" if evidence else "not measured"
        link = f"[{one.name}]({one.name}.md)" if evidence else one.name
        budget = evidence.budget if evidence else ""
        lines.append(f"| {link} | {one.paper}. {title} | {one.says} | {verdict} | {budget} |")
    return "\n".join([*lines, ""])


def page(claim: Claim[Any], evidence: Evidence) -> str:
    """The page of a claim as Markdown."""
    about = paper(claim.paper)
    source = f"[{about.title}]({about.url})" if about.url else about.title
    parts = [
        f"# {claim.name}: {evidence.verdict}",
        f"Paper {about.id}: {source} ({about.year}).",
        f"**What the paper says.** {claim.says}",
        f"**What it reports.** {claim.reported}",
        f"**What is measured here.** {claim.here}",
        f"![{_alt(claim, evidence)}]({claim.name}.svg)",
        "## The rules, written before measuring",
        _rules(evidence),
        "## What was measured",
        _values(evidence),
        *([f"**What was tried.** {claim.tried}"] if claim.tried else []),
        *_failures(evidence),
        "## How",
        _how(evidence),
    ]
    return "\n\n".join(parts) + "\n"


def figure(claim: Claim[Any], evidence: Evidence) -> str:
    """The figure of a claim as SVG."""
    spec = claim.figure or Dots(metric=claim.rules[0].metric)
    columns = {
        arm: metrics[spec.metric]
        for arm, metrics in evidence.values.items()
        if spec.metric in metrics
    }
    alt = _alt(claim, evidence)
    if isinstance(spec, Dots):
        return dots_svg(spec, columns, alt)
    return lines_svg(spec, columns, alt)


def finding_text(rule: Rule, finding: Finding) -> str:
    """The effect a rule found, with its interval, in words."""
    if finding.effect is None:
        return finding.note
    unit = "" if rule.scale == "ratio" else f" {rule.unit}".rstrip()
    sign = "×" if rule.scale == "ratio" else ""
    text = f"{sign}{finding.effect:.3g}{unit}"
    if finding.low is not None and finding.high is not None:
        text += f" ({sign}{finding.low:.3g} to {sign}{finding.high:.3g})"
    return f"{text}; {finding.note}" if finding.note else text


def _alt(claim: Claim[Any], evidence: Evidence) -> str:
    metric = (claim.figure or Dots(metric=claim.rules[0].metric)).metric
    return f"{metric} of {', '.join(evidence.values)} over {len(evidence.seeds)} seeds"


def _rules(evidence: Evidence) -> str:
    lines = ["| rule | effect (95 % interval) | verdict |", "|---|---|---|"]
    for rule, finding in zip(evidence.rules, evidence.findings, strict=True):
        text = finding_text(rule, finding)
        lines.append(f"| {rule.sentence()} | {text} | **{finding.verdict}** |")
    lines += ["", "Effects are counted in the paper's direction, paired by seed."]
    return "\n".join(lines)


def _values(evidence: Evidence) -> str:
    names = dict.fromkeys(name for metrics in evidence.values.values() for name in metrics)
    shown = [
        name
        for name in names
        if not any(
            isinstance(value, tuple)
            for metrics in evidence.values.values()
            for value in metrics.get(name, ())
        )
    ]
    lines = ["| | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    for arm, metrics in evidence.values.items():
        cells = [_cell(metrics.get(name, ())) for name in shown]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "Mean over seeds, and lowest to highest in brackets."])


def _cell(values: Sequence[float]) -> str:
    finite = [value for value in values if value == value]
    if not finite:
        return "none" if values else ""
    mean = sum(finite) / len(finite)
    text = f"{mean:.4g} ({min(finite):.4g} to {max(finite):.4g})"
    return text if len(finite) == len(values) else f"{text}, {len(values) - len(finite)} failed"


def _failures(evidence: Evidence) -> list[str]:
    return [f"**Seed {seed} failed.** {text}" for seed, text in evidence.failures.items()]


def _how(evidence: Evidence) -> str:
    machine = evidence.machine
    command = f"supple claims run {evidence.claim} --{evidence.budget}"
    settings = evidence.settings
    given = (
        ", ".join(f"{key}={value}" for key, value in settings.items())
        if isinstance(settings, dict)
        else str(settings)
    )
    versions = ", ".join(
        f"{name} {machine[name]}"
        for name in ("python", "torch", "numpy", "scikit-learn")
        if machine.get(name)
    )
    run = f"`{command}`, {len(evidence.seeds)} seeds, {evidence.seconds:.0f} s in all"
    where = f"{machine.get('cpu')} ({machine.get('cores')} cores), {versions}"
    return f"{run}, {evidence.date[:10]}, {where}.\n\nSettings: {given}."
