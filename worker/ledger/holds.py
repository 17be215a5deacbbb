"""Holds: why a server, an account, a credential or a scope gets nothing for now.

Nothing is moved and no attempt is counted while a target is held: the pump passes it by. What
servers make us hold (*feedback*), one job at a time, the next real one, tries out again. What a
person pauses (``pauses``) stands beside it on the same target, and only time or a person ends it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.ledger.clock import Now

FIRST_PROBE_SECONDS = 5.0
LONGEST_PROBE_SECONDS = 300.0
NOT_BEFORE_A_PERSON = 1e18
"""The ``next_probe_at`` of a hold that no probe ends."""


class Origin(StrEnum):
    """Who made a hold."""

    FEEDBACK = "feedback"
    OPERATOR = "operator"


class Hold(NamedTuple):
    """One reason why a target is held; times are Unix seconds.

    Attributes:
        held_by: the person who paused it; empty for feedback.
    """

    target: str
    reason: str
    since_at: float
    until_at: float | None
    next_probe_at: float
    failures: int
    probe_worker: str | None
    origin: str = Origin.FEEDBACK
    held_by: str = ""

    @property
    def is_pause(self) -> bool:
        """Whether a person made it, so that no probe ends it."""
        return self.origin == Origin.OPERATOR

    def is_over(self, now_wall: float) -> bool:
        """Whether its time is over (Unix seconds)."""
        return self.until_at is not None and self.until_at <= now_wall


# A person's pause comes last, so that it is the one kept by who keeps one hold a target.
_ALL = text(
    "SELECT target, reason, since_at, until_at, next_probe_at, failures, probe_worker, origin,"
    " held_by FROM hold ORDER BY target, origin"
)
_PUT = text(
    "INSERT INTO hold (target, origin, reason, since_at, next_probe_at, failures)"
    " VALUES (:target, 'feedback', :reason, :now, :probe, 1)"
    " ON CONFLICT (target, origin) DO UPDATE SET reason = :reason"
)
_FAILED = text(
    "UPDATE hold SET failures = failures + 1, probe_worker = NULL, probe_token = NULL,"
    " reason = :reason, next_probe_at = :probe WHERE target = :target AND probe_token = :token"
)
_FAILURES = text("SELECT failures FROM hold WHERE target = :target AND origin = 'feedback'")
# A pause that was put on the target since is never won, so that it is not overrun by a probe.
_PROBE = text(
    "UPDATE hold SET probe_worker = :worker, probe_token = :token"
    " WHERE target = :target AND origin = 'feedback' AND probe_worker IS NULL"
    " AND next_probe_at <= :now AND NOT EXISTS (SELECT 1 FROM hold other"
    " WHERE other.target = hold.target AND other.origin = 'operator'"
    " AND (other.until_at IS NULL OR other.until_at > :now))"
)
_UNPROBE = text(
    "UPDATE hold SET probe_worker = NULL, probe_token = NULL WHERE probe_token = :token"
)
_CLEAR = text("DELETE FROM hold WHERE target = :target AND origin = 'feedback'")
_CLEAR_PROBED = text("DELETE FROM hold WHERE probe_token = :token")
# A batch's pause ends when the last of its jobs is back in line (``batches``).
_EXPIRE = text(
    "DELETE FROM hold WHERE until_at IS NOT NULL AND until_at <= :now AND target NOT LIKE 'batch:%'"
)


def all_holds(connection: Connection) -> list[Hold]:
    """List every hold, those whose time is over too until housekeeping has ended them."""
    return [Hold(*row) for row in connection.execute(_ALL)]


def put_hold(
    connection: Connection,
    now: Now,
    target: str,
    reason: str,
    *,
    token: str = "",
    probe_after_seconds: float | None = None,
) -> None:
    """Hold a target, or tell that its probe (``token``) has failed and wait longer.

    Args:
        probe_after_seconds: the server's own wish for the first probe.
    """
    if token:
        failures = connection.execute(_FAILURES, {"target": target}).scalar() or 0
        wait = min(FIRST_PROBE_SECONDS * 2.0 ** min(failures, 16), LONGEST_PROBE_SECONDS)
        failed = connection.execute(
            _FAILED,
            {
                "target": target,
                "token": token,
                "reason": reason,
                "probe": now.wall + max(wait, probe_after_seconds or 0.0),
            },
        )
        if failed.rowcount:
            return
    first = now.wall + (probe_after_seconds or FIRST_PROBE_SECONDS)
    connection.execute(
        _PUT,
        {
            "target": target,
            "reason": reason,
            "now": now.wall,
            "probe": first,
        },
    )


def start_probes(
    connection: Connection, now: Now, targets: Sequence[str], *, worker: str, token: str
) -> bool:
    """Win the right to try out every one of these targets; none if one is not to be had."""
    won = 0
    for target in targets:
        won += connection.execute(
            _PROBE, {"target": target, "worker": worker, "token": token, "now": now.wall}
        ).rowcount
    if won < len(targets):
        end_probes(connection, token)
        return False
    return True


def end_probes(connection: Connection, token: str) -> None:
    """Give the right to probe back without a result."""
    connection.execute(_UNPROBE, {"token": token})


def clear_probed(connection: Connection, token: str) -> int:
    """End the holds that this attempt has shown to work again; how many."""
    return connection.execute(_CLEAR_PROBED, {"token": token}).rowcount


def clear_hold(connection: Connection, target: str) -> bool:
    """End a hold that feedback made; whether there was one."""
    return connection.execute(_CLEAR, {"target": target}).rowcount == 1


def retire(
    connection: Connection, _now: Now, *, outdated: Callable[[Iterable[str]], list[str]]
) -> list[str]:
    """End the holds of feedback on what is in force no more; which."""
    ended = outdated([hold.target for hold in all_holds(connection) if not hold.is_pause])
    for target in ended:
        clear_hold(connection, target)
    return ended


def expire_holds(connection: Connection, now: Now) -> int:
    """End the holds whose time is over; how many."""
    return connection.execute(_EXPIRE, {"now": now.wall}).rowcount
