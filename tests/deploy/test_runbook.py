"""The runbook: a page for each alert, whose commands, metrics and links are there."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import pytest

from deploy.prometheus.alerts import NAMES, alerts
from deploy.prometheus.model import Dialect
from deploy.prometheus.thresholds import Thresholds
from tests.support.promql import readings
from tests.support.rules import exported, recorded
from worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = {path.stem: path for path in sorted((DOCS / "runbook").glob("*.md"))}
INDEX: Final = PAGES.pop("README")
SECTIONS: Final = (
    *("What it means", "What users notice", "Look first", "Causes"),
    *("It is over when", "Silence"),
)
FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND: Final = re.compile(r"\bpostmeter (?=[a-z])[^`\n#|;)]*")
METRIC: Final = re.compile(r"\b(?:[a-z_]+:)?postmeter[_:][a-z_:0-9]+")
LINK: Final = re.compile(r"\]\(([^)#]+)\)")


def fenced(text: str, language: str) -> Iterator[str]:
    """The lines of every block of a language."""
    for found in FENCE.finditer(text):
        if found[1] == language:
            yield from (line for line in found[2].splitlines() if line.strip())


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of ours, in blocks and in the text."""
    shell = "\n".join(fenced(text, "sh"))
    spans = re.findall(r"`(postmeter [a-z][^`]*)`", FENCE.sub("", text))
    for line in (*COMMAND.findall(shell), *spans):
        words = shlex.split(line.replace("…", "TARGET"))[1:]
        yield words


def _command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and what is left of them."""
    command: click.Command = main
    for place, word in enumerate(words):
        found = None
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
        if found is None:
            return command, words[place:]
        command = found
    return command, []


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    """And the list of all leads to each."""
    assert set(PAGES) == set(NAMES)
    index = INDEX.read_text("utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| ([a-z, ]+) \|", index, re.MULTILINE)
    severities: dict[str, set[str]] = {}
    for alert in alerts(Dialect()):
        severities.setdefault(alert.name, set()).add(alert.severity)
    assert {name: set(told.split(", ")) for name, _, told in rows} == severities
    assert all(name == page for name, page, _ in rows)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_sections(name: str) -> None:
    """Whoever is woken finds the same thing in the same place on each."""
    text = PAGES[name].read_text("utf-8")
    assert text.startswith(f"# {name}\n")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
    assert list(fenced(text, "sh"))
    assert list(fenced(text, "promql"))


@pytest.mark.parametrize("name", PAGES)
def test_each_command_of_a_page_is_there(name: str) -> None:
    """With each of its options."""
    for words in commands(PAGES[name].read_text("utf-8")):
        command, arguments = _command(words)
        assert command is not main, words
        known = {option for each in command.params for option in each.opts}
        assert {word for word in arguments if word.startswith("-")} <= known, words
        if isinstance(command, click.Group):
            assert command.invoke_without_command, words
            assert not arguments, words


@pytest.mark.parametrize("name", [*PAGES, "README"])
def test_each_metric_of_a_page_is_there(name: str) -> None:
    """In a query, which is PromQL, and in the text."""
    known = exported()
    known |= recorded(known)
    text = {**PAGES, "README": INDEX}[name].read_text("utf-8")
    for query in fenced(text, "promql"):
        for one in readings(query):
            assert one.name in known or one.name == "up", query
            assert one.matched | one.grouped <= known[one.name], query
    prose = FENCE.sub("", text)
    assert {found for found in METRIC.findall(prose) if found not in known} == set()


@pytest.mark.parametrize(
    "path", [*PAGES.values(), INDEX, DOCS / "alerting.md"], ids=lambda p: p.stem
)
def test_each_link_leads_somewhere(path: Path) -> None:
    """Within the documentation and the tree."""
    for target in LINK.findall(path.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target


def test_each_threshold_is_in_the_documentation() -> None:
    """With its default and what it means."""
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| ([\d.]+) \| \S",
            (DOCS / "alerting.md").read_text("utf-8"),
            re.MULTILINE,
        )
    )
    assert {name: float(default) for name, default in rows.items()} == {
        each.name: each.default for each in fields(Thresholds)
    }
