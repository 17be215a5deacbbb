"""PostgreSQL as the ledger: for worker processes on several machines.

The statements are SQLite's, with row locks (READ COMMITTED). Time is the database's own
``clock_timestamp()``: ``now()`` is when the transaction began, stale by every wait for a lock, and
the workers' clocks need not agree. Dead connections are noticed within seconds, and what a stopped
process holds is let go by the server.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.pool import NullPool

from worker.errors import LedgerUnusable
from worker.ledger.clock import Now
from worker.ledger.rewriting import leave_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg.abc import RV, PQGen
    from sqlalchemy import URL

DRIVER = "postgresql+psycopg"
OLDEST = 130000
"""The oldest server, as ``server_version_num`` has it."""
CONNECT: dict[str, object] = {
    "application_name": "postmeter",
    "connect_timeout": 3,
    # After a failover the address may still lead to the old server, now a standby.
    "target_session_attrs": "read-write",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
"""libpq's parameters, where the address has none of its own (PostgreSQL 15, 34.1.2)."""
# A process stopped inside a transaction would keep its row locks: the server ends its session.
_SESSION = (
    "SET statement_timeout = '2s'; SET idle_in_transaction_session_timeout = '4s';"
    " SET timezone = 'UTC'; SET default_transaction_isolation = 'read committed';"
    " SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)
PATIENCE_SECONDS = 5.0
"""How long a server may say nothing: one that is stopped still has its kernel answer for it. With a
new connection it is less than a worker may be silent."""
AGAIN = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same transaction may well succeed now."""
STEP_SECONDS = 1.0
QUICK_SECONDS = 0.1
REFERENCE_SECONDS = 60.0
"""How long one reading is compared with the next ones: the two clocks may drift for longer."""

_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())::float8")
_RUN = text(
    "SELECT system_identifier || '-' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    " FROM pg_control_system()"
)
_INDEXED_BY = re.compile(r" INDEXED BY \w+")


def open_postgresql(url: URL) -> Engine:
    """Describe the database; nothing is connected yet."""
    given = {name: value for name, value in CONNECT.items() if name not in url.query}
    engine = create_engine(
        url.set(drivername=DRIVER),
        poolclass=NullPool,
        # Server-side plans would be made while the tables are empty, and kept while they grow.
        connect_args={**given, "prepare_threshold": None},
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _prepare)
    leave_out(engine, _INDEXED_BY)
    return engine


class ImpatientConnection(psycopg.Connection[Any]):
    """A connection that gives a silent server up.

    A statement's time-out is the server's to keep, and TCP only tells a dead host: a server that is
    stopped, or swapped out, would keep its caller for ever.
    """

    patience_seconds = PATIENCE_SECONDS

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run one exchange with the server.

        Raises:
            psycopg.OperationalError: it did not answer in time; the connection is closed.
        """
        patience_seconds = self.patience_seconds if timeout is None else timeout
        try:
            return super().wait(gen, interval, patience_seconds)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - the documented name of what it raises
            self.close()
            raise psycopg.OperationalError(
                f"the server did not answer within {patience_seconds:g} s"
            ) from None


def be_patient(connection: Connection, seconds: int) -> None:
    """Let the statements of a connection take longer: those that count, or make tables."""
    if connection.dialect.name != "postgresql":
        return
    connection.exec_driver_sql(f"SET statement_timeout = '{seconds}s'")
    driver = connection.connection.driver_connection
    assert isinstance(driver, ImpatientConnection)
    driver.patience_seconds = seconds + PATIENCE_SECONDS


@contextmanager
def patience(connection: Connection, seconds: int) -> Iterator[None]:
    """Let one transaction's statements take longer."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, ImpatientConnection):
        yield
        return
    before, driver.patience_seconds = driver.patience_seconds, seconds + PATIENCE_SECONDS
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{seconds}s'")
    try:
        yield
    finally:
        driver.patience_seconds = before


class _TextDumper(StrDumper):
    """Text as PostgreSQL takes it: a server's reply may hold a NUL, which no column can."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", "\ufffd"))


def _connect(_dialect: object, _record: object, args: Any, named: Any) -> ImpatientConnection:
    return ImpatientConnection.connect(*args, **named)


def _prepare(dbapi_connection: psycopg.Connection, _record: object) -> None:
    try:
        _make_ready(dbapi_connection)
    except BaseException:
        dbapi_connection.close()
        raise


def _make_ready(dbapi_connection: psycopg.Connection) -> None:
    dbapi_connection.adapters.register_dumper(str, _TextDumper)
    info = dbapi_connection.info
    if info.server_version < OLDEST:
        raise LedgerUnusable(
            f"the ledger's PostgreSQL is {info.server_version // 10000}; it must be 13 or newer"
        )
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise LedgerUnusable(
            f"the ledger's database has the encoding {encoding}; make one with UTF8"
        )
    with dbapi_connection.cursor() as cursor:
        cursor.execute(_SESSION)
    dbapi_connection.commit()


def may_try_again(error: BaseException | None) -> bool:
    """Whether the same transaction may succeed if it is done again."""
    return getattr(error, "sqlstate", None) in AGAIN


class DatabaseClock:
    """The database's clock, as one process knows it; dates and slots are kept in it alike.

    A backward step only delays. A forward step would free slots early, so every reading is compared
    with this host's own steady clock.

    Args:
        local: seconds on this host's steady clock, which runs on while the host sleeps.
    """

    restarts = False

    def __init__(
        self,
        local: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._local = local
        self._ahead_seconds = time.time() - local()
        self._reference: tuple[float, float] | None = None
        self.step_seconds = 0.0

    def now(self) -> Now:
        """What the database's clock says now, as far as this host can tell."""
        at = self._local() + self._ahead_seconds
        return Now(at, at)

    def read(self, connection: Connection) -> Now:
        """Read the database's clock."""
        before = self._local()
        at = float(connection.execute(_CLOCK).scalar_one())
        after = self._local()
        self._compare(before, at, after)
        self._ahead_seconds = at - after  # never ahead of it: who begins too early is refused
        return Now(at, at)

    def _compare(self, before: float, at: float, after: float) -> None:
        """Note a step: the clock moved on by more than can have passed since the reference."""
        if self._reference is not None:
            reference_before, reference_at = self._reference
            ahead_seconds = (at - reference_at) - (after - reference_before)
            if ahead_seconds > STEP_SECONDS:
                self.step_seconds += ahead_seconds
        is_old = self._reference is None or before - self._reference[0] > REFERENCE_SECONDS
        # What a slow reading is compared with would pass for so much of a step.
        is_quick = after - before < QUICK_SECONDS
        if self.step_seconds or self._reference is None or (is_old and is_quick):
            self._reference = (before, at)

    def run_id(self, connection: Connection) -> str:
        """The cluster and its timeline: a promoted standby begins a new one."""
        return str(connection.execute(_RUN).scalar_one())
