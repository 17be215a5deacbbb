"""Deliveries: one row a job, from the moment a worker accepts it until it is final.

Every function runs inside its caller's transaction. A state changes only by a conditional update
that names the state and the claim it expects, so a foreign or spent token changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.errors import BeginRefused
from worker.ledger import recipients
from worker.ledger.lanes import note_waiting
from worker.ledger.lease import has_lease
from worker.ledger.parking import pause_of
from worker.ledger.rows import FINAL, UNREADABLE, NewJob, Prio, State
from worker.ledger.slots import begin_slots

if TYPE_CHECKING:
    from worker.ledger.clock import Now
    from worker.ledger.rows import Claim, Terms

_INSERT = text(
    "INSERT INTO delivery (job_id, seq, company, user_id, kind, batch_id, batch_index,"
    " idempotency_key, fingerprint, state, prio, due_at, expires_at, reason, body, subject,"
    " metadata, message_id, date_at, attempts, first_attempt_at, on_unknown, resend_after_seconds, worker,"
    " claim, transport, event, enqueued_at, accepted_at, updated_at)"
    " VALUES (:job_id, :seq, :company, :user, :kind, :batch_id, :batch_index,"
    " :idempotency_key, :fingerprint, :state, :prio, :due_at, :expires_at, :reason, :body, :subject,"
    " :metadata, :message_id, :date_at, :attempts, :first_attempt_at, :on_unknown, :resend_after, :worker,"
    " :claim, :transport, :event, :enqueued_at, :now, :now) ON CONFLICT DO NOTHING"
)
_HAS_ID = text("SELECT 1 FROM delivery WHERE job_id = :job_id")
_HAS_KEY = text(
    "SELECT job_id, fingerprint FROM delivery WHERE company = :company AND kind = :kind"
    " AND idempotency_key = :key AND state NOT IN ('dead', 'cancelled')"
)
_BEGIN = text(
    "UPDATE delivery SET state = 'data', attempts = attempts + 1, updated_at = :now,"
    " first_attempt_at = coalesce(first_attempt_at, :now), date_at = coalesce(date_at, :date),"
    " on_unknown = :on_unknown, resend_after_seconds = :resend_after, transport = :transport"
    " WHERE job_id = :job_id AND state = 'claimed' AND claim = :token"
)
_ADD_ATTEMPT = text(
    "INSERT INTO attempt (job_id, n, company, user_id, kind, worker, begun_at)"
    " SELECT job_id, attempts, company, user_id, kind, :worker, :now FROM delivery"
    " WHERE job_id = :job_id"
)


def accept(connection: Connection, now: Now, job: NewJob) -> bool:
    """Write a job's row; whether it was new. The first insert wins, whatever its state.

    A job of a paused batch is parked at once.

    A copy under another id with the same idempotency key is recorded too: as cancelled if it says
    the same, as dead if it says something else.
    """
    job = _parked(connection, now, job)
    if _insert(connection, now, job):
        if job.state is State.WAITING and job.kind != UNREADABLE:
            note_waiting(connection, job.company, job.user, job.kind, job.due_at)
        return True
    if has_row(connection, job.job_id):
        return False
    named = {"company": job.company, "kind": job.kind, "key": job.idempotency_key}
    first = connection.execute(_HAS_KEY, named).first()
    if first is None:  # it ended between the two statements, and its key is free again
        return accept(connection, now, job)
    if first.fingerprint == job.fingerprint:
        state, reason = State.CANCELLED, f"duplicate of {first.job_id}: same idempotency key"
    else:
        state = State.DEAD
        reason = (
            f"idempotency-conflict: key {job.idempotency_key!r} was used by {first.job_id}"
            " for another content"
        )
    return _insert(connection, now, replace(job, state=state, reason=reason))


def _parked(connection: Connection, now: Now, job: NewJob) -> NewJob:
    if job.batch_id is None or job.state is not State.WAITING:
        return job
    pause = pause_of(connection, now, job.company, job.batch_id)
    return job if pause is None else replace(job, state=State.PAUSED, reason=pause)


def _insert(connection: Connection, now: Now, job: NewJob, **more: object) -> bool:
    row: dict[str, object] = {
        "job_id": job.job_id,
        "seq": int(now.wall * 1e6) if job.batch_index is None else job.batch_index,
        "company": job.company,
        "user": job.user,
        "kind": job.kind,
        "batch_id": job.batch_id,
        "batch_index": job.batch_index,
        "idempotency_key": job.idempotency_key,
        "fingerprint": job.fingerprint,
        "state": job.state.value,
        "prio": Prio.FIRST,
        "due_at": job.due_at,
        "expires_at": job.expires_at,
        "reason": job.reason,
        "body": None if job.state in FINAL else job.body,
        "subject": job.subject,
        "metadata": job.metadata,
        "message_id": job.message_id,
        "date_at": None,
        "attempts": 0,
        "first_attempt_at": None,
        "on_unknown": "hold",
        "resend_after": 600.0,
        "worker": None,
        "claim": None,
        "transport": "",
        "event": job.state.value if job.state in {State.DEAD, State.CANCELLED} else job.event,
        "enqueued_at": job.enqueued_at,
        "now": now.wall,
    }
    return connection.execute(_INSERT, {**row, **more}).rowcount == 1


def has_row(connection: Connection, job_id: str) -> bool:
    """Whether some copy of a job is in the ledger already: its row is responsible for it."""
    return connection.execute(_HAS_ID, {"job_id": job_id}).first() is not None


def claim_new(connection: Connection, now: Now, job: NewJob, *, worker: str, token: str) -> bool:
    """Write the row of a job that was tried without one, as claimed by its worker.

    Whether it was new: where another copy has a row, that row is responsible.
    """
    require_worker(connection, worker)
    return _insert(connection, now, replace(job, state=State.CLAIMED), worker=worker, claim=token)


def require_worker(connection: Connection, worker: str) -> None:
    """Refuse everything to a worker that was found dead.

    Raises:
        BeginRefused: the worker has no row any more.
    """
    if not has_lease(connection, worker):
        raise BeginRefused("this worker was silent too long and has been reaped")


def begin_direct(
    connection: Connection,
    now: Now,
    job: NewJob,
    *,
    token: str,
    terms: Terms,
) -> None:
    """Claim and begin a job that waits for nothing: its row is written at this moment.

    Raises:
        BeginRefused: another copy has a row already, its batch is paused, or this worker was
            reaped, or its mailbox may not write to so many any more today.
    """
    require_worker(connection, terms.worker)
    if job.batch_id is not None:
        pause = pause_of(connection, now, job.company, job.batch_id)
        if pause is not None:
            raise BeginRefused(pause)
    inserted = _insert(
        connection,
        now,
        replace(job, state=State.DATA),
        date_at=terms.date_at,
        attempts=1,
        first_attempt_at=now.wall,
        on_unknown=terms.on_unknown,
        resend_after=terms.resend_after_seconds,
        worker=terms.worker,
        claim=token,
        transport=terms.transport,
    )
    if not inserted:
        raise BeginRefused("another copy of this job is in the ledger")
    if terms.budget is not None:
        recipients.spend(connection, now, terms.budget)
    connection.execute(
        _ADD_ATTEMPT, {"job_id": job.job_id, "worker": terms.worker, "now": now.wall}
    )


def begin_claimed(
    connection: Connection,
    now: Now,
    claim: Claim,
    *,
    terms: Terms,
) -> None:
    """Begin a claimed job with all its slots, or nothing.

    Raises:
        BeginRefused: the claim is spent, foreign, reaped or too early, or its mailbox may not write
            to so many any more today; nothing has changed once the caller's transaction is rolled
            back.
    """
    require_worker(connection, terms.worker)
    begun = connection.execute(
        _BEGIN,
        {
            "job_id": claim.job_id,
            "token": claim.token,
            "now": now.wall,
            "date": terms.date_at,
            "on_unknown": terms.on_unknown,
            "resend_after": terms.resend_after_seconds,
            "transport": terms.transport,
        },
    ).rowcount
    if begun != 1:
        raise BeginRefused("the claim is spent: the job was cancelled, reaped or begun already")
    if terms.budget is not None:  # before slots: scopes are locked first
        recipients.spend(connection, now, terms.budget)
    begin_slots(connection, now, claim.token, claim.slots)
    connection.execute(
        _ADD_ATTEMPT, {"job_id": claim.job_id, "worker": terms.worker, "now": now.wall}
    )
