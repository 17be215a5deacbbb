"""What time does to rows: dates pass, unknowns are sent again once, final rows grow old.

Each function works in small steps, so that no transaction grows with the backlog.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.ledger import batches, drafts
from worker.ledger.holds import expire_holds
from worker.ledger.lanes import note_waiting
from worker.ledger.rows import FINAL, Prio
from worker.ledger.workers import Reaping, reap

if TYPE_CHECKING:
    from worker.ledger.clock import Now

STEP = 500
"""How many rows one transaction changes at the most."""

_EXPIRED = text(
    "SELECT job_id FROM delivery INDEXED BY delivery_expiry"
    # What may have been sent is left to its line: there it ends as unknown, not as dead.
    " WHERE state IN ('waiting', 'paused') AND expires_at IS NOT NULL AND resends = 0"
    " AND expires_at <= :now LIMIT :step FOR UPDATE SKIP LOCKED"
)
_KILL = text(
    "UPDATE delivery SET state = 'dead', reason = :reason, event = 'dead', updated_at = :now"
    " WHERE job_id = :job_id AND state IN ('waiting', 'paused')"
)
_RESENDABLE = text(
    "SELECT job_id, company, user_id, kind FROM delivery WHERE state = 'unknown'"
    " AND on_unknown IN ('resend', 'verify') AND resends = 0 AND due_at <= :now LIMIT :step"
    " FOR UPDATE SKIP LOCKED"
)
_RESEND = text(
    "UPDATE delivery SET state = 'waiting', resends = resends + 1, prio = :prio, due_at = :now,"
    " reason = 'sent again: the first outcome is unknown', updated_at = :now"
    " WHERE job_id = :job_id AND state = 'unknown'"
)
_OLD = text(
    "SELECT job_id FROM delivery WHERE state = :state"
    " AND updated_at <= :before AND event IS NULL ORDER BY updated_at LIMIT :step"
    " FOR UPDATE SKIP LOCKED"
)
_PRUNE_ATTEMPTS = text("DELETE FROM attempt WHERE job_id = :job_id")
_PRUNE = text("DELETE FROM delivery WHERE job_id = :job_id")


@dataclass(frozen=True, slots=True)
class Kept:
    """What one round of housekeeping found."""

    reaped: Reaping
    expired: list[str]
    resent: list[str]


def keep(connection: Connection, now: Now) -> Kept:
    """One round: end pauses whose time is over, reap dead workers, expire, resend unknowns."""
    expire_holds(connection, now)
    batches.tend(connection, now)
    return Kept(reap(connection, now), expire(connection, now), resend_unknown(connection, now))


def expire(connection: Connection, now: Now) -> list[str]:
    """Declare dead what its ``expires_at`` has passed while it waited or was paused; their ids."""
    jobs = connection.execute(_EXPIRED, {"now": now.wall, "step": STEP}).scalars().all()
    for job_id in jobs:
        kill_waiting(connection, now, job_id, "expired: expires_at passed before it could be sent")
    return list(jobs)


def kill_waiting(connection: Connection, now: Now, job_id: str, reason: str) -> bool:
    """Declare one waiting or paused job dead; whether it was one."""
    named = {"job_id": job_id, "reason": reason, "now": now.wall}
    return connection.execute(_KILL, named).rowcount == 1


def resend_unknown(connection: Connection, now: Now) -> list[str]:
    """Let unknown jobs wait again, once, where their settings say so; their ids."""
    rows = connection.execute(_RESENDABLE, {"now": now.wall, "step": STEP}).all()
    for row in rows:
        connection.execute(_RESEND, {"job_id": row.job_id, "prio": Prio.RETRY, "now": now.wall})
        note_waiting(connection, row.company, row.user_id, row.kind, now.wall)
    return [row.job_id for row in rows]


def prune(connection: Connection, now: Now, *, older_than_seconds: float) -> int:
    """Delete some final rows of that age with their attempts and drafts; how many rows.

    Call it again until it returns 0.
    """
    named = {"before": now.wall - older_than_seconds}
    old: list[dict[str, str]] = []
    for state in sorted(FINAL):  # one by one, each along its index: together they would be sorted
        wanted = {**named, "state": state.value, "step": STEP - len(old)}
        old += [{"job_id": job_id} for job_id in connection.execute(_OLD, wanted).scalars()]
    if old:
        connection.execute(_PRUNE_ATTEMPTS, old)
        connection.execute(_PRUNE, old)
        drafts.forget(connection, [each["job_id"] for each in old])
    return len(old)
