"""Reads HTML as strictly as XML, so that what a browser would forgive is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VOID = frozenset({"meta", "br", "hr"})


@dataclass
class Element:
    """One element, with what is inside."""

    name: str
    attributes: dict[str, str]
    inside: list[Element | str] = field(default_factory=list)

    def all(self, *names: str) -> Iterator[Element]:
        """Every element inside, of these names if any are given, in the page's order."""
        for each in self.inside:
            if isinstance(each, Element):
                if not names or each.name in names:
                    yield each
                yield from each.all(*names)

    def one(self, name: str) -> Element:
        """The only element of a name."""
        (found,) = self.all(name)
        return found

    @property
    def text(self) -> str:
        """All the words inside."""
        return "".join(each if isinstance(each, str) else each.text for each in self.inside)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        assert all(value is not None for _, value in attrs), f"<{tag}> has an empty attribute"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> ends <{self.open[-1].name}>"
        self.open.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)


def read_html(page: bytes) -> Element:
    """Read a page; everything that is opened is closed, in order, and no id is there twice."""
    reader = _Reader()
    reader.feed(page.decode())
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].name}> is not closed"
    ids = [each.attributes["id"] for each in reader.root.all() if "id" in each.attributes]
    assert len(set(ids)) == len(ids), f"an id is there twice: {ids}"
    return reader.root


def check_accessible(page: Element) -> None:
    """What can be told of a page's structure without looking at it (WCAG 2.2, level A)."""
    html = page.one("html")
    assert html.attributes["lang"] == "en"
    for landmark in ("header", "main"):
        assert len(list(page.all(landmark))) == 1, landmark
    levels = [int(each.name[1]) for each in page.all("h1", "h2", "h3", "h4")]
    assert levels[:1] == [1]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = {each.attributes["id"] for each in page.all() if "id" in each.attributes}
    for each in page.all():
        named = each.attributes.get("aria-labelledby", "").split()
        assert set(named) <= ids, f"<{each.name}> is named by what is not there: {named}"
        assert "style" not in each.attributes, f"the policy lets no style attribute: <{each.name}>"
        assert not [name for name in each.attributes if name.startswith("on")]
    for picture in page.all("svg"):
        assert picture.attributes["role"] == "img"
        assert picture.one("title").text
        assert picture.one("desc").text
    for table in page.all("table"):
        assert all("scope" in head.attributes for head in table.all("th"))
    for link in page.all("a"):
        assert link.text
