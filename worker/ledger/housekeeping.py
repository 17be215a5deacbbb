"""What time does to rows: dates pass, unknowns are sent again once, final rows grow old.

Each function works in small steps, so that no transaction grows with the backlog.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.ledger.holds import expire_holds
from worker.ledger.lanes import Lane, note_waiting
from worker.ledger.rows import Prio
from worker.ledger.workers import Reaping, reap

if TYPE_CHECKING:
    from worker.ledger.clock import Now

STEP = 500
"""How many rows one transaction changes at the most."""

_EXPIRED = text(
    "SELECT job_id FROM delivery WHERE state = 'waiting' AND expires_at IS NOT NULL"
    " AND expires_at <= :now LIMIT :step"
)
_KILL = text(
    "UPDATE delivery SET state = 'dead', reason = :reason, event = 'dead', updated_at = :now"
    " WHERE job_id = :job_id AND state = 'waiting'"
)
_RESENDABLE = text(
    "SELECT job_id, company, user_id, kind FROM delivery WHERE state = 'unknown'"
    " AND on_unknown = 'resend' AND resends = 0 AND due_at <= :now LIMIT :step"
)
_RESEND = text(
    "UPDATE delivery SET state = 'waiting', resends = resends + 1, prio = :prio, due_at = :now,"
    " reason = 'sent again: the first outcome is unknown', updated_at = :now"
    " WHERE job_id = :job_id AND state = 'unknown'"
)
_OLD_IN_LANE = text(
    "SELECT job_id FROM delivery WHERE company = :company AND user_id = :user AND kind = :kind"
    " AND state = 'waiting' AND accepted_at <= :before LIMIT :step"
)
_NAME_REASON = text(
    "UPDATE delivery SET reason = :reason WHERE company = :company AND user_id = :user"
    " AND kind = :kind AND state = 'waiting' AND reason <> :reason AND job_id IN ("
    "SELECT job_id FROM delivery WHERE company = :company AND user_id = :user AND kind = :kind"
    " AND state = 'waiting' AND reason <> :reason LIMIT :step)"
)
_OLD = (
    "(SELECT job_id FROM delivery WHERE state IN ('sent', 'drafted', 'cancelled')"
    " AND updated_at <= :before AND event IS NULL ORDER BY updated_at, job_id LIMIT :step)"
)
_PRUNE_ATTEMPTS = text(f"DELETE FROM attempt WHERE job_id IN {_OLD}")  # noqa: S608 - no value from outside
_PRUNE = text(f"DELETE FROM delivery WHERE job_id IN {_OLD}")  # noqa: S608 - the same


@dataclass(frozen=True, slots=True)
class Kept:
    """What one round of housekeeping found."""

    reaped: Reaping
    expired: list[str]
    resent: list[str]


def keep(connection: Connection, now: Now) -> Kept:
    """One round: reap dead workers, expire, resend unknowns, end holds whose time is over."""
    expire_holds(connection, now)
    return Kept(reap(connection, now), expire(connection, now), resend_unknown(connection, now))


def expire(connection: Connection, now: Now) -> list[str]:
    """Declare dead what its ``expires_at`` has passed while it waited; their ids."""
    jobs = connection.execute(_EXPIRED, {"now": now.wall, "step": STEP}).scalars().all()
    for job_id in jobs:
        kill_waiting(connection, now, job_id, "expired: expires_at passed before it could be sent")
    return list(jobs)


def kill_waiting(connection: Connection, now: Now, job_id: str, reason: str) -> bool:
    """Declare one waiting job dead; whether it was waiting."""
    named = {"job_id": job_id, "reason": reason, "now": now.wall}
    return connection.execute(_KILL, named).rowcount == 1


def kill_lane(
    connection: Connection, now: Now, lane: Lane, *, older_than_seconds: float, reason: str
) -> list[str]:
    """Declare dead what has waited too long in a lane that can't be served; their ids."""
    before = now.wall - older_than_seconds
    jobs = (
        connection.execute(_OLD_IN_LANE, {**lane._asdict(), "before": before, "step": STEP})
        .scalars()
        .all()
    )
    for job_id in jobs:
        kill_waiting(connection, now, job_id, reason)
    return list(jobs)


def explain_lane(connection: Connection, lane: Lane, reason: str) -> int:
    """Write on the waiting jobs of a lane why they wait; how many were changed."""
    named = {**lane._asdict(), "reason": reason, "step": STEP}
    return connection.execute(_NAME_REASON, named).rowcount


def resend_unknown(connection: Connection, now: Now) -> list[str]:
    """Let unknown jobs wait again, once, where their settings say so; their ids."""
    rows = connection.execute(_RESENDABLE, {"now": now.wall, "step": STEP}).all()
    for row in rows:
        connection.execute(_RESEND, {"job_id": row.job_id, "prio": Prio.RETRY, "now": now.wall})
        note_waiting(connection, row.company, row.user_id, row.kind, now.wall)
    return [row.job_id for row in rows]


def prune(connection: Connection, now: Now, *, older_than_seconds: float) -> int:
    """Delete some final rows of that age with their attempts; how many rows.

    Call it again until it returns 0.
    """
    named = {"before": now.wall - older_than_seconds, "step": STEP}
    connection.execute(_PRUNE_ATTEMPTS, named)
    return connection.execute(_PRUNE, named).rowcount
