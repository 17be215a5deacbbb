"""Versions of the tables: made silently, and refused with a sentence where they do not fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from tests.support.clock import FakeClock
from worker.errors import LedgerUnusable
from worker.ledger import upgrade
from worker.ledger.engine import open_engine, transact
from worker.ledger.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


@pytest.fixture
def connection() -> Iterator[Connection]:
    """An empty database."""
    engine = open_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


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
    other = open_engine("sqlite://")
    with other.connect() as wanted:
        transact(wanted, FakeClock(), lambda c, _: metadata.create_all(c))
        assert definitions(connection) == definitions(wanted)
    other.dispose()


def definitions(connection: Connection) -> dict[str, list[str]]:
    """Read what the database holds of tables and indexes, clause by clause."""
    statement = text(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
    )
    rows = transact(connection, FakeClock(), lambda c, _: c.execute(statement).all())
    return {name: sorted(re.sub(r"\s+", " ", sql).split(", ")) for name, sql in rows}


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
    """An older worker does not touch tables that it does not know."""
    make(connection)
    change(connection, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerUnusable) as refusal:
        make(connection)
    newest = upgrade.newest_version()
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
