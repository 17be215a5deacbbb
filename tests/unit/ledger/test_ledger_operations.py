"""What a person may do to a job, in every state that it can be in."""

from __future__ import annotations

import pytest

from tests.support.ledger import ACCEPTED, ENVELOPE, LANE, LOST, Store, deferred, new_job
from worker.errors import BeginRefused
from worker.ledger import deliveries, endings, lanes, operations, workers
from worker.ledger.rows import UNREADABLE, Nothing, Settlement, State
from worker.outcome import Outcome
from worker.pace import Limit

LIMIT = Limit("company:acme", 9, even=False)
DEAD = Settlement(State.DEAD, Outcome.DEAD, reason="550 no", event=Outcome.DEAD)
DRAFTED = Settlement(State.DRAFTED, Outcome.DRAFTED, event=Outcome.DRAFTED)
WEEKS = 3 * 7 * 86_400.0


def store_with_job(state: str) -> Store:
    """A ledger with the job "a" in some state."""
    store = Store()
    store.register("w1")
    store.accept("a")
    if state == "waiting":
        return store
    claim = store.claim(LIMIT)
    if state == "claimed":
        return store
    store.begin(claim)
    settlements = {"sent": ACCEPTED, "drafted": DRAFTED, "dead": DEAD, "unknown": LOST}
    if state == "cancelled":
        store.settle(claim, deferred(store.clock.wall))
        store.do(operations.cancel, "a", "before")
    elif state != "data":
        store.settle(claim, settlements[state])
    assert store.state("a") == state
    return store


@pytest.mark.parametrize("state", ["waiting", "claimed", "unknown", "dead"])
def test_cancel_ends_what_is_neither_in_data_nor_final(state: str) -> None:
    """It ends without a body and with an event; its claim, if any, is spent."""
    store = store_with_job(state)
    assert store.do(operations.cancel, "a", "by hand")
    row = store.row("a")
    assert (row.state, row.body, row.worker, row.event) == ("cancelled", None, None, "cancelled")
    assert row.reason == "by hand"


@pytest.mark.parametrize("state", ["data", "sent", "drafted", "cancelled"])
def test_cancel_changes_nothing_in_data_or_final(state: str) -> None:
    """What may be on its way, or is over, cannot be called back."""
    store = store_with_job(state)
    before = store.dump()
    assert not store.do(operations.cancel, "a", "by hand")
    assert store.dump() == before


def test_the_holder_of_a_cancelled_claim_frees_its_slot() -> None:
    """Its begin is refused; it gives the slot back, and the job stays cancelled."""
    store = Store()
    store.register("w1")
    store.accept("a")
    claim = store.claim(LIMIT)
    store.do(operations.cancel, "a", "by hand")
    with pytest.raises(BeginRefused):
        store.begin(claim)
    assert not store.do(endings.release, claim, due_at=0.0, reason="refused")
    assert store.slots("company:acme")[0].worker is None
    assert store.state("a") == "cancelled"


@pytest.mark.parametrize("state", ["dead", "unknown"])
def test_revive_gives_a_fresh_start(state: str) -> None:
    """The job waits in front of its lane, due at once, and keeps count of its attempts."""
    store = store_with_job(state)
    store.clock.advance(100)
    assert store.do(operations.revive, "a", state=state, reason="by hand")
    row = store.row("a")
    assert (row.state, row.due_at, row.body) == ("waiting", store.clock.wall, ENVELOPE)
    assert (row.first_attempt_at, row.resends, row.event, row.attempts) == (None, 0, None, 1)
    assert store.do(lanes.due_lanes)[0] == [LANE]
    assert store.claim(LIMIT).attempts == 1


@pytest.mark.parametrize("state", ["waiting", "claimed", "data", "sent", "drafted", "cancelled"])
def test_revive_needs_the_state_that_was_named(state: str) -> None:
    """A job that has moved on since the person looked is left alone."""
    store = store_with_job(state)
    before = store.dump()
    assert not store.do(operations.revive, "a", state="dead", reason="by hand")
    assert store.dump() == before


def test_revive_leaves_a_key_to_the_job_that_took_it_over() -> None:
    """A dead job whose key was used again must not be sent beside its successor."""
    store = Store()
    store.accept("a", idempotency_key="k", state=State.DEAD)
    store.accept("b", idempotency_key="k")
    assert not store.do(operations.revive, "a", state="dead", reason="by hand")
    store.do(operations.cancel, "b", "by hand")
    assert store.do(operations.revive, "a", state="dead", reason="by hand")


def test_mark_sent_is_for_unknown_jobs_only() -> None:
    """A person who found the mail in the recipient's mailbox closes the case."""
    store = store_with_job("unknown")
    assert store.do(operations.mark_sent, "a", "seen by the recipient")
    row = store.row("a")
    assert (row.state, row.body, row.event) == ("sent", None, "sent")
    assert not store.do(operations.mark_sent, "a", "again")


def test_an_unreadable_envelope_can_be_read_and_forgotten() -> None:
    """What no worker could read is kept byte for byte until it was handed on."""
    store = Store()
    raw = b"\x00 not JSON"
    store.do(deliveries.accept, new_job("h", kind=UNREADABLE, body=raw, state=State.DEAD))
    assert store.do(lambda c, _: operations.raw_envelope(c, "h")) == raw
    assert not store.do(operations.revive, "h", state="dead", reason="by hand")
    assert store.do(lambda c, _: operations.forget_raw(c, "h"))
    assert store.do(lambda c, _: operations.raw_envelope(c, "h")) is None


def test_a_readable_job_is_never_forgotten() -> None:
    """Only rows that no worker could read can be deleted this way."""
    store = store_with_job("dead")
    assert not store.do(lambda c, _: operations.forget_raw(c, "a"))
    assert store.do(lambda c, _: operations.raw_envelope(c, "a")) is None


def test_a_late_reply_does_not_undo_a_cancel() -> None:
    """A person's word on an unknown job stands."""
    store = Store()
    store.register("w1")
    claim = store.in_data("a", LIMIT)
    store.do(workers.bury, "w1")
    store.do(operations.cancel, "a", "by hand")
    store.settle(claim)
    assert store.state("a") == "cancelled"


def reschedule(store: Store, job_id: str, due_at: float) -> bool:
    """Give a job another date."""
    return store.do(operations.reschedule, job_id, due_at=due_at, reason="by hand")


def test_a_job_with_a_date_weeks_ahead_is_seen_by_nobody_until_then() -> None:
    """Its lane is not due, so it costs no look; at its second it can be taken."""
    store = Store()
    store.register("w1")
    due_at = store.clock.wall + WEEKS
    store.accept("a", due_at=due_at)
    store.clock.advance(WEEKS - 1)
    assert store.do(lanes.due_lanes) == ([], due_at)
    assert isinstance(store.take(LIMIT), Nothing)
    store.clock.advance(1)
    assert store.do(lanes.due_lanes) == ([LANE], None)
    assert store.claim(LIMIT).job_id == "a"


def test_a_job_is_rescheduled_to_sooner_and_to_later() -> None:
    """Its lane learns of the sooner date; the later one only its turn tells."""
    store = Store()
    store.register("w1")
    store.accept("a", due_at=store.clock.wall + WEEKS)
    store.accept("b")
    assert reschedule(store, "a", store.clock.wall + 5)
    assert reschedule(store, "b", store.clock.wall + WEEKS)
    assert isinstance(store.take(LIMIT), Nothing)
    assert store.do(lanes.due_lanes) == ([], store.clock.wall + 5)
    store.clock.advance(5)
    assert store.claim(LIMIT).job_id == "a"
    assert (store.row("b").state, store.row("b").reason) == ("waiting", "by hand")


def test_a_claimed_job_that_is_rescheduled_has_a_spent_claim() -> None:
    """Its worker must not send it now; the slot comes back."""
    store = store_with_job("waiting")
    claim = store.claim(LIMIT)
    assert reschedule(store, "a", store.clock.wall + 60)
    with pytest.raises(BeginRefused):
        store.begin(claim)
    assert not store.do(endings.release, claim, due_at=0.0, reason="refused")
    assert (store.state("a"), store.slots("company:acme")[0].worker) == ("waiting", None)
    assert isinstance(store.take(LIMIT), Nothing)


@pytest.mark.parametrize("state", ["data", "sent", "drafted", "dead", "unknown", "cancelled"])
def test_a_job_that_does_not_wait_is_not_rescheduled(state: str) -> None:
    """What may have left has no other date, and the dead are for a person to decide about."""
    store = store_with_job(state)
    before = store.dump()
    assert not reschedule(store, "a", store.clock.wall + 60)
    assert store.dump() == before


def test_a_job_is_not_rescheduled_beyond_its_end() -> None:
    """It would expire before it could be sent: its date stays."""
    store = Store()
    store.accept("a", expires_at=store.clock.wall + 60)
    assert not reschedule(store, "a", store.clock.wall + 60)
    assert reschedule(store, "a", store.clock.wall + 59)
