"""Settling, releasing and the late reply: what a token may still change, and what not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.ledger import ACCEPTED, ENVELOPE, LANE, LOST, Store, deferred
from worker.errors import BeginRefused
from worker.ledger import endings, housekeeping, lanes, workers
from worker.ledger.rows import Settlement, State
from worker.outcome import Outcome, RecipientReply, RecipientState, Reply
from worker.pace import Limit

LIMIT = Limit("company:acme", 3)
BURST = Limit("company:acme", 3, even=False)
DEAD = Settlement(State.DEAD, Outcome.DEAD, reason="550 no such user", event=Outcome.DEAD)


@pytest.fixture
def store() -> Store:
    """A ledger with two workers."""
    store = Store()
    store.register("w1", "w2")
    return store


def test_settle_records_the_reply_and_lets_the_slot_rest(store: Store) -> None:
    """Sent: no body, an event, an attempt with its end, and a slot that rests from now."""
    claim = store.in_data("a", LIMIT)
    store.clock.advance(7)
    assert store.settle(claim)
    row = store.row("a")
    assert (row.state, row.body, row.event, row.worker) == ("sent", None, "sent", None)
    slot = store.slots("company:acme")[0]
    assert (slot.usable_steady, slot.worker, slot.in_data) == (store.clock.steady + 60, None, 0)
    attempt = store.attempt("a")
    assert (attempt.outcome, attempt.ended_at) == ("sent", store.clock.wall)
    assert attempt.accepted_steady == store.clock.steady


def test_settle_rests_each_slot_for_its_own_window(store: Store) -> None:
    """A limit of another window (a day, a test's five seconds) rests as long as it says."""
    day = Limit("mailbox:acme/jane", 2, window_seconds=86_400)
    store.settle(store.in_data("a", LIMIT, day))
    assert store.slots("mailbox:acme/jane")[0].usable_steady == store.clock.steady + 86_400
    assert store.slots("company:acme")[0].usable_steady == store.clock.steady + 60


def test_settle_repeated_changes_nothing(store: Store) -> None:
    """A settle whose commit was in doubt can be repeated later, to no effect."""
    for settlement in (ACCEPTED, deferred(store.clock.wall + 30), LOST, DEAD):
        claim = store.in_data(f"a-{settlement.outcome}", BURST)
        store.settle(claim, settlement)
        before = store.dump()
        store.clock.advance(61)
        assert not store.settle(claim, settlement)
        assert store.dump() == before


def test_settle_with_a_foreign_token_changes_nothing(store: Store) -> None:
    """Neither the row, nor its attempt, nor a slot."""
    claim = store.in_data("a", LIMIT)
    before = store.dump()
    assert not store.settle(replace(claim, token="foreign"))
    assert store.dump() == before
    assert store.settle(claim)


def test_deferred_waits_in_front_until_its_date(store: Store) -> None:
    """A deferred job keeps its body, its attempt is counted, its lane knows the date."""
    claim = store.in_data("a", BURST)
    due_at = store.clock.wall + 30
    assert store.settle(claim, deferred(due_at))
    row = store.row("a")
    assert (row.state, row.body, row.attempts, row.due_at) == ("waiting", ENVELOPE, 1, due_at)
    store.take(BURST)
    assert store.do(lanes.due_lanes) == ([], due_at)


def test_waiting_without_a_date_is_found_again(store: Store) -> None:
    """A job put back without a date keeps its own, and its lane is not forgotten."""
    claim = store.in_data("a", BURST)
    store.take(BURST)
    store.settle(claim, Settlement(State.WAITING, Outcome.HELD, counted=False))
    assert store.do(lanes.due_lanes)[0] == [LANE]


def test_refused_before_data_counts_the_attempt_and_uses_the_slot(store: Store) -> None:
    """MAIL or RCPT reached the server: the slot rests, an attempt is counted."""
    store.accept("a")
    claim = store.claim(LIMIT)
    assert store.settle(claim, deferred(store.clock.wall + 30), begun=False)
    row = store.row("a")
    assert (row.attempts, row.first_attempt_at) == (1, store.clock.wall)
    assert store.slots("company:acme")[0].usable_steady == store.clock.steady + 60
    assert store.query("SELECT * FROM attempt") == []


def test_a_hold_counts_no_attempt(store: Store) -> None:
    """What was not the mail's fault is not counted against it."""
    store.accept("a")
    claim = store.claim(LIMIT)
    store.settle(claim, deferred(store.clock.wall, counted=False), begun=False)
    assert (store.row("a").attempts, store.row("a").first_attempt_at) == (0, None)


def test_recipients_come_back_with_the_next_claim(store: Store) -> None:
    """What earlier attempts settled is known to the next, word for word."""
    recipients = (
        RecipientReply("ann@example.nz", RecipientState.ACCEPTED, Reply(250, "ok", "2.1.5")),
        RecipientReply("bob@example.nz", RecipientState.DEFERRED, Reply(452, "later")),
    )
    claim = store.in_data("a", LIMIT)
    partial = replace(deferred(store.clock.wall), recipients=recipients, backoff_seconds=30.0)
    store.settle(claim, partial)
    store.clock.advance(60)
    again = store.claim(LIMIT)
    assert again.settled == recipients
    assert again.backoff_seconds == 30.0
    assert again.attempts == 1


def test_a_late_reply_turns_unknown_into_sent(store: Store) -> None:
    """A worker found dead in DATA that wakes up may still say what the server replied."""
    claim = store.in_data("a", LIMIT)
    store.do(workers.bury, "w1")
    assert store.state("a") == "unknown"
    assert not store.settle(claim)
    row = store.row("a")
    assert (row.state, row.body, row.reason) == ("sent", None, "the reply came late")
    assert (store.attempt("a").outcome, row.event) == ("sent", "sent")


def test_a_late_reply_spares_the_resend_that_has_not_begun(store: Store) -> None:
    """Where the job waits again, or is claimed, nothing is sent a second time."""
    for job_id, claimed in (("a", False), ("b", True)):
        claim = store.in_data(job_id, BURST)
        store.do(workers.bury, "w1")
        store.clock.advance(600)
        assert store.do(housekeeping.resend_unknown) == [job_id]
        again = store.claim(BURST, worker="w2") if claimed else None
        store.settle(claim)
        assert store.state(job_id) == "sent"
        store.register("w1")
        if again is not None:
            with pytest.raises(BeginRefused):
                store.begin(again, worker="w2")


def test_a_late_reply_changes_no_newer_attempt(store: Store) -> None:
    """Once the resend is in DATA, the late reply is written to its own attempt only."""
    claim = store.in_data("a", BURST)
    store.do(workers.bury, "w1")
    store.clock.advance(600)
    store.do(housekeeping.resend_unknown)
    again = store.claim(BURST, worker="w2")
    store.begin(again, worker="w2")
    store.settle(claim)
    assert store.state("a") == "data"
    assert [store.attempt("a", n).outcome for n in (1, 2)] == ["sent", ""]
    assert store.settle(again)


def test_a_late_refusal_does_not_close_the_case(store: Store) -> None:
    """Only an acceptance is the last word; after a late refusal the settings decide."""
    claim = store.in_data("a", LIMIT)
    store.do(workers.bury, "w1")
    assert not store.settle(claim, DEAD)
    assert (store.state("a"), store.attempt("a").outcome) == ("unknown", "dead")


def test_release_gives_job_and_slot_back_as_they_were(store: Store) -> None:
    """What never reached the server waits on, its slot as usable as before."""
    store.accept("a")
    usable = store.clock.steady
    claim = store.claim(LIMIT)
    assert store.do(endings.release, claim, due_at=store.clock.wall + 5, reason="stopped")
    row = store.row("a")
    assert (row.state, row.attempts, row.reason) == ("waiting", 0, "stopped")
    slot = store.slots("company:acme")[0]
    assert (slot.worker, slot.token, slot.usable_steady) == (None, None, usable)


def test_release_gives_the_place_in_the_gap_back(store: Store) -> None:
    """A job that did not leave does not keep the next one waiting."""
    store.accept("a", "b")
    before = store.query("SELECT next_steady FROM scope")
    claim = store.claim(LIMIT)
    store.do(endings.release, claim, due_at=store.clock.wall, reason="stopped")
    assert before == []
    assert store.claim(LIMIT).not_before_steady == pytest.approx(store.clock.steady)


def test_release_with_a_spent_or_foreign_token_changes_nothing(store: Store) -> None:
    """In DATA, after the settle, or with another's token: nothing comes free."""
    claim = store.in_data("a", LIMIT)
    for token in (claim, replace(claim, token="foreign")):
        before = store.dump()
        assert not store.do(endings.release, token, due_at=0.0, reason="")
        assert store.dump() == before
    store.settle(claim)
    before = store.dump()
    assert not store.do(endings.release, claim, due_at=0.0, reason="")
    assert store.dump() == before
