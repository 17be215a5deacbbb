"""Drafts in the ledger: written by the claim's owner alone, kept with the outcome, gone with the row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import ACCEPTED, Store, deferred
from worker.errors import BeginRefused
from worker.ledger import batches, drafts, housekeeping, operations, workers
from worker.ledger.drafts import DraftRecord
from worker.ledger.rows import Settlement, State
from worker.outcome import Draft, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.ledger.rows import Claim

REMOTE = Draft("AAMk=", "https://outlook.example.net/AAMk=")
OTHER = Draft("BBMk=", "https://outlook.example.net/BBMk=")
FILE = Draft(content=b"X-Unsent: 1\r\n\r\n\x00\xff")
DRAFTED = Settlement(
    State.DRAFTED, Outcome.DRAFTED, event=Outcome.DRAFTED, transport="accredo-mailer", draft=FILE
)
MONTH = 30 * 86_400.0


@pytest.fixture
def store() -> Store:
    """A ledger with one worker."""
    store = Store()
    store.register("w1")
    return store


def claimed(store: Store, job_id: str = "a") -> Claim:
    """A new job in the worker's hands."""
    store.accept(job_id)
    return store.claim()


def found(store: Store, job_id: str = "a") -> DraftRecord | None:
    """What the ledger knows of a job's draft."""
    return store.do(lambda c, _: drafts.find(c, job_id))


def remember(store: Store, claim: Claim, draft: Draft = REMOTE) -> None:
    """Note a draft that was made."""
    store.do(drafts.remember, claim.job_id, draft, claim=claim.token)


def test_an_intention_becomes_a_draft_and_the_last_one_counts(store: Store) -> None:
    """Nothing, then an intention without id, then what was made; a second intention changes nothing."""
    claim = claimed(store)
    assert found(store) is None
    store.do(drafts.intend, "a", claim=claim.token)
    assert found(store) == DraftRecord("", "", None, store.clock.wall)
    remember(store, claim, OTHER)
    remember(store, claim)
    store.do(drafts.intend, "a", claim=claim.token)
    assert found(store) == DraftRecord(REMOTE.remote_id, REMOTE.web_link, None, store.clock.wall)


def test_a_draft_is_written_in_data_too(store: Store) -> None:
    """A job that has begun is its claim's still."""
    claim = claimed(store)
    store.begin(claim)
    remember(store, claim)
    assert found(store) is not None


def buried(store: Store, _claim: Claim) -> None:
    """The worker is found dead, and another has the job."""
    store.do(workers.bury, "w1")
    store.register("w2")
    store.claim(worker="w2")


def moved(store: Store, claim: Claim) -> None:
    """The job gets another date, and the same worker takes it again."""
    assert store.do(operations.reschedule, claim.job_id, due_at=0.0, reason="")
    store.claim()


def cancelled(store: Store, claim: Claim) -> None:
    """A person cancels the job."""
    assert store.do(operations.cancel, claim.job_id, "not wanted")


@pytest.mark.parametrize("lose", [buried, moved, cancelled])
def test_who_has_lost_the_job_writes_no_draft(
    store: Store, lose: Callable[[Store, Claim], None]
) -> None:
    """Neither an intention nor a draft of a spent claim reaches the ledger."""
    claim = claimed(store)
    lose(store, claim)
    before = store.dump()
    with pytest.raises(BeginRefused, match="the claim is spent"):
        store.do(drafts.intend, "a", claim=claim.token)
    with pytest.raises(BeginRefused, match="the claim is spent"):
        remember(store, claim)
    assert store.dump() == before


def test_a_draft_is_there_from_the_commit_that_says_so(store: Store) -> None:
    """State, event, transport and content are one; the body is gone, the content stays as it is."""
    claim = claimed(store)
    assert store.settle(claim, DRAFTED, begun=False)
    row = store.row("a")
    assert (row.state, row.body, row.event) == ("drafted", None, "drafted")
    assert (row.transport, row.attempts) == ("accredo-mailer", 1)
    assert FILE.content is not None
    assert found(store) == DraftRecord("", "", len(FILE.content), store.clock.wall)
    assert store.do(lambda c, _: drafts.content_of(c, "a")) == FILE.content
    assert store.do(lambda c, _: drafts.content_of(c, "b")) is None


def test_a_spent_claim_leaves_no_file(store: Store) -> None:
    """Who was cancelled while composing has drafted nothing."""
    claim = claimed(store)
    cancelled(store, claim)
    assert not store.settle(claim, DRAFTED, begun=False)
    assert (store.state("a"), found(store)) == ("cancelled", None)


def test_a_later_attempt_finds_the_draft(store: Store) -> None:
    """Deferred or dead and sent again by a person: the same draft, and the begin's transport."""
    claim = claimed(store)
    remember(store, claim)
    store.begin(claim)
    store.settle(claim, deferred(store.clock.wall))
    assert store.row("a").transport == "smtp"
    again = store.claim()
    store.settle(again, replace(DRAFTED, state=State.DEAD, draft=None), begun=False)
    assert store.do(operations.revive, "a", state="dead", reason="again")
    assert found(store) is not None


def test_a_cancelled_job_loses_its_draft(store: Store) -> None:
    """One job or a whole batch: nothing of them stays but the row; others keep theirs."""
    for job_id in ("a", "b", "c"):
        store.accept(job_id, batch_id="november" if job_id == "b" else None)
        claim = store.claim()
        remember(store, claim)
        store.settle(claim, deferred(store.clock.wall + 60))
    store.do(operations.cancel, "a", "not wanted")
    assert store.do(batches.cancel_some, "acme", "november", "not wanted") == 1
    assert [job_id for (job_id,) in store.query("SELECT job_id FROM draft")] == ["c"]


def test_drafts_are_pruned_with_their_rows(store: Store) -> None:
    """Old and told of: row and draft go together; a younger one keeps both."""
    for job_id in ("sent", "old"):
        claim = claimed(store, job_id)
        remember(store, claim)
        settlement = ACCEPTED if job_id == "sent" else DRAFTED
        if settlement is ACCEPTED:
            store.begin(claim)
        store.settle(claim, settlement, begun=settlement is ACCEPTED)
    store.clock.advance(MONTH)
    store.settle(claimed(store, "young"), DRAFTED, begun=False)
    store.change("UPDATE delivery SET event = NULL")
    assert store.do(housekeeping.prune, older_than_seconds=MONTH) == 2
    assert [job_id for (job_id,) in store.query("SELECT job_id FROM draft")] == ["young"]
