"""Which database this run tests the ledger on: SQLite, or PostgreSQL with ``TEST_LEDGER=postgresql``.

Databases are made once by the migrations that every ledger gets, copied from that, and used again
with their rows deleted, so that thousands of ledgers cost little.
"""

from __future__ import annotations

import atexit
import functools
import os
import sqlite3
from typing import TYPE_CHECKING, Protocol

from psycopg import sql
from sqlalchemy import Connection, text

from tests.support.clock import FakeClock
from tests.support.postgresql import PostgresServer
from worker.ledger.engine import open_engine, transact
from worker.ledger.schema import metadata
from worker.ledger.upgrade import make_or_check

if TYPE_CHECKING:
    from sqlalchemy import Engine

ON_POSTGRESQL = os.environ.get("TEST_LEDGER", "sqlite") == "postgresql"


class Empty(Protocol):
    """A ledger without a row, and a connection to it."""

    connection: Connection

    def close(self) -> None:
        """Let go of it."""


class InMemory:
    """An SQLite ledger in memory."""

    def __init__(self) -> None:
        self._engine = open_engine("sqlite://")
        self.connection = self._engine.connect()
        _empty_tables().backup(_driver(self.connection))

    def close(self) -> None:
        """Let go of the memory."""
        self.connection.close()
        self._engine.dispose()


@functools.cache
def _empty_tables() -> sqlite3.Connection:
    engine = open_engine("sqlite://")
    with engine.connect() as connection:
        transact(connection, FakeClock(), lambda c, _: make_or_check(c))
        kept = sqlite3.connect(":memory:", check_same_thread=False)
        _driver(connection).backup(kept)
    engine.dispose()
    return kept


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


class OnServer:
    """A PostgreSQL ledger on this process's private server."""

    def __init__(self) -> None:
        self._url = _free.pop() if _free else _copy()
        self._closed = False
        self._engine = open_engine(self._url)
        self.connection = self._engine.connect()
        with self.connection.begin():
            for table in metadata.tables:
                self.connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of ours

    def close(self) -> None:
        """Leave the database to the next; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.connection.close()
        self._engine.dispose()
        _free.append(self._url)


_free: list[str] = []


@functools.cache
def own_server() -> PostgresServer:
    """This process's server; it ends with the process."""
    server = PostgresServer()
    server.__enter__()
    atexit.register(server.close)
    return server


@functools.cache
def _template() -> str:
    url = own_server().new_database()
    engine: Engine = open_engine(url)
    with engine.connect() as connection:
        transact(connection, FakeClock(), lambda c, _: make_or_check(c))
    engine.dispose()
    return url.rpartition("/")[2]


def _copy() -> str:
    name = f"{_template()}_{next(_numbers)}"
    own_server().query(
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(_template())
        )
    )
    return own_server().url(name)


_numbers = iter(range(10**9))


def empty_ledger() -> Empty:
    """A ledger without a row, on the database of this run."""
    return OnServer() if ON_POSTGRESQL else InMemory()
