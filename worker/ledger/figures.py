"""What the metrics ask of the ledger. Nothing here changes a row.

Counting what waits reads one index of what waits (100,000 rows: some 25 ms), never the rows with
their bodies, and never what has left. What was accepted is read on from where the last look ended.
"""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from worker.ledger.holds import Hold, all_holds

if TYPE_CHECKING:
    from worker.ledger.clock import Now


class Line(NamedTuple):
    """What waits in one lane, of those never tried (``prio`` 1) or those tried before (0).

    Attributes:
        due: how many of the ``jobs`` may go now.
        first_due_at: Unix seconds.
        paused: that their batch is paused; then ``user`` is not told, and none is due.
    """

    company: str
    user: str
    kind: str
    prio: int
    jobs: int
    due: int
    first_due_at: float
    paused: bool = False


class Stamp(NamedTuple):
    """One acceptance by a server, on the steady clock; named by its job and attempt."""

    steady: float
    job_id: str
    n: int
    company: str
    user: str
    kind: str


class Step(NamedTuple):
    """How many emails of a lane were accepted in one step of a time, counted from its begin."""

    company: str
    user: str
    kind: str
    step: int
    emails: int


class Backlog(NamedTuple):
    """What has not left: what waits, what keeps it, what a person must decide, what is to be told.

    Attributes:
        dead: how many dead letters there are.
        unknown: by company, how many unknown jobs nothing but a person decides any more.
        unpublished: how many events wait to be published.
    """

    lines: list[Line]
    holds: list[Hold]
    dead: int
    unknown: dict[str, int]
    unpublished: int


# Without statistics the planner would take the index of states, and look every row up: 15 times
# the cost.
_LINES = text(
    "SELECT company, user_id, kind, prio, count(*),"
    " sum(CASE WHEN due_at <= :now THEN 1 ELSE 0 END), min(due_at)"
    " FROM delivery INDEXED BY delivery_line WHERE state = 'waiting'"
    " GROUP BY company, user_id, kind, prio"
)
_PAUSED = text(
    "SELECT company, '', kind, 1, count(*), 0, min(due_at)"
    " FROM delivery INDEXED BY delivery_paused WHERE state = 'paused' GROUP BY company, kind"
)
_STAMPS = text(
    "SELECT accepted_steady, job_id, n, company, user_id, kind FROM attempt"
    " WHERE accepted_steady >= :steady AND accepted_steady <= :until"
    " AND (accepted_steady, job_id, n) > (:steady, :job_id, :n)"
    " ORDER BY accepted_steady, job_id, n LIMIT :most"
)
_NEWEST = text(
    "SELECT accepted_steady, job_id, n, company, user_id, kind FROM attempt"
    " WHERE accepted_steady > :after ORDER BY accepted_steady DESC, job_id DESC, n DESC LIMIT :most"
)
_COUNT = text(
    "SELECT count(*) FROM attempt WHERE accepted_steady > :after AND accepted_steady <= :until"
)
# round, for a cast rounds in PostgreSQL and cuts in SQLite; by number, for each mention of a
# parameter is one of its own.
_BY_STEP = text(
    "SELECT company, user_id, kind,"
    " CAST(round((accepted_steady - :after) / :step - 0.5) AS INTEGER) AS step, count(*) AS emails"
    " FROM attempt WHERE accepted_steady > :after AND accepted_steady <= :until"
    " GROUP BY company, user_id, kind, 4"
)
_DEAD = text("SELECT count(*) FROM delivery WHERE state = 'dead'")
# Looks each up, for companies: 4 microseconds each. ``due_at`` stands before the body, which is
# not read: until then a late reply may come, and after it what may be sent again by itself is.
_UNKNOWN = text(
    "SELECT company, count(*) AS jobs FROM delivery INDEXED BY delivery_state"
    " WHERE state = 'unknown' AND due_at <= :now GROUP BY company"
)
_UNPUBLISHED = text(
    "SELECT count(*) FROM delivery INDEXED BY delivery_event WHERE event IS NOT NULL"
)


EVER = 1e17
"""Later than any stamp."""


def start_of(steady: float) -> Stamp:
    """A place in the order of stamps: after all up to this moment."""
    return Stamp(nextafter(steady, inf), "", 0, "", "", "")


def accepted_after(
    connection: Connection, after: Stamp, *, until_steady: float = EVER, most: int = 1_000_000
) -> list[Stamp]:
    """List what servers accepted after another acceptance, in order, the first ones of it."""
    named = {
        "steady": after.steady,
        "job_id": after.job_id,
        "n": after.n,
        "until": until_steady,
        "most": most,
    }
    return [Stamp(*row) for row in connection.execute(_STAMPS, named)]


def newest_accepted(connection: Connection, after_steady: float, *, most: int) -> list[Stamp]:
    """List what servers accepted last, in order, back to a moment or to so many."""
    rows = connection.execute(_NEWEST, {"after": after_steady, "most": most}).all()
    return [Stamp(*row) for row in reversed(rows)]


def count_accepted(connection: Connection, after_steady: float, until_steady: float) -> int:
    """Count what servers accepted between two moments, from the index alone."""
    named = {"after": after_steady, "until": until_steady}
    return int(connection.execute(_COUNT, named).scalar_one())


def accepted_by_step(
    connection: Connection, after_steady: float, until_steady: float, step_seconds: float
) -> list[Step]:
    """Count what servers accepted between two moments, by lane and step."""
    named = {"after": after_steady, "until": until_steady, "step": step_seconds}
    return [Step(*row) for row in connection.execute(_BY_STEP, named)]


def backlog(connection: Connection, now: Now) -> Backlog:
    """Count what waits, what is held, what waits for a person's decision, and what is to be told."""
    lines = [Line(*row) for row in connection.execute(_LINES, {"now": now.wall})]
    lines += [Line(*row)._replace(paused=True) for row in connection.execute(_PAUSED)]
    holds = [hold for hold in all_holds(connection) if not hold.is_over(now.wall)]
    return Backlog(
        lines,
        holds,
        dead=int(connection.execute(_DEAD).scalar_one()),
        unknown={row.company: row.jobs for row in connection.execute(_UNKNOWN, {"now": now.wall})},
        unpublished=int(connection.execute(_UNPUBLISHED).scalar_one()),
    )
