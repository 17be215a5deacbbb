"""Waiting lines that no settings serve: telling their jobs why, ending them, finding what is new.

What it costs does not depend on how much waits: a line is walked once, and then asked, together
with many others in one statement, whether anything stands behind the place that was reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from worker.ledger.housekeeping import STEP, kill_waiting
from worker.ledger.lanes import Lane, refresh_due
from worker.ledger.rows import Prio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.ledger.clock import Now


class Place(NamedTuple):
    """A place in a lane's line, among the jobs of one ``Prio``."""

    due_at: float
    seq: int
    job_id: str


HEAD = Place(-1.0, 0, "")
"""Before everybody."""


class Places(NamedTuple):
    """How far a line was walked: among what was tried before, and among the rest."""

    retry: Place = HEAD
    first: Place = HEAD


class Walked(NamedTuple):
    """What one walk came to.

    Attributes:
        oldest_at: when the oldest of those walked past was accepted (Unix seconds), or None.
        more: whether more stand behind.
        looked_at: how many jobs that were.
    """

    places: Places
    oldest_at: float | None
    more: bool
    looked_at: int


_NEXT_IN_LINE = text(
    "SELECT job_id, reason, due_at, seq, accepted_at FROM delivery WHERE company = :company"
    " AND user_id = :user AND kind = :kind AND state = 'waiting' AND prio = :prio"
    " AND (due_at, seq, job_id) > (:due_at, :seq, :job_id) AND due_at <= :now"
    " ORDER BY due_at, seq, job_id LIMIT :step FOR UPDATE SKIP LOCKED"
)
_FIRST_IN_LINE = text(
    "SELECT job_id, accepted_at FROM delivery WHERE company = :company AND user_id = :user"
    " AND kind = :kind AND state = 'waiting' ORDER BY prio, due_at, seq LIMIT :step"
    " FOR UPDATE SKIP LOCKED"
)
_NAME_REASON = text(
    "UPDATE delivery SET reason = :reason WHERE job_id = :job_id AND state = 'waiting'"
)


def walk(
    connection: Connection, now: Now, lane: Lane, reason: str, places: Places | None = None
) -> Walked:
    """Write on some due jobs of a lane, from a place in its line on, why they wait."""
    places = places or Places()
    oldest, reached, more = [], [], False
    for prio, place in ((Prio.RETRY, places.retry), (Prio.FIRST, places.first)):
        named = {**lane._asdict(), **place._asdict(), "prio": prio, "now": now.wall, "step": STEP}
        rows = connection.execute(_NEXT_IN_LINE, named).all()
        told = [{"job_id": r.job_id, "reason": reason} for r in rows if r.reason != reason]
        if told:
            connection.execute(_NAME_REASON, told)
        oldest += [row.accepted_at for row in rows]
        reached.append(Place(rows[-1].due_at, rows[-1].seq, rows[-1].job_id) if rows else place)
        more = more or len(rows) == STEP
    return Walked(Places(*reached), min(oldest, default=None), more, len(oldest))


class Ended(NamedTuple):
    """Whose wait has ended, and when the oldest left at the head was accepted, or None."""

    job_ids: list[str]
    oldest_at: float | None


def end_old(
    connection: Connection, now: Now, lane: Lane, reason: str, *, older_than_seconds: float
) -> Ended:
    """Declare dead what has waited too long at the head of a lane; at most ``STEP`` of them."""
    before = now.wall - older_than_seconds
    first = connection.execute(_FIRST_IN_LINE, {**lane._asdict(), "step": STEP}).all()
    ended = [row.job_id for row in first if row.accepted_at <= before]
    for job_id in ended:
        kill_waiting(connection, now, job_id, reason)
    if ended:
        refresh_due(connection, lane)
    left = [row.accepted_at for row in first if row.accepted_at > before]
    return Ended(ended, before if len(ended) == STEP else min(left, default=None))


def with_news(connection: Connection, now: Now, reached: Mapping[Lane, Places]) -> list[Lane]:
    """List those of the lanes in whose line something due stands behind the place reached."""
    values: dict[str, object] = {"now": now.wall}
    rows = []
    asked = ((lane, prio, places[prio]) for lane, places in reached.items() for prio in (0, 1))
    for n, (lane, prio, place) in enumerate(asked):
        values |= {f"c{n}": lane.company, f"u{n}": lane.user, f"k{n}": lane.kind, f"p{n}": prio}
        values |= {f"d{n}": place.due_at, f"s{n}": place.seq, f"j{n}": place.job_id}
        rows.append(
            f"(CAST(:c{n} AS VARCHAR), CAST(:u{n} AS VARCHAR), CAST(:k{n} AS VARCHAR),"
            f" CAST(:p{n} AS INTEGER), CAST(:d{n} AS DOUBLE PRECISION), CAST(:s{n} AS BIGINT),"
            f" CAST(:j{n} AS VARCHAR))"
        )
    if not rows:
        return []
    statement = text(
        "WITH asked (company, user_id, kind, prio, due_at, seq, job_id) AS"  # noqa: S608 - names of parameters only
        f" (VALUES {', '.join(rows)}) SELECT DISTINCT company, user_id, kind FROM asked"
        " WHERE EXISTS (SELECT 1 FROM delivery d WHERE d.company = asked.company"
        " AND d.user_id = asked.user_id AND d.kind = asked.kind AND d.state = 'waiting'"
        " AND d.prio = asked.prio"
        " AND (d.due_at, d.seq, d.job_id) > (asked.due_at, asked.seq, asked.job_id)"
        " AND d.due_at <= :now)"
    )
    return [Lane(*row) for row in connection.execute(statement, values)]
