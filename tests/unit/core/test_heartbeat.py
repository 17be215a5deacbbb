"""A worker that stood still does not end a mail that another may send by now."""

from __future__ import annotations

from worker.heartbeat import SURE_SECONDS, Heartbeat
from worker.ledger.slots import DEAD_WORKER_GRACE_SECONDS
from worker.ledger.workers import DEAD_AFTER_SECONDS


def test_a_lease_is_sure_for_a_while_after_it_was_asked_for() -> None:
    """It counts from the question: the answer may come after a long stop."""
    now = [100.0]
    heartbeat = Heartbeat(lambda: now[0])
    asked = heartbeat.now()
    now[0] += SURE_SECONDS - 1
    assert heartbeat.is_sure()
    heartbeat.renewed(asked)
    now[0] += 1
    assert not heartbeat.is_sure()
    heartbeat.renewed(heartbeat.now())
    assert heartbeat.is_sure()


def test_what_leaves_in_time_is_accepted_before_its_slot_is_used_again() -> None:
    """Some seconds are left for the way to the server and its reply."""
    assert SURE_SECONDS + 10 <= DEAD_AFTER_SECONDS + DEAD_WORKER_GRACE_SECONDS
