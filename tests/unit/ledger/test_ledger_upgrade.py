"""Versions of the tables: made silently, and refused with a sentence where they do not fit.

On SQLite, and on PostgreSQL with ``TEST_LEDGER=postgresql``: what a database makes of the same
migrations is its own.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from tests.support.clock import FakeClock
from tests.support.databases import ON_POSTGRESQL, own_server
from worker.errors import LedgerUnusable
from worker.ledger import upgrade
from worker.ledger.engine import open_engine, transact
from worker.ledger.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


DEFINED_IN_SQLITE = text(
    "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
)
DEFINED_IN_POSTGRESQL = text("""
WITH tables AS (
    SELECT oid, relname, reloptions FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
)
SELECT relname, concat_ws(' ', attname, format_type(atttypid, atttypmod), attcollation,
        CASE WHEN attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(adbin, adrelid))
    FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL SELECT relname, conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
    FROM tables JOIN pg_constraint ON conrelid = tables.oid
UNION ALL SELECT relname, pg_get_indexdef(indexrelid)
    FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL SELECT relname, unnest(reloptions) FROM tables
""")
"""What PostgreSQL holds of each table: columns, constraints, indexes, storage parameters."""


@contextmanager
def empty_database() -> Iterator[Connection]:
    """A database without a table, of the kind of this run; gone afterwards."""
    url = own_server().new_database() if ON_POSTGRESQL else "sqlite://"
    engine = open_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()
    if ON_POSTGRESQL:
        own_server().drop_database(url)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """An empty database."""
    with empty_database() as connection:
        yield connection


def make(connection: Connection) -> None:
    """Make or check the tables as a worker does."""
    transact(connection, FakeClock(), lambda c, _: upgrade.make_or_check(c))


def change(connection: Connection, statement: str) -> None:
    """Write behind the worker's back."""
    transact(connection, FakeClock(), lambda c, _: c.execute(text(statement)).rowcount)


def test_an_empty_database_is_made_silently(connection: Connection) -> None:
    """A first start needs no command, and a second changes nothing."""
    make(connection)
    make(connection)
    there = transact(connection, FakeClock(), lambda c, _: upgrade.version_of(c))
    assert there == upgrade.newest_version()


def test_migrations_make_exactly_the_schema(connection: Connection) -> None:
    """What the migrations build and what ``schema.py`` says do not drift apart."""
    make(connection)

    def differences(c: Connection, _: object) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(c), metadata))

    assert transact(connection, FakeClock(), differences) == []


def test_migrations_write_the_same_sql_as_the_schema(connection: Connection) -> None:
    """Alembic compares neither defaults nor the WHERE of an index, so the SQL is compared here."""
    make(connection)
    with empty_database() as wanted:
        transact(wanted, FakeClock(), lambda c, _: metadata.create_all(c))
        made = definitions(connection)
        assert made == definitions(wanted)
    assert set(metadata.tables) <= set(made)


def definitions(connection: Connection) -> dict[str, list[str]]:
    """Read what the database holds of tables and indexes, clause by clause."""
    statement = DEFINED_IN_POSTGRESQL if ON_POSTGRESQL else DEFINED_IN_SQLITE
    rows = transact(connection, FakeClock(), lambda c, _: c.execute(statement).all())
    found: dict[str, list[str]] = {}
    for name, sql in rows:
        found.setdefault(name, []).extend(re.sub(r"\s+", " ", sql).split(", "))
    return {name: sorted(clauses) for name, clauses in found.items()}


def test_an_older_ledger_is_refused_with_the_command(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that needs newer tables changes nothing by itself; it says what to run."""
    make(connection)
    monkeypatch.setattr(upgrade, "newest_version", lambda: "9999")
    with pytest.raises(LedgerUnusable) as refusal:
        make(connection)
    assert str(refusal.value) == (
        "the ledger's tables are of version 0001, this worker needs 9999;"
        " stop the workers, back it up and run: postmeter ledger upgrade"
    )


def test_a_newer_ledger_is_refused(connection: Connection) -> None:
    """An older worker does not touch tables that it does not know, nor does its `upgrade`."""
    make(connection)
    change(connection, "UPDATE alembic_version SET version_num = '9999'")
    newest = upgrade.newest_version()
    for ask in (make, lambda c: transact(c, FakeClock(), lambda c, _: upgrade.upgrade(c))):
        with pytest.raises(LedgerUnusable) as refusal:
            ask(connection)
        assert str(refusal.value) == (
            f"the ledger's tables are of version 9999, newer than this worker ({newest});"
            " install the newer Postmeter"
        )


def test_another_programs_database_is_refused_untouched(connection: Connection) -> None:
    """Postmeter adds no tables to a database that is not its own."""
    change(connection, "CREATE TABLE invoices (id INTEGER)")
    with pytest.raises(LedgerUnusable) as refusal:
        make(connection)
    assert str(refusal.value) == (
        "POSTMETER_LEDGER_URL is a database of another program (it has 'invoices');"
        " give Postmeter one of its own"
    )
    names = transact(connection, FakeClock(), lambda c, _: inspect(c).get_table_names())
    assert names == ["invoices"]


def test_upgrade_tells_from_where_to_where(connection: Connection) -> None:
    """The command reports both versions, and is safe to repeat."""
    newest = upgrade.newest_version()
    steps = [transact(connection, FakeClock(), lambda c, _: upgrade.upgrade(c)) for _ in range(2)]
    assert steps == [(None, newest), (newest, newest)]
