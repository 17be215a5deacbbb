"""Opening the ledger's database, and running one transaction on it.

SQLite's driver would begin a transaction late and fail at once with ``SQLITE_BUSY_SNAPSHOT`` on
read-then-write, so every write transaction here begins with ``BEGIN IMMEDIATE``, and waiting for
the lock is ours: many short sleeps instead of the few long ones of SQLite's own busy handler.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from worker.errors import LedgerError, LedgerUnavailable, LedgerUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.ledger.clock import Clock, Now

T = TypeVar("T")
Operation = Callable[[Connection, "Now"], T]
"""One thing done in a transaction: it gets the connection and the time read inside it."""

LOCK_WAIT_SECONDS = 10.0
LOCK_SLEEP_SECONDS = 0.001
WINDOW_AFTER_BOOT_SECONDS = 60.0


def open_engine(url: str) -> Engine:
    """Open the database without touching its tables.

    Raises:
        LedgerUnusable: not an address of a database that this version can use.
        LedgerUnavailable: its folder cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerUnusable(
            f"POSTMETER_LEDGER_URL is not a database address: {url!r}; "
            "an example is sqlite:////var/lib/postmeter/ledger.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise LedgerUnusable(
            f"POSTMETER_LEDGER_URL names {parsed.get_backend_name()!r}; "
            "this version keeps its ledger in SQLite: sqlite:////path/ledger.db"
        )
    in_memory = parsed.database in {None, "", ":memory:"}
    if not in_memory:
        _make_folder(Path(str(parsed.database)).parent)
    engine = create_engine(
        parsed,
        poolclass=StaticPool if in_memory else NullPool,
        connect_args={"timeout": 0, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin_immediately)
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


def is_busy(error: DBAPIError) -> bool:
    """Tell a lock held by another process from every other failure."""
    return "locked" in str(error.orig) or "busy" in str(error.orig)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's errors into the ledger's.

    Raises:
        LedgerUnavailable: with the database's own words and what to look at.
    """
    try:
        yield
    except DBAPIError as error:
        raise LedgerUnavailable(
            f"the ledger cannot be used now: {error.orig}; "
            "look at its disk, its permissions and POSTMETER_LEDGER_URL"
        ) from error


def transact(connection: Connection, clock: Clock, operation: Operation[T]) -> T:
    """Run one operation in one transaction of its own, waiting for the lock.

    The time is read after the lock is held, or the wait for it would eat a stamp's margin.

    Raises:
        LedgerUnavailable: the lock was not to be had, or the database failed.
        LedgerError: what the operation itself raised; nothing was written.
    """
    with translated():
        begin(connection)
        try:
            result = operation(connection, clock.now())
            connection.commit()
        except BaseException:
            with suppress(DBAPIError):
                connection.rollback()
            raise
        return result


def begin(connection: Connection, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
    """Begin a write transaction, waiting for other processes' writes.

    Raises:
        DBAPIError: the lock was not to be had within ``wait_seconds``, or the database failed.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection.begin()
        except DBAPIError as error:
            connection.rollback()
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(LOCK_SLEEP_SECONDS)
        else:
            return


def note_boot(connection: Connection, now: Now, boot_id: str) -> bool:
    """Start the steady clock anew if the host was booted since; whether it was.

    The old stamps mean nothing on the new clock: every slot waits a whole window, and nothing of
    the workers of the former boot is alive.
    """
    known = connection.execute(text("SELECT boot_id FROM boot WHERE id = 1")).scalar()
    if known == boot_id:
        return False
    connection.execute(
        text(
            "INSERT INTO boot (id, boot_id) VALUES (1, :b) "
            "ON CONFLICT (id) DO UPDATE SET boot_id = :b"
        ),
        {"b": boot_id},
    )
    if known is None:
        return False
    connection.execute(
        text("UPDATE slot SET usable_steady = :u + window_seconds WHERE in_data = 0"),
        {"u": now.steady},
    )
    connection.execute(text("UPDATE scope SET next_steady = :u"), {"u": now.steady})
    connection.execute(text("UPDATE lane SET served_steady = 0"))
    connection.execute(text("UPDATE worker SET beat_steady = -1e9"))
    connection.execute(text("UPDATE attempt SET accepted_steady = NULL"))
    return True


__all__ = [
    "LedgerError",
    "Operation",
    "begin",
    "note_boot",
    "open_engine",
    "transact",
    "translated",
]
