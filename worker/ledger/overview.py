"""What people ask of the whole ledger: what waits, what left, who works, who is next.

Counting what waits reads an index of what waits; it never looks at what has left.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from worker.ledger.figures import accepted_after
from worker.ledger.lanes import Lane
from worker.ledger.rows import UNREADABLE, Prio, State
from worker.ledger.workers import DEAD_AFTER_SECONDS

if TYPE_CHECKING:
    from worker.ledger.clock import Now
    from worker.ledger.queries import JobRecord


class LaneRecord(NamedTuple):
    """One line with something in it.

    Attributes:
        first_due_at: Unix seconds; when its first job may go.
        due: how many of the ``waiting`` may go now.
    """

    lane: Lane
    waiting: int
    due: int
    first_due_at: float


class WorkerRecord(NamedTuple):
    """One worker process; ``alive`` is false for one that fell silent and is not buried yet."""

    id: str
    host: str
    pid: int
    version: str
    started_at: float
    trouble: str
    alive: bool


_LANES = text(
    "SELECT company, user_id, kind, count(*) AS jobs,"
    " sum(CASE WHEN due_at <= :now THEN 1 ELSE 0 END) AS due, min(due_at) AS first_due_at"
    " FROM delivery WHERE state = 'waiting' GROUP BY company, user_id, kind"
    " ORDER BY company, user_id, kind"
)
_OTHERS = text(
    "SELECT company, kind, state, count(*) AS jobs FROM delivery"
    " WHERE state IN ('claimed', 'data', 'dead', 'unknown') GROUP BY company, kind, state"
)
_UNREADABLE = text(
    "SELECT count(*) FROM delivery WHERE company = '_system' AND user_id = ''"
    " AND kind = 'unreadable' AND state = 'waiting'"
)
_WORKERS = text(
    "SELECT id, host, pid, version, started_at, trouble, beat_steady FROM worker"
    " ORDER BY started_at, id"
)
_WAITING_UP_TO = text(
    "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE company = :company AND user_id = :user"
    " AND kind = :kind AND state = 'waiting' AND prio IN (:retry, :first) AND due_at <= :now"
    " LIMIT :most) AS some"
)
_BEFORE = text(
    "SELECT count(*) FROM delivery WHERE company = :company AND user_id = :user AND kind = :kind"
    " AND state = 'waiting' AND prio = :prio"
    " AND (due_at < :due_at OR (due_at = :due_at AND seq < :seq))"
)
_STAMP = text("SELECT next_steady FROM scope WHERE id = :scope")
_FREE = text(
    "SELECT min(usable_steady) FROM slot"
    " WHERE scope = :scope AND number < :limit AND worker IS NULL"
)


def lanes_with_work(connection: Connection, now: Now) -> list[LaneRecord]:
    """List the lines in which something waits (what nobody can read stands in none)."""
    return [
        LaneRecord(Lane(row.company, row.user_id, row.kind), row.jobs, row.due, row.first_due_at)
        for row in connection.execute(_LANES, {"now": now.wall})
        if row.kind != UNREADABLE
    ]


def others_by_company(connection: Connection) -> dict[str, dict[State, int]]:
    """Count what is in hand, dead or unknown, by company."""
    found: dict[str, dict[State, int]] = {}
    for row in connection.execute(_OTHERS):
        counts = found.setdefault(row.company, {})
        counts[State(row.state)] = counts.get(State(row.state), 0) + row.jobs
    return found


def accepted_by_lane(connection: Connection, now: Now, *, window_seconds: float) -> Counter[Lane]:
    """Count what servers accepted in the last ``window_seconds``, by line.

    It is counted from the attempts, a record that the limiter does not use.
    """
    stamps = accepted_after(connection, now.steady - window_seconds)
    return Counter(Lane(stamp.company, stamp.user, stamp.kind) for stamp in stamps)


def unreadable_waiting(connection: Connection) -> int:
    """Count what waits for a newer worker that can read it."""
    return int(connection.execute(_UNREADABLE).scalar_one())


def all_workers(connection: Connection, now: Now) -> list[WorkerRecord]:
    """List the worker processes that hold a lease."""
    return [
        WorkerRecord(
            row.id,
            row.host,
            row.pid,
            row.version,
            row.started_at,
            row.trouble,
            alive=row.beat_steady >= now.steady - DEAD_AFTER_SECONDS,
        )
        for row in connection.execute(_WORKERS)
    ]


def due_up_to(connection: Connection, now: Now, lane: Lane, most: int) -> int:
    """Count the jobs of a line that may go now, but no further than ``most``."""
    named = {**lane._asdict(), "now": now.wall, "most": most}
    return int(
        connection.execute(
            _WAITING_UP_TO, {**named, "retry": Prio.RETRY, "first": Prio.FIRST}
        ).scalar_one()
    )


def before_in_lane(connection: Connection, now: Now, job: JobRecord) -> int:
    """Count the jobs of the same line that go before this one.

    What was tried before goes first as soon as it is due; so a job that was never tried waits for
    those that are due now.
    """
    named = {**job.lane._asdict(), "seq": job.seq}
    own = {**named, "prio": job.prio, "due_at": job.due_at}
    before = int(connection.execute(_BEFORE, own).scalar_one())
    if job.prio != Prio.RETRY:
        retries = {**named, "prio": Prio.RETRY, "due_at": now.wall, "seq": 0}
        before += int(connection.execute(_BEFORE, retries).scalar_one())
    return before


def slot_wait_seconds(connection: Connection, now: Now, scope: str, limit: int) -> float:
    """How long until a scope has its next slot, as far as can be told; 0 where it has one.

    A slot in a worker's hands is not counted on: it comes free a window after its reply.
    """
    stamp = connection.execute(_STAMP, {"scope": scope}).scalar()
    free = connection.execute(_FREE, {"scope": scope, "limit": limit}).scalar()
    return max(0.0, (stamp or now.steady) - now.steady, (free or now.steady) - now.steady)
