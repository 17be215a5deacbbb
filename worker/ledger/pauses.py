"""Pauses: a person says that a target gets nothing, for some time or until further notice.

A pause stands beside what feedback holds on the same target. No probe tries it out; it ends at its
time, or when a person ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.ledger.holds import NOT_BEFORE_A_PERSON, all_holds

if TYPE_CHECKING:
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold

# A second word on the same target counts, but the target is paused since the first.
_PAUSE = text(
    "INSERT INTO hold (target, origin, held_by, reason, since_at, until_at, next_probe_at,"
    " failures) VALUES (:target, 'operator', :held_by, :reason, :now, :until, :never, 0)"
    " ON CONFLICT (target, origin) DO UPDATE SET held_by = :held_by, reason = :reason,"
    " until_at = :until,"
    " since_at = CASE WHEN hold.until_at <= :now THEN :now ELSE hold.since_at END"
)
_END = text("DELETE FROM hold WHERE target = :target")


def sentence(held_by: str, words: str) -> str:
    """The reason of a pause: ``paused by ann: the server is being moved``."""
    return f"paused by {held_by}" + (f": {words}" if words else "")


def pause(
    connection: Connection,
    now: Now,
    target: str,
    *,
    held_by: str,
    words: str = "",
    until_at: float | None = None,
) -> None:
    """Let a target get nothing from now on.

    Args:
        held_by: the person's name.
        words: the person's reason.
        until_at: Unix time when the pause ends by itself; None for when a person ends it.
    """
    connection.execute(
        _PAUSE,
        {
            "target": target,
            "held_by": held_by,
            "reason": sentence(held_by, words),
            "now": now.wall,
            "until": until_at,
            "never": NOT_BEFORE_A_PERSON,
        },
    )


def pause_on(connection: Connection, now: Now, target: str) -> Hold | None:
    """The pause in force on a target, if there is one."""
    return next(
        (
            hold
            for hold in all_holds(connection)
            if hold.target == target and hold.is_pause and not hold.is_over(now.wall)
        ),
        None,
    )


def resume(connection: Connection, now: Now, target: str) -> list[Hold]:
    """End everything that holds a target, feedback's holds too; what was in force."""
    ended = [hold for hold in all_holds(connection) if hold.target == target]
    connection.execute(_END, {"target": target})
    return [hold for hold in ended if not hold.is_over(now.wall)]
