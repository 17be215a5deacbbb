"""Accepting jobs: the first insert wins, and a key sends its content once."""

from __future__ import annotations

import pytest

from tests.support.ledger import ACCEPTED, ENVELOPE, LANE, Store, new_job
from worker.errors import BeginRefused
from worker.ledger import deliveries, lanes, operations
from worker.ledger.rows import State
from worker.pace import Limit

LIMIT = Limit("company:acme", 5)


def test_first_insert_wins_whatever_its_state() -> None:
    """A second copy changes nothing, while the first waits and after it was sent."""
    store = Store()
    store.register("w1")
    store.accept("a")
    before = store.dump()
    assert not store.do(deliveries.accept, new_job("a", subject="another"))
    assert store.dump() == before
    claim = store.claim(LIMIT)
    store.begin(claim)
    store.settle(claim)
    before = store.dump()
    assert not store.do(deliveries.accept, new_job("a"))
    assert store.dump() == before


def test_a_waiting_job_is_found_in_its_lane() -> None:
    """Accepting tells the lane when its job is due, and keeps the earliest date."""
    store = Store()
    later = store.clock.wall + 60
    store.accept("later", due_at=later)
    assert store.do(lanes.due_lanes) == ([], later)
    store.accept("now")
    assert store.do(lanes.due_lanes) == ([LANE], None)
    store.accept("much-later", due_at=later + 60)
    assert store.do(lanes.due_lanes)[0] == [LANE]


def test_same_key_and_content_is_a_cancelled_duplicate() -> None:
    """The copy is recorded without a body, with an event, and names the first."""
    store = Store()
    store.accept("a", idempotency_key="invoice-7")
    assert store.do(deliveries.accept, new_job("b", idempotency_key="invoice-7"))
    row = store.row("b")
    assert (row.state, row.body, row.event) == ("cancelled", None, "cancelled")
    assert row.reason == "duplicate of a: same idempotency key"
    assert store.state("a") == "waiting"


def test_same_key_for_another_content_is_dead() -> None:
    """The copy keeps its body for a person, and its reason names key and first job."""
    store = Store()
    store.accept("a", idempotency_key="invoice-7")
    store.accept("b", idempotency_key="invoice-7", fingerprint="0" * 64)
    row = store.row("b")
    assert (row.state, row.body, row.event) == ("dead", ENVELOPE, "dead")
    assert row.reason == ("idempotency-conflict: key 'invoice-7' was used by a for another content")


def test_same_key_counts_within_company_and_kind() -> None:
    """Another company, or another kind, has keys of its own."""
    store = Store()
    store.accept("a", idempotency_key="k")
    store.accept("b", idempotency_key="k", company="umbrella")
    store.accept("c", idempotency_key="k", kind="send")
    assert [store.state(job) for job in "abc"] == ["waiting"] * 3


def test_key_is_kept_by_a_sent_job_and_freed_by_a_dead_or_cancelled_one() -> None:
    """A sent job's key sends nothing again; a dead or cancelled job's key can be used."""
    store = Store()
    store.register("w1")
    store.accept("sent", idempotency_key="k1")
    claim = store.claim(LIMIT)
    store.begin(claim)
    store.settle(claim, ACCEPTED)
    store.accept("copy", idempotency_key="k1")
    assert store.state("copy") == "cancelled"
    store.accept("cancelled", idempotency_key="k2")
    assert store.do(operations.cancel, "cancelled", "by hand")
    store.accept("again", idempotency_key="k2")
    store.accept("dead", idempotency_key="k3", state=State.DEAD)
    store.accept("anew", idempotency_key="k3")
    assert (store.state("again"), store.state("anew")) == ("waiting", "waiting")


def test_a_job_that_arrives_dead_keeps_its_body_and_has_an_event() -> None:
    """What intake refuses is kept for a person, and applications are told."""
    store = Store()
    store.accept("a", state=State.DEAD, reason="unknown company: acme")
    row = store.row("a")
    assert (row.state, row.body, row.event) == ("dead", ENVELOPE, "dead")
    assert store.do(lanes.due_lanes) == ([], None)


def test_claim_new_writes_a_claimed_row_once() -> None:
    """A job tried without a row gets one in its worker's hands; a copy does not."""
    store = Store()
    store.register("w1", "w2")
    job = new_job("a", kind="send")
    assert store.do(deliveries.claim_new, job, worker="w1", token="t")
    assert not store.do(deliveries.claim_new, job, worker="w2", token="u")
    row = store.row("a")
    assert (row.state, row.worker, row.claim) == ("claimed", "w1", "t")
    with pytest.raises(BeginRefused):
        store.do(deliveries.claim_new, new_job("b"), worker="gone", token="v")
    assert store.do(lambda c, _: deliveries.has_row(c, "a"))
    assert not store.do(lambda c, _: deliveries.has_row(c, "b"))


def test_batch_jobs_keep_the_producers_order() -> None:
    """Within a lane the index decides, not the order of arrival."""
    store = Store()
    store.register("w1")
    for index in (2, 0, 1):
        store.accept(f"b{index}", batch_id="b", batch_index=index)
    assert [store.claim().job_id for _ in range(3)] == ["b0", "b1", "b2"]
