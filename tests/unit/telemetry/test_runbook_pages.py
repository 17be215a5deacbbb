"""The runbook's pages: Markdown to HTML, links, and names that are no paths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.strict_html import check_accessible, read_html
from worker.telemetry.web import runbook_pages
from worker.telemetry.web.runbook_pages import runbook_page

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[3] / "docs" / "runbook"
PAGE = """\
# A limit was exceeded

See [the other](PostmeterOther.md#why), [the command](../command.md), [here](#below),
[all](README.md), [RabbitMQ](https://www.rabbitmq.com/docs) and [x](javascript:alert(1)).

<script>alert(1)</script>

| what | how many |
|---|---:|
| jobs | 3 |

```
postmeter holds --json
```
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runbook of two pages and a list."""
    (tmp_path / "PostmeterLimitExceeded.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "PostmeterOther.md").write_text("# Other\n\nText.\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("# The runbook\n", encoding="utf-8")
    monkeypatch.setattr(runbook_pages, "FOLDER", tmp_path)
    for kept in (runbook_pages.texts, runbook_pages._rendered):
        kept.cache_clear()
    yield tmp_path
    for kept in (runbook_pages.texts, runbook_pages._rendered):
        kept.cache_clear()


def test_a_page(folder: Path) -> None:
    """Its words, tables and commands are there; nothing of it can run, load or break the policy."""
    written = runbook_page("PostmeterLimitExceeded")
    assert written is not None
    page = read_html(written)
    check_accessible(page)
    assert list(page.all("script", "img")) == []
    assert page.one("h1").text == "A limit was exceeded"
    assert page.one("pre").text == "postmeter holds --json\n"
    cells = [(cell.text, cell.attributes.get("class")) for cell in page.one("tbody").all("td")]
    assert cells == [("jobs", None), ("3", "number")]
    links = {link.text: link.attributes["href"] for link in page.one("main").all("a")}
    assert links == {
        "the other": "/runbook/PostmeterOther",
        "all": "/runbook/",
        "RabbitMQ": "https://www.rabbitmq.com/docs",
    }
    assert "the command (docs/command.md), here," in page.text


def test_the_list(folder: Path) -> None:
    """Every page, by its title."""
    written = runbook_page("")
    assert written is not None
    page = read_html(written)
    check_accessible(page)
    found = {link.attributes["href"]: link.text for link in page.one("main").all("a")}
    assert found == {
        "/runbook/PostmeterLimitExceeded": "A limit was exceeded",
        "/runbook/PostmeterOther": "Other",
    }


@pytest.mark.parametrize(
    "name",
    [
        "Nothing",
        "../PostmeterOther",
        "PostmeterOther.md",
        "README",
        "/etc/passwd",
        "%2e%2e/x",
        "PostmeterOther/",
        "\0",
    ],
)
def test_a_name_is_no_path(folder: Path, name: str) -> None:
    """Only what was found in the folder is served, under its own name."""
    assert runbook_page(name) is None


def test_an_installation_without_a_runbook(tmp_path: Path, folder: Path) -> None:
    """The list says so."""
    for page in folder.iterdir():
        page.unlink()
    written = runbook_page("")
    assert written is not None
    assert "no runbook" in read_html(written).text


def test_every_page_of_the_documentation() -> None:
    """All of them can be shown; each has one title, and leads nowhere that does not exist."""
    names = {path.stem for path in DOCS.glob("*.md")} - {"README"}
    assert set(runbook_pages.texts()) == names
    for name in names:
        written = runbook_page(name)
        assert written is not None
        page = read_html(written)
        check_accessible(page)
        for link in page.one("main").all("a"):
            target = link.attributes["href"]
            assert not target.startswith("/") or target.removeprefix("/runbook/") in {"", *names}
