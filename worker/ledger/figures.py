"""What the metrics ask of the ledger. Nothing here changes a row.

Counting what waits reads one index of what waits (100,000 rows: some 25 ms), never the rows with
their bodies, and never what has left. What was accepted is read on from where the last look ended.
"""

from __future__ import annotations

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
    """

    company: str
    user: str
    kind: str
    prio: int
    jobs: int
    due: int
    first_due_at: float


class Stamp(NamedTuple):
    """One acceptance by a server, on the steady clock."""

    steady: float
    company: str
    user: str
    kind: str


class Backlog(NamedTuple):
    """What has not left: what waits, what keeps it, and how many dead letters there are."""

    lines: list[Line]
    holds: list[Hold]
    dead: int


# Without statistics the planner would take the index of states, and look every row up: 15 times
# the cost.
_LINES = text(
    "SELECT company, user_id, kind, prio, count(*),"
    " sum(CASE WHEN due_at <= :now THEN 1 ELSE 0 END), min(due_at)"
    " FROM delivery INDEXED BY delivery_line WHERE state = 'waiting'"
    " GROUP BY company, user_id, kind, prio"
)
_STAMPS = text(
    "SELECT accepted_steady, company, user_id, kind FROM attempt"
    " WHERE accepted_steady > :after ORDER BY accepted_steady"
)
_DEAD = text("SELECT count(*) FROM delivery WHERE state = 'dead'")


def accepted_after(connection: Connection, after_steady: float) -> list[Stamp]:
    """List what servers accepted after a moment, in order.

    Stamps are read inside the writer's lock, so none that is older can commit later: reading on
    from the last one misses nothing.
    """
    return [Stamp(*row) for row in connection.execute(_STAMPS, {"after": after_steady})]


def backlog(connection: Connection, now: Now) -> Backlog:
    """Count what waits, what is held, and what waits for a person's decision."""
    lines = [Line(*row) for row in connection.execute(_LINES, {"now": now.wall})]
    return Backlog(lines, all_holds(connection), int(connection.execute(_DEAD).scalar_one()))
