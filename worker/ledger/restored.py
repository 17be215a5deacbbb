"""What to do with a ledger that was put back from a copy of an earlier time.

It has forgotten what left since. Nobody can tell which of its waiting emails were sent meanwhile, so
each that could have been is called unknown, for a person to decide, and every slot rests a window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, text

from worker.errors import LedgerUnusable
from worker.ledger.boot import rest_all
from worker.ledger.workers import count_beating, reap

if TYPE_CHECKING:
    from worker.ledger.clock import Now

STEP: Final = 500
"""How many rows one transaction changes at the most."""
REASON: Final = (
    "the ledger was restored from a copy of an earlier time: it may have been sent since"
)

# What has its date before it could not have been sent; a draft made twice harms nobody.
_DOUBTFUL = text(
    "SELECT job_id FROM delivery WHERE state = 'waiting' AND due_at <= :now"
    " AND kind IN ('send', 'batch') LIMIT :step FOR UPDATE SKIP LOCKED"
)
_DOUBT = text(
    "UPDATE delivery SET state = 'unknown', on_unknown = 'hold', reason = :reason, event = NULL,"
    " updated_at = :now WHERE job_id = :job_id AND state = 'waiting'"
)
_HOLD_UNKNOWN = text("UPDATE delivery SET on_unknown = 'hold' WHERE state = 'unknown'")
_LEFT = text(
    "SELECT state, count(*) AS jobs FROM delivery WHERE state IN ('waiting', 'paused')"
    " AND kind <> 'unreadable' GROUP BY state"
)


class Left(NamedTuple):
    """What was left as it was: not due yet, or of a paused batch."""

    waiting: int
    paused: int


def settle_down(connection: Connection, now: Now) -> None:
    """Bury the workers of the copy's time, let every slot rest, and let no unknown go by itself.

    Raises:
        LedgerUnusable: a worker is at work on it.
    """
    beating = count_beating(connection, now)
    if beating:
        raise LedgerUnusable(f"{beating} worker(s) are at work on the ledger; stop them first")
    reap(connection, now)
    rest_all(connection, now)
    connection.execute(_HOLD_UNKNOWN)


def doubt(connection: Connection, now: Now) -> int:
    """Call some emails unknown that may have been sent since the copy; how many.

    Call it again until it returns 0.
    """
    named = {"now": now.wall, "step": STEP}
    jobs = connection.execute(_DOUBTFUL, named).scalars().all()
    if jobs:
        changes = [{"job_id": job_id, "now": now.wall, "reason": REASON} for job_id in jobs]
        connection.execute(_DOUBT, changes)
    return len(jobs)


def left(connection: Connection, _now: Now) -> Left:
    """Count what was left as it was."""
    found = {row.state: row.jobs for row in connection.execute(_LEFT)}
    return Left(found.get("waiting", 0), found.get("paused", 0))
