"""What a person may do to a job: cancel it, give it another date, send it again, drop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.ledger import drafts
from worker.ledger.lanes import note_waiting
from worker.ledger.rows import Prio, State

if TYPE_CHECKING:
    from worker.ledger.clock import Now

CANCEL = text(
    "UPDATE delivery SET state = 'cancelled', reason = :reason, body = NULL, worker = NULL,"
    " claim = NULL, event = 'cancelled', updated_at = :now"
    " WHERE job_id = :job_id AND state IN ('waiting', 'paused', 'claimed', 'unknown', 'dead')"
)
"""Ends one job that is not in DATA and not final."""
_REVIVE = text(
    "UPDATE delivery SET state = 'waiting', prio = :prio, due_at = :now, first_attempt_at = NULL,"
    " resends = 0, backoff_seconds = 0, expires_at = NULL, reason = :reason, event = NULL, updated_at = :now"
    " WHERE job_id = :job_id AND state = :state AND body IS NOT NULL"
    " AND kind IN ('send', 'batch', 'compose') AND NOT EXISTS (SELECT 1 FROM delivery other"
    " WHERE other.job_id <> delivery.job_id AND other.company = delivery.company"
    " AND other.kind = delivery.kind AND other.idempotency_key = delivery.idempotency_key"
    " AND other.state NOT IN ('dead', 'cancelled'))"
    " RETURNING company, user_id, kind"
)
# As with a cancel, a claim that is taken away so is spent.
_RESCHEDULE = text(
    "UPDATE delivery SET state = CASE WHEN state = 'paused' THEN 'paused' ELSE 'waiting' END,"
    " due_at = :due_at, reason = CASE WHEN state = 'paused' THEN reason ELSE :reason END,"
    " worker = NULL, claim = NULL, updated_at = :now"
    " WHERE job_id = :job_id AND state IN ('waiting', 'paused', 'claimed')"
    " AND kind <> 'unreadable' AND (expires_at IS NULL OR expires_at > :due_at)"
    " RETURNING company, user_id, kind, state"
)
_MARK_SENT = text(
    "UPDATE delivery SET state = 'sent', reason = :reason, body = NULL, event = 'sent',"
    " updated_at = :now WHERE job_id = :job_id AND state = 'unknown'"
)
_RAW = text(
    "SELECT body, reason FROM delivery WHERE job_id = :job_id AND kind = 'unreadable'"
    " AND state IN ('dead', 'waiting')"
)
_HELD_RAW = text(
    "SELECT job_id FROM delivery WHERE kind = 'unreadable' AND state = 'waiting'"
    " AND job_id > :after ORDER BY job_id LIMIT :step"
)
_FORGET = text("DELETE FROM delivery WHERE job_id = :job_id AND kind = 'unreadable'")
STEP = 500
"""How many rows one transaction changes at the most."""


def cancel(connection: Connection, now: Now, job_id: str, reason: str) -> bool:
    """Cancel a job that is not in DATA and not final; whether it was cancelled."""
    named = {"job_id": job_id, "reason": reason, "now": now.wall}
    if connection.execute(CANCEL, named).rowcount != 1:
        return False
    drafts.forget(connection, [job_id])
    return True


def reschedule(
    connection: Connection, now: Now, job_id: str, *, due_at: float, reason: str
) -> bool:
    """Give a job that waits another date (Unix seconds); whether it waited.

    One that would expire before it could be sent keeps its date. A job of a paused batch stays
    paused, and has the date when it waits again.
    """
    named = {"job_id": job_id, "due_at": due_at, "reason": reason, "now": now.wall}
    row = connection.execute(_RESCHEDULE, named).first()
    if row is None:
        return False
    if row.state == State.WAITING:
        note_waiting(connection, row.company, row.user_id, row.kind, due_at)
    return True


def revive(connection: Connection, now: Now, job_id: str, *, state: str, reason: str) -> bool:
    """Let a dead or unknown job wait again, with a fresh ``retry_for``; whether it could.

    It cannot where another job has taken over its idempotency key since.
    """
    row = connection.execute(
        _REVIVE,
        {
            "job_id": job_id,
            "state": state,
            "prio": Prio.RETRY,
            "reason": reason,
            "now": now.wall,
        },
    ).first()
    if row is None:
        return False
    note_waiting(connection, row.company, row.user_id, row.kind, now.wall)
    return True


def mark_sent(connection: Connection, now: Now, job_id: str, reason: str) -> bool:
    """Say of an unknown job that it was sent; whether it was unknown."""
    named = {"job_id": job_id, "reason": reason, "now": now.wall}
    return connection.execute(_MARK_SENT, named).rowcount == 1


def raw_envelope(connection: Connection, job_id: str) -> bytes | None:
    """Read what was published, of a row that no worker could read."""
    row = connection.execute(_RAW, {"job_id": job_id}).first()
    return None if row is None else bytes(row.body)


def held_unreadable(connection: Connection, after: str = "") -> list[str]:
    """List some rows that wait for a worker that can read them, behind one of them."""
    return list(connection.execute(_HELD_RAW, {"after": after, "step": STEP}).scalars())


def forget_raw(connection: Connection, job_id: str) -> bool:
    """Delete a row that no worker could read, once its envelope was handed on."""
    return connection.execute(_FORGET, {"job_id": job_id}).rowcount == 1
