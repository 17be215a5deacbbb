"""Asking the ledger again and again: what is told while it answers, while it is away, at a fault."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.top_boards import CALM
from tests.support.waiting import wait_until
from worker.cli.failures import Failed
from worker.cli.installation import Installation
from worker.cli.top_feed import BoardSource, Feed
from worker.errors import LedgerUnavailable, LedgerUnusable

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Place
    from worker.telemetry.board import Board


class Scripted:
    """Answers or fails in turn; the clock goes on by ten seconds at each."""

    def __init__(self, *answers: Board | Exception) -> None:
        self.answers = list(answers)
        self.at = 0.0
        self.closed = False

    def read(self) -> Board:
        """The next answer."""
        self.at += 10.0
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    def clock(self) -> float:
        """The time."""
        return self.at


def feed_of(source: Scripted) -> Feed:
    """A feed whose thread is not started."""
    return Feed(source, 1.0, lambda: None, clock=source.clock, wall=lambda: 1000.0 + source.clock())


def test_figures_are_as_old_as_their_question() -> None:
    """A slow answer is of when it was asked for: ten seconds ago."""
    source = Scripted(CALM)
    feed = feed_of(source)
    assert feed.seen().board is None
    feed.look()
    assert feed.seen().board == CALM
    assert feed.seen().age_seconds == 10.0


def test_what_was_known_is_kept_while_the_ledger_is_away() -> None:
    """Since when it is away stays, why follows; with an answer all is well again."""
    source = Scripted(CALM, LedgerUnavailable("no disk"), Failed("no file"), CALM)
    feed = feed_of(source)
    feed.look()
    feed.look()
    seen = feed.seen()
    assert (seen.board, seen.away, seen.away_since, seen.now) == (CALM, "no disk", 1010.0, 1020.0)
    feed.look()
    assert (feed.seen().away, feed.seen().away_since) == ("no file", 1010.0)
    assert feed.seen().age_seconds == 30.0
    feed.look()
    assert not feed.seen().away


def test_a_ledger_of_another_version_is_told_too() -> None:
    """A person upgrades it while the page is open."""
    feed = feed_of(Scripted(LedgerUnusable("newer")))
    feed.look()
    assert feed.seen().away == "newer"


def test_a_fault_of_ours_is_handed_on() -> None:
    """It ends the command with its traceback, not the thread alone."""
    source, told = Scripted(CALM, ZeroDivisionError()), threading.Event()
    with Feed(source, 0.0, told.set) as feed:
        wait_until(lambda: feed.crashed, "the fault")
    assert isinstance(feed.crashed, ZeroDivisionError)
    assert told.is_set()
    assert source.closed


def test_a_ledger_that_never_answers_keeps_nobody() -> None:
    """Leaving does not wait for it."""
    asked, answer = threading.Event(), threading.Event()

    class Silent(Scripted):
        def read(self) -> Board:
            asked.set()
            answer.wait(60.0)
            return CALM

    with Feed(Silent(), 0.0, lambda: None) as feed:
        assert asked.wait(60.0)
        assert feed.seen().board is None
    assert not answer.is_set()
    answer.set()


def test_a_source_follows_the_settings_and_the_file(place: Place) -> None:
    """A limit that is edited, and a ledger that was put in the place of the first."""
    place.accept("a")
    source = BoardSource(Installation(place.environ))
    assert [scope.limit for scope in source.read().scopes] == [30]
    text = (place.root / "settings/companies/acme/company.toml").read_text()
    place.tree.write("companies/acme/company.toml", text.replace("30", "90"))
    assert [scope.limit for scope in source.read().scopes] == [90]
    assert source.contexts() == {"_system", "acme"}
    state = place.root / "state"
    for file in state.iterdir():
        file.rename(place.root / file.name)
    with pytest.raises(Failed, match="there is no ledger"):
        source.read()
    (place.root / "ledger.db").rename(state / "ledger.db")
    assert source.read().lines[0].jobs == 1
    source.close()
