"""Deliveries: one row a job, from the moment a worker accepts it until it is final.

Every function runs inside its caller's transaction. A state changes only by a conditional update
that names the state and the claim it expects, so a foreign or spent token changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.errors import BeginRefused
from worker.ledger.lanes import note_waiting
from worker.ledger.lease import has_lease
from worker.ledger.rows import FINAL, UNREADABLE, NewJob, Prio, Settlement, State, dump_recipients
from worker.ledger.slots import begin_slots, release_slots, settle_slots

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
_END_ATTEMPT = text(
    "UPDATE attempt SET ended_at = :now, outcome = :outcome, reply = :reply,"
    " accepted_steady = :accepted WHERE job_id = :job_id AND n = :n"
    " AND (:good = 1 AND ended_at IS NULL"
    " OR :good = 0 AND outcome = 'unknown' AND :outcome <> 'unknown')"
)
_SETTLE = text(
    "UPDATE delivery SET state = :state, reason = :reason, due_at = coalesce(:due_at, due_at),"
    " prio = :prio, worker = NULL, claim = NULL, body = CASE WHEN :final = 1 THEN NULL ELSE body END,"
    " recipients = :recipients, reply = :reply, event = coalesce(:event, event),"
    " attempts = attempts + :extra, backoff_seconds = backoff_seconds + :backoff, first_attempt_at = coalesce(first_attempt_at, :first),"
    " updated_at = :now"
    " WHERE job_id = :job_id AND claim = :token AND state IN ('claimed', 'data')"
    " RETURNING company, user_id, kind, due_at"
)
_LATE = text(
    "UPDATE delivery SET state = :state, reason = :reason, body = NULL, reply = :reply,"
    " recipients = :recipients, event = :event, worker = NULL, claim = NULL, updated_at = :now"
    " WHERE job_id = :job_id AND state IN ('unknown', 'waiting', 'claimed') AND attempts = :n"
    " AND EXISTS (SELECT 1 FROM attempt WHERE job_id = :job_id AND n = :n"
    " AND outcome = 'unknown')"
)
_RELEASE = text(
    "UPDATE delivery SET state = 'waiting', worker = NULL, claim = NULL, due_at = :due_at,"
    " reason = :reason, event = coalesce(:event, event), updated_at = :now"
    " WHERE job_id = :job_id AND state = 'claimed' AND claim = :token"
)


def accept(connection: Connection, now: Now, job: NewJob) -> bool:
    """Write a job's row; whether it was new. The first insert wins, whatever its state.

    A copy under another id with the same idempotency key is recorded too: as cancelled if it says
    the same, as dead if it says something else.
    """
    if _insert(connection, now, job):
        if job.state is State.WAITING and job.kind != UNREADABLE:
            note_waiting(connection, job.company, job.user, job.kind, job.due_at)
        return True
    if has_row(connection, job.job_id):
        return False
    named = {"company": job.company, "kind": job.kind, "key": job.idempotency_key}
    first = connection.execute(_HAS_KEY, named).one()
    if first.fingerprint == job.fingerprint:
        state, reason = State.CANCELLED, f"duplicate of {first.job_id}: same idempotency key"
    else:
        state = State.DEAD
        reason = (
            f"idempotency-conflict: key {job.idempotency_key!r} was used by {first.job_id}"
            " for another content"
        )
    return _insert(connection, now, replace(job, state=state, reason=reason))


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
        BeginRefused: another copy has a row already, or this worker was reaped.
    """
    require_worker(connection, terms.worker)
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
        BeginRefused: the claim is spent, foreign, reaped or too early; nothing has changed once
            the caller's transaction is rolled back.
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
    begin_slots(connection, now, claim.token, claim.slots)
    connection.execute(
        _ADD_ATTEMPT, {"job_id": claim.job_id, "worker": terms.worker, "now": now.wall}
    )


def settle(
    connection: Connection,
    now: Now,
    job_id: str,
    token: str,
    attempt: int,
    settlement: Settlement,
    *,
    begun: bool,
) -> bool:
    """Record what an attempt came to and let its slots rest; whether the claim was still good.

    Repeating it changes nothing. Where the worker was reaped meanwhile, the late reply is still
    written to the attempt, and the job is sent if nothing newer has begun, even where it waits
    to be sent again.

    Args:
        attempt: the number that ``begin`` gave this attempt (the row's ``attempts``).
        begun: whether ``begin`` committed; else only MAIL or RCPT reached the server.
    """
    settle_slots(connection, now, token)
    final = settlement.state in FINAL
    row = connection.execute(
        _SETTLE,
        {
            "job_id": job_id,
            "token": token,
            "state": settlement.state.value,
            "reason": settlement.reason,
            "due_at": settlement.due_at,
            "prio": Prio.RETRY,
            "final": int(final),
            "recipients": dump_recipients(settlement.recipients),
            "reply": settlement.reply,
            "event": settlement.event,
            "backoff": settlement.backoff_seconds,
            "extra": int(settlement.counted and not begun),
            "first": now.wall if settlement.counted else None,
            "now": now.wall,
        },
    ).first()
    good = row is not None
    if row is not None and settlement.state is State.WAITING:
        note_waiting(connection, row.company, row.user_id, row.kind, row.due_at)
    elif not good and begun and settlement.accepted and settlement.state is State.SENT:
        connection.execute(
            _LATE,
            {
                "job_id": job_id,
                "n": attempt,
                "state": settlement.state.value,
                "reason": "the reply came late",
                "reply": settlement.reply,
                "recipients": dump_recipients(settlement.recipients),
                "event": settlement.event,
                "now": now.wall,
            },
        )
    if begun:
        _end_attempt(connection, now, job_id, attempt, settlement, good=good)
    return good


def _end_attempt(
    connection: Connection,
    now: Now,
    job_id: str,
    attempt: int,
    settlement: Settlement,
    *,
    good: bool,
) -> None:
    """Write an attempt's outcome once; a late reply only in place of an unknown."""
    connection.execute(
        _END_ATTEMPT,
        {
            "good": int(good),
            "job_id": job_id,
            "n": attempt,
            "now": now.wall,
            "outcome": settlement.outcome,
            "reply": settlement.reply,
            "accepted": now.steady if settlement.accepted else None,
        },
    )


def release(
    connection: Connection,
    now: Now,
    claim: Claim,
    *,
    due_at: float,
    reason: str,
    event: str | None = None,
) -> bool:
    """Put a claimed job back, with its slots unused; only if MAIL was never sent."""
    release_slots(connection, claim.token)
    released = connection.execute(
        _RELEASE,
        {
            "job_id": claim.job_id,
            "token": claim.token,
            "due_at": due_at,
            "reason": reason,
            "event": event,
            "now": now.wall,
        },
    ).rowcount
    if released:
        note_waiting(connection, claim.company, claim.user, claim.kind, due_at)
    return released == 1
