"""SQLite as the ledger: one file, for the worker processes of one machine.

SQLite's driver would begin a transaction late and fail at once with ``SQLITE_BUSY_SNAPSHOT`` on
read-then-write, so every write transaction begins with ``BEGIN IMMEDIATE``, and waiting for the
lock is ours: many short sleeps instead of the few long ones of SQLite's own busy handler.
One writer at a time means that no row needs a lock: the statements' ``FOR UPDATE`` is left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool, StaticPool

from worker.errors import LedgerUnavailable
from worker.ledger.presence import may_make, watch_file
from worker.ledger.rewriting import leave_out

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

LOCK_WAIT_SECONDS = 10.0
_ROW_LOCK = re.compile(r" FOR (NO KEY UPDATE|UPDATE|KEY SHARE|SHARE)( SKIP LOCKED| NOWAIT)?")


def open_sqlite(url: URL, *, must_exist: bool = False) -> Engine:
    """Open the file, and make its folder, without touching its tables.

    Args:
        must_exist: make neither folder nor file.

    Raises:
        LedgerUnavailable: the folder cannot be made.
    """
    in_memory = url.database in {None, "", ":memory:"}
    path = Path(str(url.database))
    if not in_memory and not must_exist and may_make(path):
        _make_folder(path.parent)
    engine = create_engine(
        url,
        poolclass=StaticPool if in_memory else NullPool,
        connect_args={"timeout": 0, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin_immediately)
    if not in_memory:
        watch_file(engine, path, must_exist=must_exist)
    leave_out(engine, _ROW_LOCK)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger's folder {folder} cannot be made: {error.strerror}; "
            "look at its disk, its permissions and POSTMETER_LEDGER_URL"
        ) from error


def _prepare(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # the driver begins nothing by itself
    cursor = dbapi_connection.cursor()
    # Processes that open a new ledger together wait for each other; later the waiting is ours.
    cursor.execute(f"PRAGMA busy_timeout = {int(LOCK_WAIT_SECONDS * 1000)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA busy_timeout = 0")
    cursor.execute("PRAGMA synchronous = FULL")  # NORMAL forgets the last commits at power loss
    cursor.close()


def _begin_immediately(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return  # a reader: it must not hold the lock
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def is_busy(error: BaseException | None) -> bool:
    """Tell a lock held by another process from every other failure."""
    return "locked" in str(error) or "busy" in str(error)
