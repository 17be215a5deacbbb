"""The crash table: whatever is killed wherever, what the ledger says and does afterwards.

Each test is one row: the step at which something was cut, and what becomes of job and slot.
"""

from __future__ import annotations

import hashlib

import pytest

from tests.support.ledger import ENVELOPE, Store, new_job
from worker.errors import BeginRefused
from worker.ledger import deliveries, housekeeping, workers
from worker.ledger.rows import UNREADABLE, Nothing, State, Terms
from worker.pace import Limit

LIMIT = Limit("company:acme", 1, even=False)
FOUND_DEAD_SECONDS = workers.DEAD_AFTER_SECONDS + workers.REAP_SECONDS


@pytest.fixture
def store() -> Store:
    """A ledger with the worker that will be killed, and one that lives on."""
    store = Store()
    store.register("w1", "w2")
    return store


def kill(store: Store) -> None:
    """Let w1 be silent until w2's housekeeping has found it dead."""
    store.clock.advance(FOUND_DEAD_SECONDS)
    store.do(workers.beat, "w2")
    assert store.do(housekeeping.keep).reaped.workers == ("w1",)


def test_killed_after_take(store: Store) -> None:
    """The claim waits again within 13 s, its slot usable at once, no attempt counted."""
    store.accept("a")
    store.claim(LIMIT)
    kill(store)
    again = store.claim(LIMIT, worker="w2")
    assert (again.job_id, again.attempts) == ("a", 0)
    store.begin(again, worker="w2")


def test_killed_between_begin_and_settle(store: Store) -> None:
    """Unknown, with its body; the slot is free 90 s after its worker was found dead."""
    store.in_data("a", LIMIT)
    kill(store)
    assert (store.state("a"), store.row("a").body) == ("unknown", ENVELOPE)
    store.accept("b")
    store.clock.advance(89.9)
    assert isinstance(store.take(LIMIT, worker="w2", ahead_seconds=0), Nothing)
    store.clock.advance(0.1)
    assert store.claim(LIMIT, worker="w2").job_id == "b"


def test_ledger_away_between_begin_and_settle(store: Store) -> None:
    """A settle repeated after a minute counts from its own time: the slot rests from then."""
    claim = store.in_data("a", LIMIT)
    store.clock.advance(60)
    store.do(workers.beat, "w1")
    assert store.settle(claim)
    assert store.slots("company:acme")[0].usable_steady == store.clock.steady + 60


def test_killed_after_settle_before_the_event(store: Store) -> None:
    """The event still to be published stays on the row, whoever dies."""
    store.settle(store.in_data("a", LIMIT))
    kill(store)
    assert (store.state("a"), store.row("a").event) == ("sent", "sent")


@pytest.mark.parametrize("settled", [False, True], ids=["waiting", "sent"])
def test_killed_before_the_acknowledgement(store: Store, *, settled: bool) -> None:
    """The message comes again, finds the row and changes nothing; directly it does not begin."""
    if settled:
        store.settle(store.in_data("a", LIMIT))
    else:
        store.accept("a")
    before = store.dump()
    assert not store.do(deliveries.accept, new_job("a"))
    with pytest.raises(BeginRefused):
        store.do(
            deliveries.begin_direct,
            new_job("a"),
            token="t2",
            terms=Terms("w2", "smtp", 0.0, "resend", 600.0),
        )
    assert store.dump() == before


def test_stopped_for_longer_than_the_lease_before_begin(store: Store) -> None:
    """Awake again, it begins and takes nothing: its job and its slot are another's."""
    store.accept("a", "b")
    claim = store.claim(LIMIT)
    kill(store)
    with pytest.raises(BeginRefused):
        store.begin(claim)
    assert isinstance(store.take(), Nothing)
    with pytest.raises(workers.Reaped):
        store.do(workers.beat, "w1")


def test_stopped_for_longer_than_the_lease_inside_data(store: Store) -> None:
    """Unknown at first; the late reply makes it sent, and its slot rests as the reaper said."""
    claim = store.in_data("a", LIMIT)
    kill(store)
    usable = store.slots("company:acme")[0].usable_steady
    assert not store.settle(claim)
    assert (store.state("a"), store.attempt("a").outcome) == ("sent", "sent")
    assert store.slots("company:acme")[0].usable_steady == usable
    store.clock.advance(10_000)
    assert store.do(housekeeping.resend_unknown) == []


def test_killed_between_a_dead_letters_insert_and_its_acknowledgement(store: Store) -> None:
    """Its id is made from its bytes, so the second insert finds the first: one row."""
    raw = b"no envelope at all"
    dead = new_job(hashlib.sha256(raw).hexdigest(), kind=UNREADABLE, body=raw, state=State.DEAD)
    assert store.do(deliveries.accept, dead)
    assert not store.do(deliveries.accept, dead)
    assert len(store.query("SELECT * FROM delivery")) == 1
