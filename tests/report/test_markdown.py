"""A run as Markdown."""

import re

from supple.report import compare, headline, render_markdown


def test_the_comparison_is_a_table_with_the_figures_of_the_page(result):
    text = render_markdown(result)
    assert headline(result) in text
    for row in compare(result):
        (line,) = (one for one in text.splitlines() if one.startswith(f"| {row.label} |"))
        assert row.baseline in line
        assert row.pick in line


def test_every_table_is_rectangular(result):
    tables = re.split(r"\n\n+", render_markdown(result))
    for table in tables:
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= 1


def test_the_command_that_repeats_the_run_is_there(result):
    assert f"```sh\n{result.command}\n```" in render_markdown(result)
