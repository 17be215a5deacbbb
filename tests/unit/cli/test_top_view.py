"""A page of ``top``: it fits every terminal, and says what matters most first."""

from __future__ import annotations

import re
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.top_boards import AT, BUSY, CALM, EMPTY, MANUAL
from worker.cli.top_looking import Looking
from worker.cli.top_marks import BLOCKS, LETTERS, Marks
from worker.cli.top_view import Seen, Size, page, shares
from worker.telemetry.board import Board, Day, Holding, Line, Scope, Worker

ALL = Looking()


def draw(
    board: Board | None,
    width: int = 80,
    height: int | None = 24,
    *,
    looking: Looking = ALL,
    marks: Marks = BLOCKS,
    **seen: float | str,
) -> list[str]:
    """The lines of a page, without their colours."""
    what = Seen(board, **({"age_seconds": 0.0, "now": AT} | seen))  # type: ignore[arg-type]  # as the test says
    return [line.plain for line in page(what, looking, Size(width, height), marks)]


def line_of(lines: list[str], start: str) -> str:
    """The one line that begins so."""
    [found] = [line for line in lines if line.startswith(start)]
    return found


@pytest.mark.parametrize("board", [BUSY, CALM, EMPTY, None])
@pytest.mark.parametrize("width", [1, 12, 40, 80, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 12, 24, 60])
def test_a_page_fills_the_screen_and_no_more(board: Board | None, width: int, height: int) -> None:
    """As many lines as there are, none of them wider, whatever there is to say."""
    for looking in (ALL, Looking(help=True), Looking("acme", paused=True)):
        lines = draw(board, width, height, looking=looking, away="gone", away_since=AT - 9)
        assert len(lines) == height
        assert max(map(cell_len, lines)) <= width


def test_eighty_columns_hold_every_column() -> None:
    """Limit, window, bar, worst, the hour, what waits, and when it will be empty."""
    lines = draw(BUSY)
    assert line_of(lines, "LIMIT").split() == (
        ["LIMIT", "LAST", "60", "S", "USED", "WORST", "LAST", "HOUR", "WAITING", "EMPTY", "IN"]
    )
    acme = line_of(lines, "company:acme ")
    assert re.search(r"29 of +30 +━━━─ +30 +·····▇▇▇▇▇ +12,345 +6 h 51 min$", acme)


def test_what_has_no_room_is_counted() -> None:
    """Each table keeps its first rows, and says how many more there are."""
    lines = draw(BUSY)
    counted = [line for line in lines if "more" in line]
    assert counted == ["… and 13 more", "… and 3 more", "… and 2 more"]
    assert draw(BUSY, height=None)[-1].startswith("q leave")
    assert [line for line in draw(BUSY, height=None) if "more" in line] == []


def test_a_narrow_terminal_keeps_what_decides() -> None:
    """At 40 columns: the limit, what went through it, what waits."""
    lines = draw(BUSY, width=40)
    assert line_of(lines, "LIMIT").split() == ["LIMIT", "LAST", "60", "S", "WAITING"]
    assert "5,998 of 6,000  402,113" in line_of(lines, "company:beta-i…")


def test_a_narrow_terminal_keeps_the_key_that_explains_the_others() -> None:
    """What is left out of the last line is on the page that ? shows."""
    assert draw(BUSY, width=40)[-1] == "q leave  p pause  ? help"
    assert draw(BUSY, width=16)[-1] == "q leave  ? help"


def test_a_wide_terminal_shows_more_of_the_hour() -> None:
    """Each of sixty minutes has its own mark where there is room."""
    assert "·" * 30 + "▇" * 30 in line_of(draw(BUSY, width=200), "company:acme ")


def test_the_whole_is_in_the_first_lines() -> None:
    """Workers, ledger, what waits and since when, until when, and what a person should do."""
    lines = draw(BUSY)
    assert lines[0].startswith("postmeter 0.1.0 · ")
    assert lines[0].endswith(" · 1 of 2 workers ready · ledger ok")
    assert lines[1].startswith("414,551 waiting · oldest due 18 min ago · empty in 6 h 51 min")
    assert "not ready: mail2 process 99" in lines
    assert "settings: 2 errors (gamma 2): postmeter settings check" in lines
    assert "dead: 5 emails (acme 4, beta-international 1): postmeter dead list" in lines
    assert "unknown: 1 email (acme 1): postmeter unknown list" in lines


def test_holds_tell_why_since_when_and_until_when() -> None:
    """A pause ends at its time, a hold when its target works."""
    lines = draw(BUSY, width=120, height=60)
    assert line_of(lines, "company:beta-international:batch").split()[1] == "paused"
    assert line_of(lines, "server:smtp").endswith("it works")
    assert "5 min 12 s" in line_of(lines, "account:acme/jane")


def test_over_the_limit_is_said_in_a_word() -> None:
    """Nobody needs a colour to see it."""
    over = replace(CALM, scopes=(replace(CALM.scopes[0], window=31),))
    assert "over the limit: company:acme 31 of 30" in draw(over)
    assert not any("over the limit" in line for line in draw(CALM))


def test_an_installation_that_has_just_begun_says_what_is_missing() -> None:
    """No worker, nothing waits, no limit."""
    lines = draw(EMPTY)
    assert "nothing waits" in lines
    assert "no worker: nothing leaves; start one with postmeter worker" in lines
    assert any(line.startswith("no limit is set") for line in lines)
    assert "asking the ledger" in draw(None)


def test_a_ledger_that_is_away_is_said_with_the_age_of_the_figures() -> None:
    """Why, since when, and how old what is shown has become."""
    lines = draw(CALM, age_seconds=95.0, away="the disk is full", away_since=AT - 90)
    assert re.match(r"postmeter 0.1.0 · [\d:]+, 1 min 35 s old · 1 of 1 worker ready$", lines[0])
    assert re.match(r"ledger away since [\d:]+, 1 min 30 s: the disk is full$", lines[1])
    assert "ledger read-only" in draw(replace(CALM, trouble="read-only"))[0]
    assert "old" not in draw(CALM, age_seconds=1.0)[0]


def test_a_paused_page_says_so() -> None:
    """Figures that stand still are not taken for those of now."""
    assert ", 3 s old, paused" in draw(CALM, looking=Looking(paused=True), age_seconds=3.0)[0]


def test_one_company_alone_is_named() -> None:
    """Nobody wonders where the others are."""
    lines = draw(BUSY, looking=Looking("acme"))
    assert "only acme" in " ".join(lines[:2])
    assert not any(line.startswith("beta") for line in lines)
    assert "nothing is known of: acne; c shows another company" in draw(
        BUSY, looking=Looking("acne")
    )


@given(text=st.text(min_size=1, max_size=60), width=st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_no_name_steers_the_terminal_or_breaks_the_page(text: str, width: int) -> None:
    """Names come from hosts and files: whatever is in them, a page is printable and fits."""
    board = Board(
        AT,
        text,
        scopes=(Scope(text, 30, text, 1, 2, 3, (1,)), Scope("all", None, "", 0, 0, 0, ())),
        days=(Day(text, 10, text, 3.5),),
        lines=(Line(text, text, text, 10**12, 1e9),),
        holds=(Holding(text, text, 0.0, None),),
        workers=(Worker(text, 1, text, 0.0, alive=True, ready=False),),
        dead=((text, 1),),
    )
    for marks in (BLOCKS, LETTERS):
        lines = draw(board, width, 30, marks=marks, away=text)
        assert len(lines) == 30
        assert max(map(cell_len, lines)) <= width
        assert all(line.isprintable() for line in lines)
        assert marks is BLOCKS or "".join(lines).isascii()


def test_the_manual_shows_a_page_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """``docs/command.md`` has the page of a board, line by line."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        shown = "\n".join(draw(MANUAL, height=20))
    finally:
        monkeypatch.undo()
        time.tzset()
    manual = (Path(__file__).parents[3] / "docs" / "command.md").read_text(encoding="utf-8")
    assert f"```\n{shown}\n```" in manual, shown


def test_room_is_shared_by_what_matters() -> None:
    """The first tables get lines first, then each in turn; one without room for a row gets none."""
    assert shares([2, 2, 0, 0, 1], 24) == [2, 2, 0, 0, 1]
    assert shares([19, 6, 4, 2, 4], 17) == [7, 5, 3, 2, 0]
    assert shares([19, 6, 4, 2, 4], 5) == [5, 0, 0, 0, 0]
    assert shares([19, 6, 4, 2, 4], 1) == [0, 0, 0, 0, 0]
    assert sum(shares([500, 500, 500, 500, 500], 100)) == 100


@pytest.mark.parametrize(("height", "shown"), [(24, 4), (None, 1000)])
def test_of_a_thousand_mailboxes_only_what_is_shown_is_drawn(
    height: int | None, shown: int
) -> None:
    """A page is made anew every second: what has no room costs no drawing."""
    scopes = tuple(Scope(f"mailbox:acme/u{n}", 30, "user", 1, 2, 3, (1,) * 60) for n in range(1000))
    marks = Counting(**{field.name: getattr(BLOCKS, field.name) for field in fields(BLOCKS)})
    drawn.clear()
    lines = draw(replace(BUSY, scopes=scopes, days=()), height=height, marks=marks)
    assert sum(line.startswith("mailbox:acme/u") for line in lines) == shown
    assert len(drawn) == shown


drawn: list[float] = []


class Counting(Marks):
    """Marks that count the bars they draw."""

    def bar(self, share: float, width: int) -> tuple[str, str]:
        """Count one."""
        drawn.append(share)
        return super().bar(share, width)
