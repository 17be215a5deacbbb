"""Opening the ledger's database, and running one transaction on it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError

from worker.errors import LedgerError, LedgerUnavailable, LedgerUnusable
from worker.ledger.boot import rest_all
from worker.ledger.clock import HostClock
from worker.ledger.postgresql import DatabaseClock, may_try_again, open_postgresql
from worker.ledger.sqlite import LOCK_WAIT_SECONDS, is_busy, open_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.ledger.clock import Clock, Now

T = TypeVar("T")
Operation = Callable[[Connection, "Now"], T]
"""One thing done in a transaction: it gets the connection and the time read inside it."""

LOCK_SLEEP_SECONDS = 0.001
TRIES = 5
"""How often a transaction is done that met another one's locks the wrong way round."""


def open_engine(url: str, *, must_exist: bool = False) -> Engine:
    """Open the database without touching its tables.

    Args:
        must_exist: make no SQLite file where there is none, nor its folder.

    Raises:
        LedgerUnusable: not an address of a database that this version can use.
        LedgerUnavailable: its folder cannot be made.
    """
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except ArgumentError as error:
        raise LedgerUnusable(
            f"POSTMETER_LEDGER_URL is not a database address: {_masked(url)!r}; examples are"
            " sqlite:////var/lib/postmeter/ledger.db and postgresql://postmeter@db/postmeter"
        ) from error
    if kind == "sqlite":
        return open_sqlite(parsed, must_exist=must_exist)
    if kind in {"postgresql", "postgres"}:
        return open_postgresql(parsed)
    raise LedgerUnusable(
        f"POSTMETER_LEDGER_URL names {kind!r}; a ledger is kept in SQLite"
        " (sqlite:////path/ledger.db) or PostgreSQL (postgresql://user@host/name)"
    )


def clock_of(engine: Engine) -> Clock:
    """The clock that a database's stamps are kept in."""
    return HostClock.of_this_host() if engine.dialect.name == "sqlite" else DatabaseClock()


def _masked(url: str) -> str:
    return re.sub(r"://[^@/]*@", "://***@", url)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's errors into the ledger's.

    A value that the database cannot take is no outage: it stays the fault that it is.

    Raises:
        LedgerUnavailable: with the database's own words and what to look at.
    """
    try:
        yield
    except (DataError, IntegrityError):
        raise
    except DBAPIError as error:
        words = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        raise LedgerUnavailable(
            f"the ledger cannot be used now: {words[0]}; look at {_where_to_look(error)}"
        ) from error


def _is_of_sqlite(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("sqlite3")


def _where_to_look(error: DBAPIError) -> str:
    if _is_of_sqlite(error):
        return "its disk, its permissions and POSTMETER_LEDGER_URL"
    return "the PostgreSQL server, the user's rights and POSTMETER_LEDGER_URL"


def is_rolled_back(error: BaseException | None) -> bool:
    """Whether a commit that failed has surely written nothing.

    SQLite's are its own process's; a connection to PostgreSQL may break before the answer comes.
    """
    if not isinstance(error, DBAPIError):
        return False
    return not error.connection_invalidated and (may_try_again(error.orig) or _is_of_sqlite(error))


def transact(connection: Connection, clock: Clock, operation: Operation[T]) -> T:
    """Run one operation in one transaction of its own, waiting for locks.

    Raises:
        LedgerUnavailable: the lock was not to be had, or the database failed.
        LedgerError: what the operation itself raised; nothing was written.
    """
    with translated():
        for tries_left in reversed(range(TRIES)):
            begin(connection)
            try:
                result = operation(connection, read_time(connection, clock))
                connection.commit()
                clock.step_seconds = 0.0
            except BaseException as error:
                with suppress(DBAPIError):
                    connection.rollback()
                if isinstance(error, DBAPIError) and may_try_again(error.orig) and tries_left:
                    continue
                raise
            return result
    raise AssertionError("the last try returns or raises")


def read_time(connection: Connection, clock: Clock) -> Now:
    """Read the time for one transaction's stamps.

    It is read inside the transaction, or the wait for its lock would eat a stamp's margin. Where
    the clock has stepped ahead, every slot rests a whole window first, in this same transaction;
    so does the next one's, until one has committed.
    """
    now = clock.read(connection)
    if clock.step_seconds:
        rest_all(connection, now, step_seconds=clock.step_seconds)
    return now


def begin(connection: Connection, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
    """Begin a write transaction, waiting for other processes' writes where only one may write.

    Raises:
        DBAPIError: the lock was not to be had within ``wait_seconds``, or the database failed.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection.begin()
        except DBAPIError as error:
            connection.rollback()
            if not is_busy(error.orig) or time.monotonic() > deadline:
                raise
            time.sleep(LOCK_SLEEP_SECONDS)
        else:
            return


__all__ = ["LedgerError", "Operation", "begin", "clock_of", "open_engine", "transact", "translated"]
