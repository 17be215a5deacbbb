"""What time does to rows: dates pass, unknowns are sent again once, final rows grow old.

Each function works in small steps, so that no transaction grows with the backlog.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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
# Both walk the index of the line: what they cost does not grow with the line.
_FIRST_IN_LINE = text(
    "SELECT job_id, accepted_at FROM delivery WHERE company = :company AND user_id = :user"
    " AND kind = :kind AND state = 'waiting' ORDER BY prio, due_at, seq LIMIT :step"
)
_NEXT_IN_LINE = text(
    "SELECT job_id, reason, prio, due_at, seq FROM delivery WHERE company = :company"
    " AND user_id = :user AND kind = :kind AND state = 'waiting'"
    " AND (prio, due_at, seq, job_id) > (:prio, :due_at, :seq, :job_id) AND due_at <= :now"
    " ORDER BY prio, due_at, seq, job_id LIMIT :step"
)
_NAME_REASON = text(
    "UPDATE delivery SET reason = :reason WHERE job_id = :job_id AND state = 'waiting'"
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
    """Declare dead what has waited too long at the head of a lane that can't be served; the ids."""
    before = now.wall - older_than_seconds
    first = connection.execute(_FIRST_IN_LINE, {**lane._asdict(), "step": STEP}).all()
    jobs = [row.job_id for row in first if row.accepted_at <= before]
    for job_id in jobs:
        kill_waiting(connection, now, job_id, reason)
    return jobs


class Place(NamedTuple):
    """A place in a lane's line."""

    prio: int
    due_at: float
    seq: int
    job_id: str


HEAD = Place(-1, 0.0, 0, "")
"""Before everybody in the line."""


class Explained(NamedTuple):
    """How many jobs were told why they wait, how far that came, and whether more stand behind."""

    changed: int
    place: Place
    more: bool


def explain_lane(
    connection: Connection, now: Now, lane: Lane, reason: str, *, after: Place = HEAD
) -> Explained:
    """Write on some due jobs of a lane, from a place in its line on, why they wait."""
    named = {**lane._asdict(), **after._asdict(), "now": now.wall, "step": STEP}
    rows = connection.execute(_NEXT_IN_LINE, named).all()
    changed = [{"job_id": r.job_id, "reason": reason} for r in rows if r.reason != reason]
    if changed:
        connection.execute(_NAME_REASON, changed)
    last = rows[-1] if rows else after
    place = Place(last.prio, last.due_at, last.seq, last.job_id)
    return Explained(len(changed), place, len(rows) == STEP)


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
