"""Lanes: the waiting lines, one of each (company, user, kind), and taking the next job of one.

A single send and a batch of one user wait in lines of their own, so that a batch limit never
stands before a password reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Row, text

from worker.ledger.holds import start_probes
from worker.ledger.lease import has_lease
from worker.ledger.parking import park
from worker.ledger.rows import Claim, Nothing, Prio, load_recipients
from worker.ledger.slots import RECHECK_SECONDS, Blocked, execute_each, find_slots, take_many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.clock import Now
    from worker.pace import Limit


MOST_PARKED = 2000
"""How many jobs of paused batches one ``take`` parks at the most; it then takes nothing."""


class Lane(NamedTuple):
    """The name of one waiting line."""

    company: str
    user: str
    kind: str


_KNOWN = text(
    "SELECT next_due_at FROM lane WHERE company = :company AND user_id = :user AND kind = :kind"
    " FOR KEY SHARE"
)
_OPEN = text(
    "INSERT INTO lane (company, user_id, kind, next_due_at) VALUES (:company, :user, :kind, :due)"
    " ON CONFLICT (company, user_id, kind) DO NOTHING"
)
_SOONER = text(
    "UPDATE lane SET next_due_at = :due WHERE company = :company AND user_id = :user"
    " AND kind = :kind AND (next_due_at IS NULL OR next_due_at > :due)"
)
_LOCK = text(
    "SELECT 1 FROM lane WHERE company = :company AND user_id = :user AND kind = :kind"
    " FOR UPDATE SKIP LOCKED"
)
_DUE = text(
    "SELECT company, user_id, kind FROM lane"
    " WHERE next_due_at IS NOT NULL AND next_due_at <= :now"
    " ORDER BY company, user_id, kind"
)
_NEWLY_DUE = text(
    "SELECT company, user_id, kind FROM lane WHERE next_due_at > :since AND next_due_at <= :now"
)
_NEXT = text("SELECT min(next_due_at) FROM lane WHERE next_due_at > :now")
_HEAD = text(
    "SELECT job_id, body, attempts, resends, first_attempt_at, backoff_seconds, date_at, enqueued_at, due_at, accepted_at,"
    " recipients, batch_id, (SELECT reason FROM hold"
    " WHERE target = 'batch:' || delivery.company || '/' || delivery.batch_id"
    " AND origin = 'operator' AND (until_at IS NULL OR until_at > :now)) AS pause"
    " FROM delivery WHERE company = :company AND user_id = :user AND kind = :kind"
    " AND state = 'waiting' AND prio = :prio AND due_at <= :now ORDER BY due_at, seq LIMIT :most"
    " FOR UPDATE SKIP LOCKED"
)
_CLAIM = text(
    "UPDATE delivery SET state = 'claimed', worker = :worker, claim = :token, updated_at = :now"
    " WHERE job_id = :job_id AND state = 'waiting'"
)
_FIRST_DUE = text(
    "SELECT min(due_at) FROM delivery WHERE company = :company AND user_id = :user AND kind = :kind"
    " AND state = 'waiting' AND prio = :prio"
)
_SET_DUE = text(
    "UPDATE lane SET next_due_at = :due WHERE company = :company AND user_id = :user AND kind = :kind"
)


def note_waiting(connection: Connection, company: str, user: str, kind: str, due_at: float) -> None:
    """Tell a lane that a job waits in it until ``due_at`` (Unix seconds).

    The lane stays locked against ``refresh_due`` until this transaction has committed: it would
    not see the job yet, and call the lane empty.
    """
    named = {"company": company, "user": user, "kind": kind, "due": due_at}
    while (known := connection.execute(_KNOWN, named).first()) is None:
        connection.execute(_OPEN, named)
    if known.next_due_at is None or known.next_due_at > due_at:
        connection.execute(_SOONER, named)


def due_lanes(connection: Connection, now: Now) -> tuple[list[Lane], float | None]:
    """List the lanes with a job that is due.

    Also tells when the next other lane becomes due (Unix seconds), or None. The cost depends on
    the lanes that are due, not on how many jobs wait in them.
    """
    lanes = [
        Lane(row.company, row.user_id, row.kind)
        for row in connection.execute(_DUE, {"now": now.wall})
    ]
    return lanes, connection.execute(_NEXT, {"now": now.wall}).scalar()


def newly_due(connection: Connection, now: Now, since_at: float) -> list[Lane]:
    """List the lanes whose first job came due after ``since_at`` (Unix seconds)."""
    return [
        Lane(*row) for row in connection.execute(_NEWLY_DUE, {"since": since_at, "now": now.wall})
    ]


def take(
    connection: Connection,
    now: Now,
    lane: Lane,
    limits: Sequence[Limit],
    *,
    worker: str,
    token: str,
    ahead_seconds: float,
    probes: Sequence[str] = (),
) -> Claim | Nothing:
    """Take the next job of a lane, as ``take_some`` does."""
    taken = take_some(
        connection,
        now,
        lane,
        limits,
        worker=worker,
        tokens=[token],
        ahead_seconds=ahead_seconds,
        probes=probes,
    )
    return taken if isinstance(taken, Nothing) else taken[0]


def take_some(
    connection: Connection,
    now: Now,
    lane: Lane,
    limits: Sequence[Limit],
    *,
    worker: str,
    tokens: Sequence[str],
    ahead_seconds: float,
    probes: Sequence[str] = (),
) -> list[Claim] | Nothing:
    """Take the next jobs of a lane, each together with one slot of each limit, or nothing.

    An empty lane wastes no slot; a job without a slot stays where it is. A worker that was found
    dead gets nothing: its next heartbeat tells it so.

    Args:
        limits: sorted by scope.
        tokens: one for each job that may be taken at the most.
        ahead_seconds: how long before it is usable a slot may be taken.
        probes: held targets that one job shall try out; without the right to probe, nothing.
    """
    if not has_lease(connection, worker):
        return Nothing("lease", now.steady + RECHECK_SECONDS)
    most = 1 if probes else len(tokens)
    found = find_slots(connection, now, limits, ahead_seconds, most)
    if isinstance(found, Blocked):
        return Nothing(found.scope, found.until_steady)
    most = min([most, *(len(each.slots) for each in found)])
    heads = _find_heads(connection, now, lane, most)
    if not heads:
        refresh_due(connection, lane)
        return Nothing()
    if probes and not start_probes(connection, now, probes, worker=worker, token=tokens[0]):
        return Nothing()
    tokens = tokens[: len(heads)]
    taken = take_many(connection, now, found, worker=worker, tokens=tokens)
    execute_each(
        connection,
        _CLAIM,
        [
            {"job_id": head.job_id, "worker": worker, "token": token, "now": now.wall}
            for head, token in zip(heads, tokens, strict=True)
        ],
    )
    return [
        Claim(
            job_id=head.job_id,
            company=lane.company,
            user=lane.user,
            kind=lane.kind,
            body=head.body,
            token=token,
            not_before_steady=slots.not_before_steady,
            slots=len(slots.scopes),
            attempts=head.attempts,
            first_attempt_at=head.first_attempt_at,
            backoff_seconds=head.backoff_seconds,
            date_at=head.date_at,
            enqueued_at=head.enqueued_at,
            waiting_since_at=max(head.accepted_at, head.due_at),
            probes=tuple(probes),
            settled=load_recipients(head.recipients),
            perhaps_sent=head.resends > 0,
        )
        for head, token, slots in zip(heads, tokens, taken, strict=True)
    ]


def _find_heads(connection: Connection, now: Now, lane: Lane, most: int) -> list[Row[Any]]:
    """The jobs that go next; those of a paused batch are parked with others of it instead."""
    parked = 0
    while parked < MOST_PARKED:
        heads: list[Row[Any]] = []
        for prio in (Prio.RETRY, Prio.FIRST):
            if len(heads) < most:
                named = {**lane._asdict(), "prio": prio, "now": now.wall}
                heads += connection.execute(_HEAD, {**named, "most": most - len(heads)}).all()
        going = [head for head in heads if head.pause is None]
        if going or not heads:
            return going
        parked += park(connection, now, lane.company, heads[0].batch_id, heads[0].pause)
    return []


def refresh_due(connection: Connection, lane: Lane) -> None:
    """Find out anew when a lane has its next job due; not while somebody puts one into it."""
    named = lane._asdict()
    if connection.execute(_LOCK, named).first() is None:
        return
    due = [
        connection.execute(_FIRST_DUE, {**named, "prio": prio}).scalar()
        for prio in (Prio.RETRY, Prio.FIRST)
    ]
    known = [at for at in due if at is not None]
    connection.execute(_SET_DUE, {**named, "due": min(known) if known else None})
