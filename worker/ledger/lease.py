"""Whether a worker still has its lease: a worker that was found dead takes and begins nothing.

What it took after its row was deleted would name a worker that nobody reaps again. The lock (which
a heartbeat does not need) makes whoever buries the worker wait for what it is just doing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LEASE = text("SELECT 1 FROM worker WHERE id = :worker FOR KEY SHARE")


def has_lease(connection: Connection, worker: str) -> bool:
    """Whether the worker has not been found dead."""
    return connection.execute(_LEASE, {"worker": worker}).first() is not None
