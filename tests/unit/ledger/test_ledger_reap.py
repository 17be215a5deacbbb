"""Leases: a heartbeat, and what becomes of a worker that has none."""

from __future__ import annotations

import pytest

from tests.support.ledger import ENVELOPE, LANE, Store, new_job
from worker.ledger import deliveries, holds, lanes, workers
from worker.ledger.rows import Terms
from worker.ledger.slots import DEAD_WORKER_GRACE_SECONDS
from worker.pace import GAP_SHARE, Limit

LIMIT = Limit("company:acme", 4, even=False)
EVEN = Limit("company:acme", 60)


@pytest.fixture
def store() -> Store:
    """A ledger with two workers."""
    store = Store()
    store.register("w1", "w2")
    return store


def fall_silent(store: Store, worker: str = "w1") -> None:
    """Let a lease run out while every other worker beats."""
    store.clock.advance(workers.DEAD_AFTER_SECONDS + 0.1)
    for (other,) in store.query("SELECT id FROM worker WHERE id <> :w", w=worker):
        store.do(workers.beat, other)


def test_a_heartbeat_keeps_the_lease(store: Store) -> None:
    """Who beats in time is not reaped, and may say why it is not ready."""
    store.clock.advance(9)
    store.do(workers.beat, "w1", "RabbitMQ is away")
    store.do(workers.beat, "w2")
    store.clock.advance(9)
    assert store.do(workers.reap) == workers.Reaping((), 0, ())
    assert store.query("SELECT trouble FROM worker WHERE id = 'w1'") == [("RabbitMQ is away",)]


def test_a_claim_of_a_dead_worker_waits_again(store: Store) -> None:
    """It goes to the front of its lane, uncounted, and its slot is as usable as before."""
    store.accept("a", "b")
    claim = store.claim(LIMIT)
    usable = store.slots("company:acme")[0].usable_steady
    fall_silent(store)
    assert store.do(workers.reap) == workers.Reaping(("w1",), 1, ())
    row = store.row("a")
    assert (row.state, row.worker, row.claim, row.attempts) == ("waiting", None, None, 0)
    slot = store.slots("company:acme")[0]
    assert (slot.worker, slot.token, slot.usable_steady) == (None, None, usable)
    assert store.do(lanes.due_lanes)[0] == [LANE]
    assert store.claim(LIMIT, worker="w2").job_id == claim.job_id


def test_data_of_a_dead_worker_is_unknown(store: Store) -> None:
    """The body is kept, applications are told, the slot rests 90 s, the attempt has ended."""
    store.in_data("a", LIMIT, resend_after_seconds=700.0)
    fall_silent(store)
    assert store.do(workers.reap).unknown == ("a",)
    row = store.row("a")
    assert (row.state, row.body, row.event) == ("unknown", ENVELOPE, "unknown")
    assert row.due_at == store.clock.wall + 700
    slot = store.slots("company:acme")[0]
    assert slot.usable_steady == store.clock.steady + 60 + DEAD_WORKER_GRACE_SECONDS
    assert (slot.worker, slot.in_data) == (None, 0)
    assert store.attempt("a").outcome == "unknown"


def test_places_in_the_gap_of_a_dead_worker_come_back(store: Store) -> None:
    """What it had taken ahead and never sent does not make the others pause."""
    store.accept("a", "b", "c")
    for _ in range(3):
        store.claim(EVEN)
    before = store.query("SELECT next_steady FROM scope")[0][0]
    store.do(workers.bury, "w1")
    assert store.query("SELECT next_steady FROM scope")[0][0] == pytest.approx(
        before - 3 * GAP_SHARE
    )


def test_a_reaped_worker_is_told_by_its_next_heartbeat(store: Store) -> None:
    """Its lease is gone for good; it must end."""
    fall_silent(store)
    store.do(workers.reap)
    with pytest.raises(workers.Reaped, match="found dead"):
        store.do(workers.beat, "w1")


def test_a_late_settle_frees_no_slot_of_another(store: Store) -> None:
    """The reaped token's slots are no longer its own: they rest as the reaper said."""
    claim = store.in_data("a", LIMIT)
    fall_silent(store)
    store.do(workers.reap)
    usable = store.slots("company:acme")[0].usable_steady
    store.settle(claim)
    assert store.slots("company:acme")[0].usable_steady == usable


def test_a_probe_of_a_dead_worker_can_be_won_by_another(store: Store) -> None:
    """The hold stays; the right to try it out comes back."""
    store.accept("a")
    store.do(holds.put_hold, "server:mx", "refused")
    store.clock.advance(holds.FIRST_PROBE_SECONDS)
    store.take(LIMIT, probes=("server:mx",))
    fall_silent(store)
    store.do(workers.reap)
    (hold,) = store.do(lambda c, _: holds.all_holds(c))
    assert hold.probe_worker is None
    assert store.do(holds.start_probes, ["server:mx"], worker="w2", token="t")


def test_burying_one_worker_touches_no_other(store: Store) -> None:
    """A goodbye frees what the worker itself holds, and nothing else."""
    store.accept("a", "b")
    store.claim(LIMIT)
    other = store.claim(LIMIT, worker="w2")
    store.do(workers.bury, "w1")
    assert store.row("b").claim == other.token
    assert store.query("SELECT id FROM worker") == [("w2",)]


def test_reaping_twice_finds_nothing_new(store: Store) -> None:
    """Every worker reaps; whoever comes second has nothing to do."""
    store.in_data("a", LIMIT)
    fall_silent(store)
    store.do(workers.reap)
    before = store.dump()
    assert store.do(workers.reap) == workers.Reaping((), 0, ())
    assert store.dump() == before


def test_a_direct_delivery_of_a_dead_worker_is_unknown_too(store: Store) -> None:
    """A job that never waited is found by its row, and sent again from its body."""
    store.do(
        deliveries.begin_direct,
        new_job("a"),
        token="t",
        terms=Terms("w1", "smtp", 0.0, "resend", 600.0),
    )
    fall_silent(store)
    assert store.do(workers.reap).unknown == ("a",)
