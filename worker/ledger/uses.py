"""How far limits are used up: what the ledger's slots say, without taking any.

For people and forecasts. It reads every slot of a scope, so the pump does not ask it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.binding import Use
from worker.pace import next_stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.ledger.clock import Now
    from worker.pace import Limit

_SCOPE = text("SELECT next_steady, gap_seconds FROM scope WHERE id = :scope")
_COUNTS = text(
    "SELECT count(*) AS made,"
    " sum(CASE WHEN worker IS NULL AND usable_steady <= :now THEN 1 ELSE 0 END) AS idle"
    " FROM slot WHERE scope = :scope AND number < :limit"
)
_RESTING = text(
    "SELECT usable_steady FROM slot"
    " WHERE scope = :scope AND number < :limit AND worker IS NULL AND usable_steady > :now"
    " ORDER BY usable_steady LIMIT 1 OFFSET :before"
)


def uses_of(
    connection: Connection, now: Now, limits: Iterable[Limit], emails: int = 1
) -> dict[str, Use]:
    """Tell by scope how far each limit is used up.

    Args:
        limits: of one job, or of many.
        emails: which mail ``wait_seconds`` is about, counted from now: the next is the first.
    """
    return {limit.scope: _use_of(connection, now, limit, emails) for limit in limits}


def _use_of(connection: Connection, now: Now, limit: Limit, emails: int) -> Use:
    named = {"scope": limit.scope, "limit": limit.limit, "now": now.steady}
    counts = connection.execute(_COUNTS, named).one()
    held = counts.made - (counts.idle or 0)
    # Slots are used in turn: what goes beyond all of them waits for whole windows more.
    rounds, place = divmod(emails - 1, limit.limit)
    idle = limit.limit - held
    at = now.steady
    if place >= idle:
        rests = connection.execute(_RESTING, {**named, "before": place - idle}).scalar()
        # In somebody's hands: a window after its reply, at the soonest.
        at = now.steady + limit.window_seconds if rests is None else rests
    at += rounds * limit.window_seconds
    scope = connection.execute(_SCOPE, {"scope": limit.scope}).first()
    stamp = now.steady
    if scope is not None:  # a raised limit's gap is shorter than the one that was last added
        stamp = scope.next_steady - max(0.0, scope.gap_seconds - limit.gap_seconds)
    if emails > 1:
        stamp = next_stamp(limit, stamp, now.steady) + (emails - 2) * limit.gap_seconds
    return Use(held, max(0.0, at - now.steady, stamp - now.steady))
