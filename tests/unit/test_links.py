"""Every relative link in the documents leads to a file or folder of the tree, and to a heading in it."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        ROOT / "producers" / "README.md",
    ]
)
_FENCE: Final = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"\]\(<?([^)\s>]+)>?\)")
_ELSEWHERE: Final = re.compile(r"[a-z]+:")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_LINKED: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_NO_PART_OF_AN_ANCHOR: Final = re.compile(r"[^\w\- ]")


def links(text: str) -> list[str]:
    """The targets of a page's links within the tree; what is shown as code is none."""
    prose = _FENCE.sub("", text)
    prose = _SPAN.sub("", prose)
    return [target for target in _LINK.findall(prose) if not _ELSEWHERE.match(target)]


@cache
def anchors(path: Path) -> frozenset[str]:
    """The names of a page's headings, as GitHub makes them: small letters, hyphens, -1 for a second."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", path.read_text("utf-8"))):
        words = _LINKED.sub(r"\1", heading).lower()
        name = _NO_PART_OF_AN_ANCHOR.sub("", words).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return frozenset(found)


def dead(page: Path, text: str) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target in links(text):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        there = path.exists() and path.is_relative_to(ROOT)
        if not there or (anchor and (path.suffix != ".md" or anchor not in anchors(path))):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    """Files, folders and pictures are there, and so are headings."""
    assert dead(page, page.read_text("utf-8")) == []


def test_a_dead_link_is_found() -> None:
    """A missing file, a missing heading, and what is outside of the tree; code is left alone."""
    text = (
        "[a](nothing.md) [b](docs/pace.md#nothing) [c](#nothing) [d](../elsewhere.md)\n"
        "[e](docs/pace.md) [f](https://example.nz/x) `[g](nothing.md)` [h](#postmeter) [i](docs)\n"
        "```\n[j](nothing.md)\n```\n"
    )
    assert dead(ROOT / "README.md", text) == [
        "nothing.md",
        "docs/pace.md#nothing",
        "#nothing",
        "../elsewhere.md",
    ]


def test_every_document_is_reached_from_the_readme() -> None:
    """By one link after another: a page that nothing leads to is read by nobody."""
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        for target in links(page.read_text("utf-8")):
            path = (page.parent / target.partition("#")[0]).resolve()
            if path.suffix == ".md":
                ahead.append(path)
    assert {str(page.relative_to(ROOT)) for page in set(PAGES) - reached} == set()
