"""The runbook, as pages: what to do when an alert fires, as this very version has it.

The texts are ``docs/runbook/*.md``; a wheel has them as ``worker/telemetry/runbook``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from worker.telemetry.web.frame import frame
from worker.telemetry.web.markup import Markup, tag, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

_INSTALLED: Final = Path(__file__).parents[1] / "runbook"
_IN_THE_TREE: Final = Path(__file__).parents[3] / "docs" / "runbook"
FOLDER: Final = _INSTALLED if _INSTALLED.is_dir() else _IN_THE_TREE
_TITLE: Final = re.compile(r"^# +(.+?) *$", re.MULTILINE)
_INDEX: Final = "README"
_SCHEMES: Final = frozenset({"https", "http", "mailto"})


@cache
def texts() -> dict[str, str]:
    """Every page's Markdown, by the name of its alert; read once."""
    return {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted(FOLDER.glob("*.md"))
        if path.stem != _INDEX
    }


def runbook_page(name: str) -> bytes | None:
    """Write one page, or with an empty name the list of all; None where there is none such.

    A name is looked up among those that were found, and never becomes a path.
    """
    if not name:
        return _whole("Runbook", _list())
    return _whole(name, _rendered(name)) if name in texts() else None


def _whole(title: str, contents: Markup) -> bytes:
    links = [("/", "Status"), ("/runbook/", "Runbook")]
    items = (tag("li", tag("a", words, href=path)) for path, words in links)
    top = tag("header", tag("nav", tag("ul", *items), aria_label="Pages"))
    return frame(
        f"Postmeter: {title}", together(top, tag("main", contents, id="main", class_="prose"))
    )


def _list() -> Markup:
    items = (tag("li", tag("a", _title(name), href=f"/runbook/{name}")) for name in texts())
    if not texts():
        return tag("p", "This installation has no runbook.")
    return together(
        tag("h1", "Runbook"),
        tag("p", "A page for each alert: what it means, what to look at, what to do."),
        tag("ul", *items),
    )


def _title(name: str) -> str:
    found = _TITLE.search(texts()[name])
    return found[1] if found else name


@cache
def _rendered(name: str) -> Markup:
    """The page's HTML: of CommonMark with tables, without HTML of its own and without images."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = markdown.parse(texts()[name])
    for token in tokens:
        if token.attrs.pop("style", None) == "text-align:right":  # the policy lets no style through
            token.attrs["class"] = "number"
        if token.type == "th_open":
            token.attrs["scope"] = "col"
        _lead(token.children or [])
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))


def _lead(inline: Sequence[Token]) -> None:
    """Lead links to pages of the runbook; what else the documentation has is named, not linked."""
    named = ""
    for token in inline:
        if token.type == "link_open":
            href = str(token.attrs["href"])
            path = urlsplit(href).path
            page = path.removesuffix(".md")
            named = ""
            if urlsplit(href).scheme in _SCHEMES:
                token.attrs["rel"] = "noreferrer"
            elif page in texts() or page == _INDEX:
                token.attrs["href"] = f"/runbook/{page.removesuffix(_INDEX)}"
            else:
                token.type, named = (
                    "text",
                    f" ({normpath(f'docs/runbook/{path}')})" if path else " ",
                )
        elif token.type == "link_close" and named:
            token.type, token.content, named = "text", named.rstrip(), ""
