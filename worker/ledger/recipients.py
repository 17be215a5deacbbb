"""How many recipients each mailbox has written to in the last 24 hours, as a provider counts them.

Slots would not do: one mail takes as many as it has recipients. Recipients are counted when a mail
begins, in buckets of ten minutes; a bucket counts until 24 h after its end, so that whatever moment
the provider counts back from, the ledger counts as much or more. What was counted stays counted,
also where the mail was refused. Buckets are of Unix time: a clock that is set a day ahead forgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text

from worker.errors import BeginRefused

if TYPE_CHECKING:
    from worker.ledger.clock import Now
    from worker.pace import Budget

BUCKET_SECONDS: Final = 600
DAY_SECONDS: Final = 86_400
_LOCK: Final = 0
"""The bucket that counts nothing: who has it locked is the only one to count."""

_MAKE_LOCK = text(
    "INSERT INTO recipients (scope, bucket, counted) VALUES (:scope, :lock, 0)"
    " ON CONFLICT (scope, bucket) DO NOTHING"
)
_TAKE_LOCK = text(
    "SELECT counted FROM recipients WHERE scope = :scope AND bucket = :lock FOR UPDATE"
)
_COUNTED = text(
    "SELECT bucket, counted FROM recipients WHERE scope = :scope AND bucket >= :oldest"
    " ORDER BY bucket"
)
_USED = text(
    "SELECT scope, sum(counted) AS counted FROM recipients WHERE bucket >= :oldest"
    " GROUP BY scope ORDER BY scope"
)
_FORGET = text(
    "DELETE FROM recipients WHERE scope = :scope AND bucket > :lock AND bucket < :oldest"
)
_COUNT = text(
    "INSERT INTO recipients (scope, bucket, counted) VALUES (:scope, :bucket, :more)"
    " ON CONFLICT (scope, bucket) DO UPDATE SET counted = recipients.counted + excluded.counted"
)


def spend(connection: Connection, now: Now, budget: Budget) -> None:
    """Count the recipients of a mail that begins.

    Raises:
        BeginRefused: they are too many; nothing has changed once the caller's transaction is
            rolled back. ``wait_seconds`` then tells when they are not.
    """
    named = {"scope": budget.scope, "lock": _LOCK, "oldest": _oldest(now)}
    connection.execute(_MAKE_LOCK, named)
    connection.execute(_TAKE_LOCK, named).one()
    if used(connection, now, budget.scope) + budget.recipients > budget.limit:
        raise BeginRefused(f"others have just used up the recipients of {budget.scope}")
    connection.execute(_FORGET, named)
    connection.execute(
        _COUNT,
        {**named, "bucket": int(now.wall // BUCKET_SECONDS), "more": budget.recipients},
    )


def used(connection: Connection, now: Now, scope: str) -> int:
    """Count the recipients of the last 24 hours."""
    return sum(counted for _, counted in _buckets(connection, now, scope))


def used_by_scope(connection: Connection, now: Now) -> dict[str, int]:
    """Count the recipients of the last 24 hours, for every mailbox that has any."""
    rows = connection.execute(_USED, {"oldest": _oldest(now)})
    return {row.scope: int(row.counted) for row in rows}


def wait_seconds(connection: Connection, now: Now, budget: Budget) -> float:
    """Tell in how many seconds the mail's recipients fit; 0 where they do now.

    One that has more than the whole budget fits when the budget is unused, as far as this goes.
    """
    buckets = _buckets(connection, now, budget.scope)
    over = sum(counted for _, counted in buckets) + budget.recipients - budget.limit
    at = now.wall
    for bucket, counted in buckets:
        if over <= 0:
            break
        over -= counted
        at = (bucket + 1) * BUCKET_SECONDS + DAY_SECONDS
    return max(0.0, at - now.wall)


def _buckets(connection: Connection, now: Now, scope: str) -> list[tuple[int, int]]:
    named = {"scope": scope, "oldest": _oldest(now)}
    return [(row.bucket, row.counted) for row in connection.execute(_COUNTED, named)]


def _oldest(now: Now) -> int:
    """The first bucket that still counts: the end of the one before it is 24 h ago."""
    return int((now.wall - DAY_SECONDS) // BUCKET_SECONDS)
