"""Slots: take, begin, settle, release. The statements that hold the pace.

Every function runs inside its caller's transaction and changes nothing unless it can do the whole.
The proof of the bound is in ``worker/pace.py``; what it needs of these statements is that a slot
which has begun is usable again only ``window_seconds`` after its settle, or long after its worker
was found dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, TextClause, text

from worker.errors import BeginRefused
from worker.ledger.schema import NEVER
from worker.pace import next_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.clock import Now
    from worker.pace import Limit

DEAD_WORKER_GRACE_SECONDS = 30.0
"""How long beyond its window a slot rests whose worker died in DATA: what it had sent may still be
on its way."""
MOST_ADDED = 5_000
"""How many slots are added at a time: those of a day may be a million, and nobody waits for them."""
RECHECK_SECONDS = 0.25
"""When to look again where every slot is in somebody's hands."""


@dataclass(frozen=True, slots=True)
class Found:
    """The free slots of one scope: (number, when it may begin), in the order they may go."""

    limit: Limit
    stamp_steady: float
    slots: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """Slots in hand: one of each scope, usable from ``not_before_steady`` on."""

    not_before_steady: float
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing to take: look again at ``until_steady``; ``scope`` is what binds."""

    scope: str
    until_steady: float


_ADD_SCOPE = text(
    "INSERT INTO scope (id, next_steady) VALUES (:scope, :now) ON CONFLICT (id) DO NOTHING"
)
_STAMP = text("SELECT next_steady, gap_seconds FROM scope WHERE id = :scope")
# Locked only where something may go: most calls that find nothing write nothing.
_OPEN_STAMP = text(
    "SELECT next_steady, gap_seconds FROM scope WHERE id = :scope AND next_steady"
    " - CASE WHEN gap_seconds > :gap THEN gap_seconds - :gap ELSE 0 END <= :until FOR UPDATE"
)
_FREE = text(
    "SELECT number, usable_steady FROM slot"
    " WHERE scope = :scope AND number < :limit AND worker IS NULL AND usable_steady <= :until"
    " ORDER BY usable_steady, number LIMIT :most FOR UPDATE SKIP LOCKED"
)
_LAST = text("SELECT max(number) FROM slot WHERE scope = :scope")
_ADD_SLOTS = text(
    "WITH RECURSIVE missing(number) AS (SELECT CAST(:first AS INTEGER) UNION ALL"
    " SELECT number + 1 FROM missing WHERE number + 1 < :limit)"
    " INSERT INTO slot (scope, number, usable_steady, window_seconds)"
    " SELECT CAST(:scope AS VARCHAR), number, CAST(:usable AS DOUBLE PRECISION),"
    " CAST(:window AS DOUBLE PRECISION) FROM missing WHERE true"
    " ON CONFLICT (scope, number) DO NOTHING"
)
_NEXT_FREE = text(
    "SELECT min(usable_steady) FROM slot"
    " WHERE scope = :scope AND number < :limit AND worker IS NULL"
)
_TAKE = text(
    "UPDATE slot SET worker = :worker, token = :token, window_seconds = :window"
    " WHERE scope = :scope AND number = :number AND worker IS NULL"
)
_MOVE_STAMP = text("UPDATE scope SET next_steady = :next, gap_seconds = :gap WHERE id = :scope")
_BEGIN = text(
    "UPDATE slot SET in_data = 1, usable_steady = :never"
    " WHERE token = :token AND in_data = 0 AND usable_steady <= :now"
)
_SETTLE = text(
    "UPDATE slot SET usable_steady = :now + window_seconds, worker = NULL, token = NULL,"
    " in_data = 0 WHERE token = :token"
)
# A scope that somebody takes from just now keeps the place: waiting for it could be in a circle.
_GIVE_BACK = text(
    "UPDATE scope SET next_steady = next_steady - gap_seconds"
    " * (SELECT count(*) FROM slot WHERE slot.scope = scope.id AND slot.in_data = 0"
    " AND slot.token = :token)"
    " WHERE id IN (SELECT id FROM scope WHERE id IN (SELECT scope FROM slot WHERE token = :token)"
    " FOR UPDATE SKIP LOCKED)"
)
_GIVE_ALL_BACK = text(
    "UPDATE scope SET next_steady = next_steady - gap_seconds"
    " * (SELECT count(*) FROM slot WHERE slot.scope = scope.id AND slot.in_data = 0"
    " AND slot.worker = :worker)"
    " WHERE id IN (SELECT id FROM scope WHERE id IN (SELECT scope FROM slot WHERE worker = :worker)"
    " FOR UPDATE SKIP LOCKED)"
)
_DISOWN = text(
    "UPDATE slot SET worker = NULL, token = NULL, in_data = 0,"
    " usable_steady = CASE WHEN in_data = 1 THEN :now ELSE usable_steady END WHERE token = :token"
)
_RELEASE = text("UPDATE slot SET worker = NULL, token = NULL WHERE token = :token AND in_data = 0")
_REAP = text(
    "UPDATE slot SET worker = NULL, token = NULL, in_data = 0,"
    " usable_steady = CASE WHEN in_data = 1 THEN :latest + window_seconds ELSE usable_steady END"
    " WHERE worker = :worker"
)


def find_slots(
    connection: Connection,
    now: Now,
    limits: Sequence[Limit],
    ahead_seconds: float,
    most: int = 1,
) -> list[Found] | Blocked:
    """Find usable slots of each scope, at least one and up to ``most``, without taking them.

    The scopes are visited in the order given; the caller sorts them, so that no two transactions
    wait for each other.
    """
    until = now.steady + ahead_seconds
    found = []
    for limit in limits:
        # Without a gap there is nothing to look at, and nothing that takers would queue for.
        stamp = _open_stamp(connection, limit, until) if limit.gap_seconds else now.steady
        if stamp is None:
            known = _stamp(connection, limit)
            if known is not None:
                return Blocked(limit.scope, known - ahead_seconds)
            connection.execute(_ADD_SCOPE, {"scope": limit.scope, "now": now.steady})
            stamp = _open_stamp(connection, limit, until) or now.steady
        named = {"scope": limit.scope, "limit": limit.limit}
        wanted = {**named, "until": until, "most": most}
        free = connection.execute(_FREE, wanted).all()
        if not free and _add_missing(connection, now, limit):
            free = connection.execute(_FREE, wanted).all()
        if not free:
            at = connection.execute(_NEXT_FREE, named).scalar()
            if at is None or at - ahead_seconds <= now.steady:
                at = now.steady + RECHECK_SECONDS + ahead_seconds
            return Blocked(limit.scope, at - ahead_seconds)
        found.append(_in_order(limit, stamp, free, now, until))
    return found


def _in_order(
    limit: Limit, stamp_steady: float, free: Sequence[Any], now: Now, until_steady: float
) -> Found:
    """Lay free slots along the soft gap, as many as may begin until then."""
    slots: list[tuple[int, float]] = []
    stamp = stamp_steady
    for row in free:
        if stamp > until_steady:
            break
        at = max(stamp, row.usable_steady)
        slots.append((row.number, at))
        stamp = max(stamp, next_stamp(limit, stamp, now.steady, at))
    return Found(limit, stamp_steady, tuple(slots))


def _open_stamp(connection: Connection, limit: Limit, until_steady: float) -> float | None:
    """The scope's soft gap, locked, if something may go until then."""
    named = {"scope": limit.scope, "gap": limit.gap_seconds, "until": until_steady}
    row = connection.execute(_OPEN_STAMP, named).first()
    return None if row is None else _as_in_force(row, limit)


def _stamp(connection: Connection, limit: Limit) -> float | None:
    """The scope's soft gap; None where nothing was ever taken of it."""
    row = connection.execute(_STAMP, {"scope": limit.scope}).first()
    return None if row is None else _as_in_force(row, limit)


def _as_in_force(row: Any, limit: Limit) -> float:
    """The soft gap as the limit in force has it: the last one may have been longer."""
    return float(row.next_steady - max(0.0, row.gap_seconds - limit.gap_seconds))


def _add_missing(connection: Connection, now: Now, limit: Limit) -> bool:
    """Add the slots that a new or raised limit lacks; whether any was missing.

    Slots are never taken away when a limit is lowered: their rest still counts if it is raised.
    """
    last = connection.execute(_LAST, {"scope": limit.scope}).scalar()
    first = 0 if last is None else last + 1
    if first >= limit.limit:
        return False
    connection.execute(
        _ADD_SLOTS,
        {
            "scope": limit.scope,
            "first": first,
            "limit": min(limit.limit, first + MOST_ADDED),
            "usable": now.steady,
            "window": limit.window_seconds,
        },
    )
    return True


def execute_each(
    connection: Connection, statement: TextClause, rows: Sequence[dict[str, Any]]
) -> None:
    """Execute a statement for each row; many at once, but one as one, which costs half as much."""
    connection.execute(statement, rows[0] if len(rows) == 1 else rows)


def take_slots(
    connection: Connection, now: Now, found: Sequence[Found], *, worker: str, token: str
) -> Taken:
    """Take one slot of each scope that were found in this same transaction."""
    return take_many(connection, now, found, worker=worker, tokens=[token])[0]


def take_many(
    connection: Connection,
    now: Now,
    found: Sequence[Found],
    *,
    worker: str,
    tokens: Sequence[str],
) -> list[Taken]:
    """Take a slot of each scope for each token, and move the soft gaps on.

    Args:
        tokens: no more than slots were found of any scope.
    """
    for each in found:
        stamp = each.stamp_steady
        rows = []
        for token, (number, at) in zip(tokens, each.slots, strict=False):
            stamp = max(stamp, next_stamp(each.limit, stamp, now.steady, at))
            named = {"scope": each.limit.scope, "number": number, "token": token}
            rows.append({**named, "worker": worker, "window": each.limit.window_seconds})
        execute_each(connection, _TAKE, rows)
        if each.limit.gap_seconds:
            moved = {"scope": each.limit.scope, "next": stamp, "gap": each.limit.gap_seconds}
            connection.execute(_MOVE_STAMP, moved)
    scopes = tuple(each.limit.scope for each in found)
    return [
        Taken(max((each.slots[n][1] for each in found), default=now.steady), scopes)
        for n in range(len(tokens))
    ]


def begin_slots(connection: Connection, now: Now, token: str, count: int) -> None:
    """Mark the token's slots as in DATA; after this commit a byte of the mail may leave.

    Raises:
        BeginRefused: the token is spent, foreign or reaped, or a slot is not usable yet.
    """
    begun = connection.execute(_BEGIN, {"token": token, "now": now.steady, "never": NEVER}).rowcount
    if begun != count:
        raise BeginRefused(f"{begun} of {count} slots could begin: the claim is spent or too early")


def settle_slots(connection: Connection, now: Now, token: str) -> int:
    """Let the token's slots rest a whole window from now, when the reply has come; how many."""
    return connection.execute(_SETTLE, {"token": token, "now": now.steady}).rowcount


def release_slots(connection: Connection, token: str) -> int:
    """Give slots back unused; only for a token whose MAIL was never sent. How many.

    Their places in the soft gap come back too: nothing leaves in them, and the catch-up of a
    second could not make up for them.
    """
    connection.execute(_GIVE_BACK, {"token": token})
    return connection.execute(_RELEASE, {"token": token}).rowcount


def disown_slots(connection: Connection, now: Now, token: str) -> None:
    """Free a token's slots, in DATA or not; only if no byte of a mail left for it."""
    connection.execute(_GIVE_BACK, {"token": token})
    connection.execute(_DISOWN, {"token": token, "now": now.steady})


def reap_slots(connection: Connection, now: Now, worker: str) -> int:
    """Free the slots of a dead worker; those in DATA rest long enough for what it had sent."""
    connection.execute(_GIVE_ALL_BACK, {"worker": worker})
    latest = now.steady + DEAD_WORKER_GRACE_SECONDS
    return connection.execute(_REAP, {"worker": worker, "latest": latest}).rowcount
