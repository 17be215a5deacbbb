"""The board: what a person sees of how things stand, and what nobody may see."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import Store
from tests.support.settings_tree import SMTP, SettingsTree
from worker.ledger import holds, pauses, workers
from worker.outcome import HoldTarget
from worker.telemetry.board import Day, Holding, Line, Scope
from worker.telemetry.board_reading import BoardReader, read_standing
from worker.telemetry.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from config.settings import Settings
    from worker.telemetry.board import Board
    from worker.telemetry.board_reading import Standing

LIMITS = "batch_emails_per_min = 30\n[limits]\nbatch_emails_per_day = 90_000\n"


class Looking:
    """A ledger, settings, and a reader of boards."""

    def __init__(self, settings: Settings) -> None:
        self.store = Store()
        self.store.register("w1")
        self.settings = settings
        self.reader = BoardReader()

    def read(self, operation: Callable[..., Any]) -> Any:
        """Read as from the ledger."""
        return self.store.do(operation)

    def board(self) -> Board:
        """Look."""
        return self.reader.read(self, self.settings)


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[Looking]:
    """Acme at 30 a minute and 90,000 a day, and quiet without a limit."""
    tree = SettingsTree(tmp_path)
    tree.company("acme", SMTP + LIMITS)
    tree.company("quiet")
    looking = Looking(tree.load())
    yield looking
    looking.store.close()


def test_an_empty_installation(looking: Looking) -> None:
    """Limits show before anything was sent; everything else is empty, and nothing is wrong."""
    board = looking.board()
    assert board.scopes == (Scope("company:acme", 30, "company", 0, 0, 0, (0,) * 60),)
    assert board.days == (Day("company:acme:day", 90_000, "company", 0.0),)
    assert (board.lines, board.holds, board.dead, board.unknown) == ((), (), (), ())
    assert (board.oldest_due_at, board.in_hand, board.trouble) == (None, 0, "")
    assert [(each.alive, each.ready) for each in board.workers] == [(True, True)]


def test_sent_waiting_and_in_hand(looking: Looking) -> None:
    """What was accepted counts in the window, the minutes and where no limit is; the rest waits."""
    store = looking.store
    for number in range(3):
        store.settle(store.in_data(f"sent-{number}"))
        looking.board()
        store.clock.advance(60.0)
    store.in_data("in-hand")
    store.accept("next", "later", due_at=store.clock.wall - 5.0)
    store.accept("dated", due_at=store.clock.wall + 500.0)
    assert [each.drain_seconds for each in looking.board().lines] == [None] * 2  # w1 is silent
    store.do(workers.beat, "w1")
    board = looking.board()
    acme, everything = board.scopes
    assert (acme.id, acme.window, acme.worst, acme.waiting) == ("company:acme", 0, 1, 2)
    assert acme.minutes[-4:] == (1, 1, 1, 0)
    assert (everything.id, everything.limit) == ("all", None)
    assert everything.minutes == acme.minutes
    lines = {(each.reason, each.jobs) for each in board.lines}
    assert (lines, board.in_hand) == ({("limit", 2), ("date", 1)}, 1)
    assert board.oldest_due_at == store.clock.wall - 5.0
    assert [each.drain_seconds for each in board.lines] == [pytest.approx(4.0, rel=0.2)] * 2


def test_a_reader_counts_on(looking: Looking) -> None:
    """Two readers that began an hour apart come to the same; no acceptance is read twice."""
    store = looking.store
    for number in range(30):
        store.settle(store.in_data(f"{number}"))
        store.clock.advance(130.0)
        looking.board()
    fresh = Looking.__new__(Looking)
    fresh.store, fresh.settings, fresh.reader = store, looking.settings, BoardReader()
    mine, theirs = looking.board().scopes[0], fresh.board().scopes[0]
    assert mine.minutes == theirs.minutes
    assert sum(mine.minutes) in {27, 28}


def test_what_waits_for_a_person(looking: Looking) -> None:
    """Dead letters and unknowns by company; a company of no settings has no name of its own."""
    store = looking.store
    store.accept("dead", "lost", "gone")
    store.change("UPDATE delivery SET state = 'dead' WHERE job_id = 'dead'")
    store.change("UPDATE delivery SET state = 'unknown' WHERE job_id = 'lost'")
    store.change("UPDATE delivery SET state = 'dead', company = 'x' WHERE job_id = 'gone'")
    board = looking.board()
    assert board.dead == (("_unknown", 1), ("acme", 1))
    assert board.unknown == (("acme", 1),)


def test_what_only_a_person_decides_is_counted_once_its_time_is_over(looking: Looking) -> None:
    """Not while a late reply may come, nor what is sent again by itself; events till published."""
    store, rules = looking.store, Rules(looking.settings)
    store.accept("held", "young", "gone")
    store.change("UPDATE delivery SET state = 'unknown', event = 'unknown', due_at = :now", now=5.0)
    store.change("UPDATE delivery SET company = 'x' WHERE job_id = 'gone'")
    later = store.clock.wall + 60.0
    store.change("UPDATE delivery SET due_at = :later WHERE job_id = 'young'", later=later)

    def standing() -> Standing:
        return store.do(read_standing, rules=rules)

    assert standing().unknown == {"acme": 1, "_unknown": 1}
    assert standing().backlog.unpublished == 3
    store.clock.advance(61.0)
    store.change("UPDATE delivery SET event = NULL WHERE job_id = 'held'")
    assert standing().unknown == {"acme": 2, "_unknown": 1}
    assert standing().backlog.unpublished == 2


def test_no_word_of_a_server_or_a_person(looking: Looking) -> None:
    """Holds show what and since when; their reason is one word, and a password has no print."""
    store, wall = looking.store, looking.store.clock.wall
    said = "535 wrong for jane@example.nz"
    store.do(holds.put_hold, "credential:acme/jane#0123abcd", f"acme/jane: password: {said}")
    pause = HoldTarget.of_context("acme")
    store.do(
        pauses.pause, str(pause), held_by="ann@example.nz", words="her words", until_at=wall + 60
    )
    board = looking.board()
    assert board.holds == (
        Holding("company:acme", "paused", wall, wall + 60),
        Holding("credential:acme/jane", "credential", wall, None),
    )
    shown = str(asdict(board))
    assert not [word for word in ("535", "ann", "her words", "0123abcd", "@") if word in shown]


def test_the_busiest_comes_first(tmp_path: Path) -> None:
    """Of many limits the most used is on top, then what waits, then what sent; idle ones by name."""
    tree = SettingsTree(tmp_path)
    for name in ("acme", "brim", "calm"):
        tree.company(name, SMTP + "batch_emails_per_min = 30\n")
    looking = Looking(tree.load())
    looking.store.accept("1", company="brim")
    assert [scope.id for scope in looking.board().scopes] == [
        "company:brim",
        "company:acme",
        "company:calm",
    ]
    looking.store.close()


def test_errors_of_settings_are_counted(tmp_path: Path) -> None:
    """By context, without their words."""
    tree = SettingsTree(tmp_path)
    tree.company("acme", SMTP + "batch_emails_per_min = 0\nnonsense = 1\n")
    looking = Looking(tree.load())
    assert looking.board().settings_errors == (("acme", 2),)
    looking.store.close()


def test_without_settings(looking: Looking) -> None:
    """A machine that only knows the ledger sees what waits and what was sent, but no limit."""
    looking.store.accept("1", "2")
    looking.settings = None  # type: ignore[assignment]  # that is the point
    board = looking.board()
    assert board.lines == (Line("_unknown", "batch", "settings", 2, None),)
    assert board.scopes == ()
