"""A ledger that was put back from a copy of an earlier time sends nothing that may have been sent."""

from __future__ import annotations

import pytest

from tests.support.ledger import LOST, Store
from worker.errors import LedgerUnusable
from worker.ledger import batches, care, housekeeping, operations, restored
from worker.ledger.rows import Nothing
from worker.ledger.workers import DEAD_AFTER_SECONDS
from worker.pace import Limit

LIMIT = Limit("company:acme", 9, even=False)
LATER_SECONDS = 3600.0


def copy_of_a_busy_ledger() -> Store:
    """Jobs in every state in which they may have been sent since, or may not."""
    store = Store()
    store.register("w1")
    store.settle(store.in_data("lost", LIMIT, on_unknown="resend"), LOST)
    store.in_data("in data", LIMIT)
    store.accept("due")
    store.accept("draft", kind="compose")
    store.accept("dated", due_at=store.clock.wall + LATER_SECONDS)
    store.accept("paused", batch_id="b1")
    store.do(batches.pause_batch, "acme", "b1", held_by="ann", words="wrong", until_at=None)
    store.do(batches.tend)
    store.clock.advance(DEAD_AFTER_SECONDS + 1)
    return store


def take_over(store: Store) -> int:
    """Do what the command does; how many were called unknown."""
    store.do(restored.settle_down)
    return sum(iter(lambda: store.do(restored.doubt), 0))


def test_what_may_have_been_sent_waits_for_a_person() -> None:
    """Due or on its way: unknown. With a date before it, a draft, of a paused batch: as it was."""
    store = copy_of_a_busy_ledger()
    assert take_over(store) == 1
    states = dict(store.query("SELECT job_id, state FROM delivery"))
    assert states == {
        "lost": "unknown",
        "in data": "unknown",
        "due": "unknown",
        "draft": "waiting",
        "dated": "waiting",
        "paused": "paused",
    }
    assert store.row("due").reason == restored.REASON
    assert store.row("due").event is None
    assert store.do(restored.left) == restored.Left(waiting=2, paused=1)
    assert store.do(care.check).problems == ()


def test_nothing_of_it_goes_by_itself_however_long_nobody_looks() -> None:
    """Neither the due one nor those that the copy's time would have sent once more."""
    store = copy_of_a_busy_ledger()
    take_over(store)
    store.clock.advance(LATER_SECONDS / 2)
    store.register("w2")
    assert store.do(housekeeping.keep).resent == []
    assert isinstance(store.take(LIMIT, worker="w2"), Nothing)


def test_slots_rest_a_whole_window_for_what_left_since() -> None:
    """The slots of the copy look free, and were used in the minute that it has forgotten."""
    store = copy_of_a_busy_ledger()
    store.accept("wanted", "wanted too")
    take_over(store)
    store.register("w2")
    assert store.do(operations.revive, "wanted", state="unknown", reason="by hand")
    store.clock.advance(LIMIT.window_seconds - 1.0)
    store.do(housekeeping.keep)
    store.register("w3")
    held = store.query(
        "SELECT usable_steady FROM slot WHERE usable_steady <= :t", t=store.clock.steady
    )
    assert held == []


def test_a_ledger_with_workers_on_it_is_left_alone() -> None:
    """It is the running one: to call its jobs unknown would stop all mail."""
    store = Store()
    store.register("w1")
    store.accept("due")
    before = store.dump()
    with pytest.raises(LedgerUnusable, match=r"1 worker.* at work"):
        store.do(restored.settle_down)
    assert store.dump() == before


def test_many_are_doubted_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction grows with the backlog."""
    monkeypatch.setattr(restored, "STEP", 3)
    store = Store()
    store.accept(*(f"j{n}" for n in range(7)))
    store.do(restored.settle_down)
    assert [store.do(restored.doubt) for _ in range(4)] == [3, 3, 1, 0]
