"""How an attempt ends: settled with its outcome, put back unused, or disowned.

Every function runs inside its caller's transaction and expects the claim's token: a foreign or
spent one changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.ledger import drafts
from worker.ledger.lanes import note_waiting
from worker.ledger.rows import FINAL, Prio, Settlement, State, dump_recipients
from worker.ledger.slots import disown_slots, release_slots, settle_slots

if TYPE_CHECKING:
    from worker.ledger.clock import Now
    from worker.ledger.rows import Claim

ABANDONED_SECONDS = 60.0
"""How long a job waits that met a fault of ours: it may well meet it again."""

_IN_HAND = text(
    "SELECT state, attempts, resend_after_seconds FROM delivery"
    " WHERE job_id = :job_id AND claim = :token FOR UPDATE"
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
    " transport = coalesce(:transport, transport),"
    " attempts = attempts + :extra, backoff_seconds = backoff_seconds + :backoff, first_attempt_at = coalesce(first_attempt_at, :first),"
    " updated_at = :now"
    " WHERE job_id = :job_id AND claim = :token AND state IN ('claimed', 'data')"
    " RETURNING company, user_id, kind, due_at"
)
_LATE = text(
    "UPDATE delivery SET state = :state, reason = :reason, body = NULL, reply = :reply,"
    " recipients = :recipients, event = :event, worker = NULL, claim = NULL, updated_at = :now"
    " WHERE job_id = :job_id AND state IN ('unknown', 'waiting', 'paused', 'claimed')"
    " AND attempts = :n"
    " AND EXISTS (SELECT 1 FROM attempt WHERE job_id = :job_id AND n = :n"
    " AND outcome = 'unknown')"
)
_RELEASE = text(
    "UPDATE delivery SET state = 'waiting', worker = NULL, claim = NULL, due_at = :due_at,"
    " reason = :reason, event = coalesce(:event, event), updated_at = :now"
    " WHERE job_id = :job_id AND state = 'claimed' AND claim = :token"
)
_DISOWN = text(
    "UPDATE delivery SET state = 'waiting', worker = NULL, claim = NULL, prio = :prio,"
    " attempts = CASE WHEN state = 'data' THEN attempts - 1 ELSE attempts END, updated_at = :now"
    " WHERE claim = :token AND worker IS NOT NULL AND state IN ('claimed', 'data')"
    " RETURNING job_id, company, user_id, kind, due_at, attempts"
)
_NEVER_TRIED = text("DELETE FROM attempt WHERE job_id = :job_id AND n > :n AND ended_at IS NULL")


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
            "transport": settlement.transport or None,
            "backoff": settlement.backoff_seconds,
            "extra": int(settlement.counted and not begun),
            "first": now.wall if settlement.counted else None,
            "now": now.wall,
        },
    ).first()
    settle_slots(connection, now, token)
    good = row is not None
    if good and settlement.draft is not None:
        drafts.keep(connection, now, job_id, settlement.draft)
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
    release_slots(connection, claim.token)
    if released:
        note_waiting(connection, claim.company, claim.user, claim.kind, due_at)
    return released == 1


def disown(connection: Connection, now: Now, token: str) -> None:
    """Undo whatever a token holds; only if no byte of a mail left for it."""
    row = connection.execute(_DISOWN, {"token": token, "prio": Prio.RETRY, "now": now.wall}).first()
    if row is not None:
        connection.execute(_NEVER_TRIED, {"job_id": row.job_id, "n": row.attempts})
        note_waiting(connection, row.company, row.user_id, row.kind, row.due_at)
    disown_slots(connection, now, token)


def abandon(connection: Connection, now: Now, claim: Claim, reason: str) -> None:
    """Let go of a claim that nobody will end: unknown if it had begun, else it waits again."""
    named = {"job_id": claim.job_id, "token": claim.token}
    row = connection.execute(_IN_HAND, named).first()
    if row is None:
        return
    if row.state != State.DATA:
        release(connection, now, claim, due_at=now.wall + ABANDONED_SECONDS, reason=reason)
        return
    unknown = Settlement(
        State.UNKNOWN,
        State.UNKNOWN.value,
        reason=reason,
        due_at=now.wall + row.resend_after_seconds,
        event=State.UNKNOWN.value,
    )
    settle(connection, now, claim.job_id, claim.token, row.attempts, unknown, begun=True)
