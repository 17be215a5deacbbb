"""The database itself: addresses, locks, and a disk that will not take another byte."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.clock import FakeClock
from tests.support.ledger import new_job
from worker.errors import LedgerUnavailable, LedgerUnusable
from worker.ledger import deliveries, engine
from worker.ledger.engine import begin, open_engine, transact
from worker.ledger.upgrade import make_or_check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from worker.ledger.clock import Now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the ledger lies."""
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def connection(file: Path) -> Iterator[Connection]:
    """A ledger in a file, made and empty."""
    opened = open_engine(f"sqlite:///{file}")
    with opened.connect() as connection:
        transact(connection, FakeClock(), lambda c, _: make_or_check(c))
        yield connection
    opened.dispose()


def accept(connection: Connection, job_id: str, *, body: bytes = b"{}") -> bool:
    """Write one job."""
    job = new_job(job_id, body=body)
    return transact(connection, FakeClock(), lambda c, now: deliveries.accept(c, now, job))


def count(connection: Connection) -> int:
    """How many jobs there are."""
    found = transact(
        connection, FakeClock(), lambda c, _: c.execute(text("SELECT count(*) FROM delivery"))
    )
    return int(found.scalar_one())


def only_line(error: BaseException) -> str:
    """What a person reads, which must be one line."""
    assert "\n" not in str(error)
    return str(error)


def test_a_database_that_is_no_address_is_refused() -> None:
    """The sentence names the setting and shows an example."""
    with pytest.raises(LedgerUnusable) as refusal:
        open_engine("ledger.db")
    assert only_line(refusal.value) == (
        "POSTMETER_LEDGER_URL is not a database address: 'ledger.db'; examples are"
        " sqlite:////var/lib/postmeter/ledger.db and postgresql://postmeter@db/postmeter"
    )


def test_another_kind_of_database_is_refused() -> None:
    """And the password in its address does not come up."""
    with pytest.raises(LedgerUnusable) as refusal:
        open_engine("mysql://me:secret@db/ledger")
    assert only_line(refusal.value) == (
        "POSTMETER_LEDGER_URL names 'mysql'; a ledger is kept in SQLite"
        " (sqlite:////path/ledger.db) or PostgreSQL (postgresql://user@host/name)"
    )


def test_the_folder_is_made_and_the_commits_are_durable(connection: Connection, file: Path) -> None:
    """Write-ahead log, and every commit on the disk before it counts."""
    assert file.exists()
    pragmas = {
        name: connection.connection.cursor().execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_a_folder_that_cannot_be_made_is_said_in_a_line(tmp_path: Path) -> None:
    """A file in the way is the ledger's trouble, not a traceback."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(LedgerUnavailable, match=r"folder .* cannot be made") as trouble:
        open_engine(f"sqlite:///{tmp_path}/state/sub/ledger.db")
    only_line(trouble.value)


def test_a_failed_operation_writes_nothing(connection: Connection) -> None:
    """Everything that came before its error in the transaction is taken back."""

    def operation(c: Connection, now: Now) -> None:
        deliveries.accept(c, now, new_job("a"))
        raise LookupError("a fault")

    with pytest.raises(LookupError):
        transact(connection, FakeClock(), operation)
    assert count(connection) == 0


def test_the_time_is_read_after_the_lock_is_held(connection: Connection, file: Path) -> None:
    """A wait for the lock does not make a stamp older than its transaction."""
    clock = FakeClock()
    with sqlite3.connect(file, isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")

        def release() -> None:
            clock.advance(7)
            other.execute("COMMIT")

        timer = threading.Timer(0.05, release)
        timer.start()
        seen = transact(connection, clock, lambda _, now: now.steady)
        timer.join()
    other.close()
    assert seen == clock.steady


def test_a_lock_that_stays_is_given_up(connection: Connection, file: Path) -> None:
    """After the time to wait the caller is told, and the connection works again later."""
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(DBAPIError, match="locked"):
            begin(connection, wait_seconds=0.05)
        assert 0.05 <= time.monotonic() - started < 5
        other.execute("COMMIT")
    other.close()
    assert accept(connection, "a")


def test_a_lock_that_stays_is_the_ledgers_trouble(
    connection: Connection, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker hears of it as of every other trouble with the ledger, in one line."""
    monkeypatch.setattr(engine.begin, "__defaults__", (0.01,))
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="database is locked") as trouble:
            accept(connection, "a")
    other.close()
    only_line(trouble.value)


def test_a_full_disk_is_said_in_a_line_and_heals(connection: Connection) -> None:
    """Nothing of the job is written; once there is room, the same ledger goes on."""
    driver = connection.connection.cursor()
    pages = driver.execute("PRAGMA page_count").fetchone()[0]
    driver.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(LedgerUnavailable, match="database or disk is full") as trouble:
        accept(connection, "a", body=bytes(200_000))
    assert "look at its disk" in only_line(trouble.value)
    assert count(connection) == 0
    driver.execute("PRAGMA max_page_count = 1000000")
    assert accept(connection, "a", body=bytes(200_000))


def test_a_read_only_ledger_is_said_in_a_line(connection: Connection) -> None:
    """Nothing is written, and what was there is there still."""
    accept(connection, "a")
    connection.connection.cursor().execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable, match="readonly database") as trouble:
        accept(connection, "b")
    assert "its permissions" in only_line(trouble.value)
    connection.connection.cursor().execute("PRAGMA query_only = OFF")
    assert count(connection) == 1


def test_a_file_that_is_no_database_is_said_in_a_line(file: Path) -> None:
    """Another program's file is neither read nor overwritten."""
    file.parent.mkdir()
    file.write_text("not a database" * 100)
    opened = open_engine(f"sqlite:///{file}")
    with (
        pytest.raises(LedgerUnavailable, match="not a database") as trouble,
        engine.translated(),
        opened.connect() as connection,
    ):
        accept(connection, "a")
    only_line(trouble.value)
    opened.dispose()
    assert file.read_text().startswith("not a database")
