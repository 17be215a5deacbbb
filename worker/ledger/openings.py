"""How limits stand now, for forecasts: when the next mail may go, and when slots come free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.gates import Opening
from worker.ledger.uses import uses_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.ledger.clock import Now
    from worker.pace import Limit

SOON_SHARE = 1 / 24
"""The part of a window whose slots are told apart more finely: an hour of a day."""
PIECES = 1440
"""Into how many pieces that part is cut, and the whole window: slots of one come free together."""
_RESTING = text(
    "SELECT avg(usable_steady) AS usable_steady, count(*) AS slots FROM slot"
    " WHERE scope = :scope AND number < :limit AND worker IS NULL AND usable_steady > :now"
    " GROUP BY CASE WHEN usable_steady < :soon"
    " THEN CAST((usable_steady - :now) / :small_piece AS INTEGER)"
    " ELSE -1 - CAST((usable_steady - :now) / :piece AS INTEGER) END"
)


def openings_of(
    connection: Connection,
    now: Now,
    limits: Iterable[Limit],
    reply_seconds: Mapping[str, float] | None = None,
) -> list[Opening]:
    """Tell of each limit how it stands.

    Args:
        reply_seconds: by scope, how long servers take to reply.
    """
    listed = list(limits)
    uses = uses_of(connection, now, listed)
    found = []
    for limit in listed:
        use = uses[limit.scope]
        taken = use.held
        releases = _releases(connection, now, limit, taken) if taken and not limit.even else ()
        found.append(
            Opening(
                limit,
                wait_seconds=use.wait_seconds if limit.even else 0.0,
                free=max(0, limit.limit - taken),
                releases=releases,
                reply_seconds=(reply_seconds or {}).get(limit.scope, 0.0),
            )
        )
    return found


def _releases(
    connection: Connection, now: Now, limit: Limit, taken: int
) -> tuple[tuple[float, int], ...]:
    """When how many slots come free, in seconds; those in a worker's hands a window from now."""
    named = {
        "scope": limit.scope,
        "limit": limit.limit,
        "now": now.steady,
        "soon": now.steady + limit.window_seconds * SOON_SHARE,
        "small_piece": limit.window_seconds * SOON_SHARE / PIECES,
        "piece": limit.window_seconds / PIECES,
    }
    resting = [
        (row.usable_steady - now.steady, row.slots) for row in connection.execute(_RESTING, named)
    ]
    in_hand = taken - sum(slots for _, slots in resting)
    return (*resting, (limit.window_seconds, in_hand)) if in_hand > 0 else tuple(resting)
