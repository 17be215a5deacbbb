"""What happens to stamps when their clock starts anew, steps, or loses a part of its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.ledger.postgresql import patience
from worker.pace import WINDOW_SECONDS

if TYPE_CHECKING:
    from worker.ledger.clock import Clock, Now

REST_SECONDS = 60
"""How long one change of all slots may take: a day's may be a million."""
FAILOVER_GRACE_SECONDS = 30.0
"""Beyond the window: the begin of a mail that was on its way may be in the lost part."""

_KNOWN = text("SELECT boot_id FROM boot WHERE id = 1 FOR UPDATE")
_FIRST = text("INSERT INTO boot (id, boot_id) VALUES (1, :run) ON CONFLICT (id) DO NOTHING")
_NEXT = text("UPDATE boot SET boot_id = :run WHERE id = 1")
# A day's slot rests no whole day for it: it keeps its rest, moved on by the clock's step. One in DATA
# is left as it is, but waited for: its settle may be under way, with the time of before.
_REST = text(
    "UPDATE slot SET usable_steady = CASE WHEN in_data = 1 THEN usable_steady"
    " WHEN window_seconds > :minute AND usable_steady + :step > :now + :minute + :grace"
    " THEN usable_steady + :step WHEN window_seconds > :minute THEN :now + :minute + :grace"
    " ELSE :now + window_seconds + :grace END WHERE window_seconds > 0"
)
_ALL_SILENT = text("UPDATE worker SET beat_steady = -1e9")
_LAST_SEEN = text(
    "SELECT max(steady) FROM (SELECT max(beat_steady) AS steady FROM worker"
    " UNION ALL SELECT max(accepted_steady) FROM attempt"
    " UNION ALL SELECT max(usable_steady - window_seconds) FROM slot WHERE in_data = 0) AS seen"
)
_START_ANEW = (
    text(
        "UPDATE slot SET usable_steady = :now +"
        " CASE WHEN usable_steady > :last THEN usable_steady - :last ELSE 0 END WHERE in_data = 0"
    ),
    text("UPDATE scope SET next_steady = :now"),
    _ALL_SILENT,
    text("UPDATE attempt SET accepted_steady = NULL"),
)


def note_run(connection: Connection, now: Now, clock: Clock) -> bool:
    """Note which run of the clock this is; whether the workers of the former run are all dead.

    After a reboot (SQLite) the old stamps mean nothing on the new clock: every slot waits for what
    was left of its rest at the last moment that the old clock is known to have shown, and nothing
    of the workers of the former boot is alive. After a failover (PostgreSQL) the clock goes on, but
    the last commits may be lost with the old server: every slot waits a window and what a mail on
    its way may take; and whoever lives may have settled, or put back, what is in hand here again,
    so that all are buried, and end at their next heartbeat.
    """
    run = clock.run_id(connection)
    known = connection.execute(_KNOWN).scalar()
    if known is None:
        connection.execute(_FIRST, {"run": run})
        return False
    if known == run:
        return False
    connection.execute(_NEXT, {"run": run})
    if not clock.restarts:
        rest_all(connection, now, grace_seconds=FAILOVER_GRACE_SECONDS)
        connection.execute(_ALL_SILENT)
        return True
    last = connection.execute(_LAST_SEEN).scalar() or 0.0
    named = {"now": now.steady, "last": last}
    for statement in _START_ANEW:
        connection.execute(statement, {k: v for k, v in named.items() if f":{k}" in statement.text})
    return True


def rest_all(
    connection: Connection, now: Now, *, grace_seconds: float = 0.0, step_seconds: float = 0.0
) -> None:
    """Let every slot that is not in DATA rest a whole minute's window from now.

    Args:
        grace_seconds: for mail on its way that nothing is known of.
        step_seconds: how far the clock went ahead; a day's slots rest so much longer.
    """
    named = {"now": now.steady, "grace": grace_seconds, "step": step_seconds}
    with patience(connection, REST_SECONDS):
        connection.execute(_REST, {**named, "minute": WINDOW_SECONDS})
