"""Parking: jobs of a paused batch leave the line, and stand aside as ``paused``.

The line then holds only what may go, so a paused batch of 100,000 costs the pump nothing. Whatever
of it arrives later, or comes back into line, is parked when it does, or when its turn comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.outcome import HoldTarget

if TYPE_CHECKING:
    from worker.ledger.clock import Now

STEP = 500
"""How many jobs one transaction parks at the most."""

_PAUSE = text(
    "SELECT reason FROM hold WHERE target = :target AND origin = 'operator'"
    " AND (until_at IS NULL OR until_at > :now)"
)
_IN_LINE = text(
    "SELECT job_id FROM delivery WHERE batch_id = :batch_id AND company = :company"
    " AND state IN ('waiting', 'claimed') LIMIT :step FOR UPDATE SKIP LOCKED"
)
# A claim that is taken away so is spent: its worker's begin is refused, and frees the slots.
_PARK = text(
    "UPDATE delivery SET state = 'paused', worker = NULL, claim = NULL, reason = :reason,"
    " updated_at = :now WHERE job_id = :job_id AND state IN ('waiting', 'claimed')"
)


def pause_of(connection: Connection, now: Now, company: str, batch_id: str) -> str | None:
    """Why a batch is paused now, in one sentence, or None where it is not."""
    named = {"target": str(HoldTarget.of_batch(company, batch_id)), "now": now.wall}
    return connection.execute(_PAUSE, named).scalar()


def park(connection: Connection, now: Now, company: str, batch_id: str, reason: str) -> int:
    """Take some jobs of a batch out of the line; how many.

    Dates, order and attempts stay as they are.
    """
    found = connection.execute(
        _IN_LINE, {"batch_id": batch_id, "company": company, "step": STEP}
    ).scalars()
    rows = [{"job_id": job_id, "reason": reason, "now": now.wall} for job_id in found]
    if rows:
        connection.execute(_PARK, rows)
    return len(rows)
