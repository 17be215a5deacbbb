"""What people ask of the whole ledger: what waits, what left, who works, who is next.

Counting what waits reads an index of what waits; it never looks at what has left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from worker.ledger.lanes import Lane
from worker.ledger.rows import UNREADABLE, State
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


class Arrival(NamedTuple):
    """How many emails of a line become due together, in seconds from now (0: they are due)."""

    seconds: float
    emails: int


class Accepted(NamedTuple):
    """What servers accepted of a line in a while.

    Attributes:
        reply_seconds: how long they took to reply, on average.
    """

    emails: int
    reply_seconds: float


class WorkerRecord(NamedTuple):
    """One worker process; ``alive`` is false for one that fell silent and is not buried yet."""

    id: str
    host: str
    pid: int
    version: str
    started_at: float
    trouble: str
    alive: bool


TOGETHER_SECONDS = 60.0
"""Emails that become due within so long of each other are told as one arrival."""

# Without statistics SQLite would take the index of states, and look every row up: 15 times the cost.
_LANES = text(
    "SELECT company, user_id, kind, count(*) AS jobs,"
    " sum(CASE WHEN due_at <= :now THEN 1 ELSE 0 END) AS due, min(due_at) AS first_due_at"
    " FROM delivery INDEXED BY delivery_line WHERE state = 'waiting'"
    " GROUP BY company, user_id, kind ORDER BY company, user_id, kind"
)
_LATER = text(
    "SELECT company, user_id, kind, min(due_at) AS due_at, count(*) AS jobs"
    " FROM delivery INDEXED BY delivery_line WHERE state = 'waiting' AND due_at > :now"
    " GROUP BY company, user_id, kind, CAST((due_at - :now) / :together AS INTEGER)"
)
_ACCEPTED = text(
    "SELECT company, user_id, kind, count(*) AS emails, avg(ended_at - begun_at) AS reply_seconds"
    " FROM attempt WHERE accepted_steady > :since GROUP BY company, user_id, kind"
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
_AHEAD_IN_BATCH = text(
    "SELECT min(due_at) AS due_at, count(*) AS jobs FROM delivery WHERE company = :company"
    " AND batch_id = :batch_id AND user_id = :user AND kind = :kind AND state = 'paused'"
    " AND (prio < :prio"
    " OR (prio = :prio AND (due_at < :due_at OR (due_at = :due_at AND seq < :seq))))"
    " HAVING count(*) > 0"
)
_AHEAD = text(
    "SELECT min(due_at) AS due_at, count(*) AS jobs FROM delivery WHERE company = :company"
    " AND user_id = :user AND kind = :kind AND state = 'waiting' AND (prio < :prio"
    " OR (prio = :prio AND (due_at < :due_at OR (due_at = :due_at AND seq < :seq))))"
    " GROUP BY CASE WHEN due_at <= :now THEN -1"
    " ELSE CAST((due_at - :now) / :together AS INTEGER) END"
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


def later_by_lane(connection: Connection, now: Now) -> dict[Lane, list[Arrival]]:
    """Tell of each line what becomes due later."""
    found: dict[Lane, list[Arrival]] = {}
    for row in connection.execute(_LATER, {"now": now.wall, "together": TOGETHER_SECONDS}):
        lane = Lane(row.company, row.user_id, row.kind)
        found.setdefault(lane, []).append(Arrival(row.due_at - now.wall, row.jobs))
    return found


def accepted_by_lane(
    connection: Connection, now: Now, *, window_seconds: float
) -> dict[Lane, Accepted]:
    """Count what servers accepted in the last ``window_seconds``, by line.

    It is counted from the attempts, a record that the limiter does not use.
    """
    since = {"since": now.steady - window_seconds}
    return {
        Lane(row.company, row.user_id, row.kind): Accepted(row.emails, row.reply_seconds or 0.0)
        for row in connection.execute(_ACCEPTED, since)
    }


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


def ahead_in_lane(connection: Connection, now: Now, job: JobRecord) -> list[Arrival]:
    """Count the jobs of the same line that go before this one, by when they are due.

    What was tried before goes first as soon as it is due. Where its batch is paused, only what
    was paused with it counts: the others will be gone, or nobody can tell.
    """
    named = {
        **job.lane._asdict(),
        "batch_id": job.batch_id,
        "prio": job.prio,
        "due_at": job.due_at,
        "seq": job.seq,
        "now": now.wall,
        "together": TOGETHER_SECONDS,
    }
    return [
        Arrival(max(0.0, row.due_at - now.wall), row.jobs)
        for row in connection.execute(
            _AHEAD_IN_BATCH if job.state is State.PAUSED else _AHEAD, named
        )
    ]
