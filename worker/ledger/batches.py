"""Batches as a whole: pause one, let it go on, cancel it; some hundred jobs a transaction.

A batch's pause is a hold on ``batch:<company>/<id>``, and its jobs are parked (``parking``). When
its time is over, or a person ends it, the hold is in force no more, but stays until the last job is
back in line: so whoever began to put them back, housekeeping finishes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.ledger import drafts
from worker.ledger.holds import all_holds
from worker.ledger.lanes import note_waiting
from worker.ledger.operations import CANCEL
from worker.ledger.parking import STEP, park, pause_of
from worker.ledger.pauses import pause
from worker.outcome import HoldTarget, TargetKind

if TYPE_CHECKING:
    from worker.ledger.clock import Now

KEEP_STEPS = 4
"""How many steps a round of housekeeping does at the most, of all batches together."""
LOOK_AGAIN_SECONDS = 10.0
"""How long a pause that is over is looked after: longer than a transaction which still saw it in
force, and parks a job accordingly, may take to commit (PostgreSQL)."""

_OVER = text(
    "UPDATE hold SET until_at = :now WHERE target = :target AND origin = 'operator'"
    " AND (until_at IS NULL OR until_at > :now)"
)
_END = text(
    "DELETE FROM hold WHERE target = :target AND origin = 'operator' AND until_at <= :long_ago"
    " AND NOT EXISTS (SELECT 1 FROM delivery WHERE company = :company AND batch_id = :batch_id"
    " AND state = 'paused')"
)
_PAUSED = text(
    "SELECT job_id, user_id, kind, due_at FROM delivery WHERE company = :company"
    " AND batch_id = :batch_id AND state = 'paused' ORDER BY prio, due_at, seq LIMIT :step"
    " FOR UPDATE SKIP LOCKED"
)
_BACK = text(
    "UPDATE delivery SET state = 'waiting', reason = '', updated_at = :now"
    " WHERE job_id = :job_id AND state = 'paused'"
)
_CANCELLABLE = text(
    "SELECT job_id FROM delivery WHERE batch_id = :batch_id AND company = :company"
    " AND state IN ('waiting', 'paused', 'claimed') LIMIT :step FOR UPDATE SKIP LOCKED"
)


def pause_batch(
    connection: Connection,
    now: Now,
    company: str,
    batch_id: str,
    *,
    held_by: str,
    words: str = "",
    until_at: float | None = None,
) -> None:
    """Let a batch get nothing from now on; ``park_some`` then takes its jobs out of the line."""
    target = str(HoldTarget.of_batch(company, batch_id))
    pause(connection, now, target, held_by=held_by, words=words, until_at=until_at)


def park_some(connection: Connection, now: Now, company: str, batch_id: str) -> int:
    """Park some jobs of a batch that is paused now; how many. Call it until it returns 0."""
    reason = pause_of(connection, now, company, batch_id)
    return 0 if reason is None else park(connection, now, company, batch_id, reason)


def end_pause(connection: Connection, now: Now, company: str, batch_id: str) -> bool:
    """End a batch's pause; whether it was paused. ``put_back_some`` then lets its jobs wait."""
    named = {"target": str(HoldTarget.of_batch(company, batch_id)), "now": now.wall}
    return connection.execute(_OVER, named).rowcount == 1


def put_back_some(connection: Connection, now: Now, company: str, batch_id: str) -> int:
    """Put some jobs of a batch that is not paused any more back in line; how many.

    The first in line go first, with their dates and places of before. Call it until it returns 0.
    """
    if pause_of(connection, now, company, batch_id) is not None:
        return 0
    named = {"company": company, "batch_id": batch_id, "step": STEP}
    rows = connection.execute(_PAUSED, named).all()
    if not rows:
        target = str(HoldTarget.of_batch(company, batch_id))
        long_ago = now.wall - LOOK_AGAIN_SECONDS
        connection.execute(_END, {**named, "target": target, "long_ago": long_ago})
        return 0
    connection.execute(_BACK, [{"job_id": row.job_id, "now": now.wall} for row in rows])
    first_due: dict[tuple[str, str], float] = {}
    for row in rows:
        line = row.user_id, row.kind
        first_due[line] = min(row.due_at, first_due.get(line, row.due_at))
    for (user, kind), due_at in sorted(first_due.items()):
        note_waiting(connection, company, user, kind, due_at)
    return len(rows)


def cancel_some(connection: Connection, now: Now, company: str, batch_id: str, reason: str) -> int:
    """Cancel some jobs of a batch that have not left; how many. Call it until it returns 0."""
    named = {"company": company, "batch_id": batch_id, "step": STEP}
    found = connection.execute(_CANCELLABLE, named).scalars()
    rows = [{"job_id": job_id, "reason": reason, "now": now.wall} for job_id in found]
    if rows:
        connection.execute(CANCEL, rows)
        drafts.forget(connection, [each["job_id"] for each in rows])
    return len(rows)


def tend(connection: Connection, now: Now) -> None:
    """Finish what was begun: park what arrived for a paused batch, put back what is over.

    What it costs depends on the batches that are paused, not on how many jobs they have.
    """
    steps = 0
    for hold in all_holds(connection):
        target = HoldTarget.parse(hold.target)
        if target.kind is not TargetKind.BATCH:
            continue
        company, _, batch_id = target.key.partition("/")
        step = put_back_some if hold.is_over(now.wall) else park_some
        while steps < KEEP_STEPS and step(connection, now, company, batch_id):
            steps += 1
