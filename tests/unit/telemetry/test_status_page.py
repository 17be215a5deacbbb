"""The status page, from boards: what it says, that it is well made, and that it hides enough."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.support.boards import EMPTY, NOW, READY, busy, large, scope
from tests.support.strict_html import Element, check_accessible, read_html
from worker.telemetry.board import Board, Holding, Line, Worker
from worker.telemetry.web.attention import attention
from worker.telemetry.web.page import SHOWN_SCOPES, status_page
from worker.telemetry.web.plot import HEIGHT, described
from worker.telemetry.web.tables import SHOWN_ROWS

ODD = "<b>&\"'\u202e\x1b[31m"


def page_of(board: Board, **options: object) -> Element:
    """The page, read and checked."""
    page = read_html(status_page(board, NOW, **options))  # type: ignore[arg-type]  # passed through
    check_accessible(page)
    return page


def words(element: Element) -> str:
    """The words of a part, with single spaces."""
    return " ".join(element.text.split())


def section(page: Element, name: str) -> Element:
    """The part of a page under a heading."""
    (found,) = (x for x in page.all("section") if x.attributes["aria-labelledby"] == name)
    return found


def rows(page: Element, name: str) -> list[list[str]]:
    """The rows of a part's table."""
    body = section(page, name).one("tbody")
    return [[cell.text for cell in row.all("th", "td")] for row in body.all("tr")]


def test_an_empty_installation_says_what_to_do_next() -> None:
    """Nothing waits, nothing needs anybody; without a worker: how to start one."""
    page = page_of(EMPTY)
    assert page.one("title").text == "Postmeter: all is well"
    assert "Nothing needs you." in words(section(page, "now"))
    assert "Nothing waits." in words(section(page, "waiting"))
    assert "No limit is set" in words(section(page, "limits"))
    alone = page_of(replace(EMPTY, workers=()))
    assert "postmeter worker" in words(section(alone, "workers"))
    assert "No worker is alive" in words(section(alone, "now"))


def test_a_busy_installation() -> None:
    """Every part has its rows, in words that tell what is the matter."""
    page = page_of(busy())
    assert rows(page, "waiting")[:3] == [
        ["acme batch", "a limit", "1,204", "40 min"],
        ["northwind-traders batch", "its date", "300", "-"],
        ["acme batch", "a hold", "12", "-"],
    ]
    assert rows(page, "days")[0] == ["company:acme", "900", "82%", "3"]
    assert rows(page, "holds")[1][:2] == ["account:acme/jane", "throttled"]
    assert rows(page, "holds")[2][2:] == ["07:59:40", "09:00:00"]
    assert rows(page, "decisions") == [["acme", "12", "1"], ["_unknown", "2", "-"]]
    assert [row[1] for row in rows(page, "workers")] == ["ready", "not ready", "silent"]
    assert rows(page, "settings") == [["northwind-traders", "2"]]
    figures = words(section(page, "now").one("dl"))
    assert figures.startswith("waiting1,519due the longest40 minin hand3held3dead14unknown1")


def test_a_plot_has_a_bar_for_each_minute_and_the_limit() -> None:
    """Bars end at the line where the limit was used up; what is above it has a form of its own."""
    minutes = (0,) * 57 + (15, 30, 36)
    page = page_of(replace(EMPTY, scopes=(scope(minutes=minutes),)))
    paths = {path.attributes["class"]: path.attributes["d"] for path in page.one("svg").all("path")}
    within, over, limit = paths["within"], paths["over"], paths["limit"]
    assert (within.count("M"), over.count("M")) == (2, 1)
    full = within.split("v-")[2].partition("h")[0]
    line = limit.removeprefix("M0 ").partition("H")[0]
    assert float(line) + float(full) == pytest.approx(HEIGHT, abs=0.1)
    assert "in 1 minute more than the limit is now" in page.one("desc").text
    assert "36 of 30" in words(section(page, "limits"))
    assert "unknown" not in paths


def test_what_is_not_read_yet_is_not_shown_as_nothing() -> None:
    """After a start the past comes in piece by piece; until then that part is marked."""
    page = page_of(replace(EMPTY, scopes=(scope(minutes=(0, 3)),)))
    (unknown,) = (x for x in page.one("svg").all("path") if x.attributes["class"] == "unknown")
    assert unknown.attributes["d"].startswith("M0 0H290")
    assert "the last 2 minutes, before which is not read yet" in page.one("desc").text


@pytest.mark.parametrize(
    ("minutes", "limit", "expected"),
    [
        ((0,) * 60, 30, "Nothing accepted in the last hour."),
        ((1,) * 60, None, "60 accepted in the last hour, at most 1 in a minute."),
    ],
)
def test_a_plot_in_words(minutes: tuple[int, ...], limit: int | None, expected: str) -> None:
    """Who cannot see it is told the same."""
    assert described(scope(minutes=minutes, limit=limit)) == expected


def test_a_ledger_that_is_away() -> None:
    """The page says so first, and how old the rest is."""
    page = page_of(replace(busy(), at=NOW - 135, trouble="away"))
    assert page.one("header").text.count("2 min 15 s ago") == 1
    (first, *_) = section(page, "now").all("li")
    assert first.text == "The ledger cannot be read: nothing is taken in or sent."
    assert rows(page, "waiting")
    nothing_known = page_of(Board(NOW, "1.0", trouble="away"))
    assert "cannot be read" in words(section(nothing_known, "now"))


def test_a_large_installation_stays_readable() -> None:
    """The busiest first, how many more there are, and a page of bounded size and time."""
    board = large()
    started = time.process_time()
    page = status_page(board, NOW, alerts=["PostmeterDeadLetters"])
    assert time.process_time() - started < 2.0
    assert len(page) < 200_000
    read = read_html(page)
    assert len(list(read.all("svg"))) == SHOWN_SCOPES
    assert f"… and {1000 - SHOWN_SCOPES} more" in read.text
    assert read.text.count(f"… and {500 - SHOWN_ROWS} more") == 5
    assert len(rows(read, "waiting")) == SHOWN_ROWS
    assert len(list(section(read, "now").all("li"))) < 15


def test_names_that_are_code_are_shown_as_they_are() -> None:
    """Whatever a company, a server or a host is called, it stays a text of one line."""
    board = replace(
        busy(),
        version=ODD,
        scopes=(scope(ODD),),
        lines=(Line(ODD, ODD, "limit", 1, None),),
        holds=(Holding(f"server:{ODD}", ODD, NOW, None),),
        workers=(Worker(ODD, 1, ODD, NOW, alive=True, ready=True),),
        dead=((ODD, 1),),
        settings_errors=((ODD, 1),),
    )
    page = page_of(board)
    assert not list(page.all("b"))
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text
    assert rows(page, "decisions")[0][0].startswith("<b>&\"'")
    assert {len(list(row.all("th", "td"))) for row in section(page, "waiting").all("tr")} == {4}


def test_needs_lead_to_the_runbook() -> None:
    """A need has a link where there is a page of its alert, and none to a page that is missing."""
    page = page_of(busy(), alerts=["PostmeterDeadLetters"])
    links = [link.attributes["href"] for link in section(page, "now").all("a")]
    assert links == ["/runbook/PostmeterDeadLetters"]
    assert "/runbook/" in [link.attributes["href"] for link in page.one("nav").all("a")]
    without = page_of(busy())
    assert "/runbook/" not in [link.attributes["href"] for link in without.all("a")]


def test_refreshing_can_be_ended() -> None:
    """A link stops it and begins it again: who reads slowly is not interrupted."""
    for refresh, address in ((True, "/?refresh=off"), (False, "/")):
        links = page_of(EMPTY, refresh=refresh).one("nav").all("a")
        assert [link.attributes["href"] for link in links][-1] == address


@pytest.mark.parametrize(
    ("changes", "alert"),
    [
        ({"trouble": "away"}, "PostmeterLedgerDown"),
        ({"trouble": "read-only"}, "PostmeterLedgerDown"),
        ({"workers": ()}, "PostmeterWorkerAbsent"),
        ({"workers": (READY, replace(READY, ready=False))}, "PostmeterWorkerNotReady"),
        ({"scopes": (scope(minutes=(31,) * 60),)}, "PostmeterLimitExceeded"),
        ({"holds": (Holding("server:mx:25", "throttled", NOW, None),)}, "PostmeterThrottled"),
        ({"holds": (Holding("account:a/b", "busy", NOW, None),)}, "PostmeterAccountHeld"),
        ({"dead": (("acme", 1),)}, "PostmeterDeadLetters"),
        ({"unknown": (("acme", 1),)}, "PostmeterUnknownEmails"),
        ({"settings_errors": (("acme", 1),)}, "PostmeterSettingsInvalid"),
        ({"lines": (Line("acme", "batch", "settings", 1, None),)}, "PostmeterSettingsInvalid"),
        ({"lines": (Line("acme", "batch", "version", 1, None),)}, ""),
    ],
)
def test_what_needs_a_person(changes: dict[str, object], alert: str) -> None:
    """Each fault is one need, with the page that tells what to do."""
    found = attention(replace(EMPTY, **changes))  # type: ignore[arg-type]  # each is a field's value
    assert [need.alert for need in found] == [alert]


@pytest.mark.parametrize(
    "changes",
    [
        {"holds": (Holding("company:acme", "paused", NOW, None),)},
        {"lines": (Line("acme", "batch", "limit", 10_000, None),)},
        {"scopes": (scope(minutes=(30,) * 60),)},
        {"scopes": (scope(limit=None, minutes=(30,) * 60),)},
    ],
)
def test_what_needs_nobody(changes: dict[str, object]) -> None:
    """A pause is somebody's wish, a limit that is used up is no fault."""
    assert attention(replace(EMPTY, **changes)) == []  # type: ignore[arg-type]  # as above
