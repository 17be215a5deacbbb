"""Beginning: a token begins once, with all its slots, not too early, and not after its reaping."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import ENVELOPE, Store, new_job
from worker.errors import BeginRefused
from worker.ledger import deliveries, endings, operations, workers
from worker.ledger.rows import Terms
from worker.ledger.schema import NEVER
from worker.ledger.slots import begin_slots
from worker.pace import Limit

if TYPE_CHECKING:
    from worker.ledger.rows import Claim

LIMIT = Limit("company:acme", 3)
CEILING = Limit("all", 3)


@pytest.fixture
def store() -> Store:
    """A ledger with two workers."""
    store = Store()
    store.register("w1", "w2")
    return store


def begin_direct(store: Store, job_id: str, *, worker: str = "w1", **changes: object) -> None:
    """Begin a job that has no row."""
    store.do(
        deliveries.begin_direct,
        new_job(job_id, kind="send", **changes),
        token=store.new_token(),
        terms=Terms(worker, "smtp", 1.0, "resend", 600.0),
    )


def refused(store: Store, claim: Claim, worker: str = "w1") -> str:
    """Begin in vain, and show that nothing has changed; why."""
    before = store.dump()
    with pytest.raises(BeginRefused) as refusal:
        store.begin(claim, worker=worker)
    assert store.dump() == before
    return str(refusal.value)


def test_begin_marks_job_and_slots_and_opens_an_attempt(store: Store) -> None:
    """Job and every slot are in DATA together, and an attempt is on record."""
    store.accept("a")
    claim = store.claim(CEILING, LIMIT)
    store.begin(claim)
    row = store.row("a")
    assert (row.state, row.attempts, row.transport) == ("data", 1, "smtp")
    assert row.first_attempt_at == row.date_at == store.clock.wall
    for scope in ("all", "company:acme"):
        slot = store.slots(scope)[0]
        assert (slot.in_data, slot.usable_steady, slot.token) == (1, NEVER, claim.token)
    attempt = store.attempt("a")
    assert (attempt.worker, attempt.ended_at, attempt.outcome) == ("w1", None, "")


def test_a_token_begins_once(store: Store) -> None:
    """The second begin of a token is refused, during DATA and after the settle."""
    claim = store.in_data("a", LIMIT)
    assert "spent" in refused(store, claim)
    store.settle(claim)
    assert "spent" in refused(store, claim)


def test_a_foreign_token_begins_nothing(store: Store) -> None:
    """Nor does a token that the row does not know, also where no slot is asked for."""
    store.accept("a")
    unlimited = store.claim()
    refused(store, replace(unlimited, token="foreign"))
    store.do(endings.release, unlimited, due_at=0.0, reason="")
    claim = store.claim(LIMIT)
    refused(store, replace(claim, token="foreign"))
    store.begin(claim)


def test_begin_before_the_slot_is_usable_is_refused(store: Store) -> None:
    """A slot taken ahead of time cannot begin early, and can begin in time."""
    store.accept("a", "b")
    store.claim(LIMIT)
    store.clock.advance(18)
    store.change(
        "UPDATE slot SET usable_steady = :at WHERE worker IS NULL", at=store.clock.steady + 2
    )
    early = store.claim(LIMIT)
    assert "too early" in refused(store, early)
    store.clock.advance(2)
    store.begin(early)


def test_begin_takes_all_scopes_or_none(store: Store) -> None:
    """With one of two slots gone, neither begins and the job stays claimed."""
    store.accept("a")
    claim = store.claim(CEILING, LIMIT)
    store.change("UPDATE slot SET token = 'other' WHERE scope = 'all' AND token IS NOT NULL")
    assert refused(store, claim) == "1 of 2 slots could begin: the claim is spent or too early"
    assert store.state("a") == "claimed"


def test_a_reaped_worker_begins_nothing(store: Store) -> None:
    """A claim that went back with its worker's lease is refused to it."""
    store.accept("a")
    claim = store.claim(LIMIT)
    store.do(workers.bury, "w1")
    assert "reaped" in refused(store, claim)
    with pytest.raises(BeginRefused, match="reaped"):
        begin_direct(store, "b")
    assert store.query("SELECT * FROM attempt") == []


def test_a_cancelled_job_does_not_begin(store: Store) -> None:
    """Cancelling is good up to the last moment before DATA."""
    store.accept("a")
    claim = store.claim(LIMIT)
    assert store.do(operations.cancel, "a", "by hand")
    refused(store, claim)


def test_direct_begin_writes_the_row_in_data(store: Store) -> None:
    """A job without a row gets one at this moment, with its body and its attempt."""
    begin_direct(store, "a")
    row = store.row("a")
    assert (row.state, row.worker, row.attempts, row.body) == ("data", "w1", 1, ENVELOPE)
    assert store.attempt("a").worker == "w1"


def test_of_many_copies_one_begins(store: Store) -> None:
    """Any further copy is refused: by id, by idempotency key, and once it was sent."""
    begin_direct(store, "a", idempotency_key="k")
    for job_id, worker in (("a", "w2"), ("b", "w1")):
        with pytest.raises(BeginRefused, match="another copy"):
            begin_direct(store, job_id, worker=worker, idempotency_key="k")
    assert len(store.query("SELECT * FROM attempt")) == 1


def test_a_later_attempt_keeps_the_first_date(store: Store) -> None:
    """Message-ID and Date stay the same, so that receivers can tell a duplicate."""
    store.accept("a")
    claim = store.claim()
    store.begin(claim)
    first = store.row("a").date_at
    store.do(workers.bury, "w1")
    store.clock.advance(700)
    store.change("UPDATE delivery SET state = 'waiting'")
    store.begin(store.claim(worker="w2"), worker="w2")
    row = store.row("a")
    assert (row.attempts, row.date_at) == (2, first)


def test_begin_of_slots_counts_only_its_own_token(store: Store) -> None:
    """Slots of another token do not make up for missing ones."""
    store.accept("a", "b")
    first = store.claim(Limit("company:acme", 3, even=False))
    store.claim(Limit("company:acme", 3, even=False))
    with pytest.raises(BeginRefused, match="1 of 2"):
        store.do(begin_slots, first.token, 2)
