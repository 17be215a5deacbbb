"""The ledger away in every way: nothing is sent unrecorded, and all resumes without a restart."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.full_disk import KINDS, open_disk
from tests.support.office import open_office
from tests.support.outages import (
    Load,
    all_is_sent,
    frozen,
    moved_away,
    nothing_leaves,
    told_once,
)
from tests.support.postgresql import MISSING, PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.office import Office

LONGER_THAN_A_LEASE_SECONDS = 12.0


def goes_through(office: Office, away: AbstractContextManager[None], reason: str) -> None:
    """Load before, during and after an outage; the same processes end it that began it."""
    pids = office.fleet.worker_pids()
    with Load(office) as load:
        load.wait_for(20)
        with away:
            nothing_leaves(office, load, reason)
        load.wait_for(20)
    all_is_sent(office, load)
    told_once(office)
    assert office.fleet.worker_pids() == pids


@contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """Let another process hold the lock."""
    with closing(sqlite3.connect(ledger, isolation_level=None, timeout=30.0)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outage", "reason"), [(locked, "database is locked"), (moved_away, "was removed")]
)
def test_sqlite_locked_or_removed(
    tmp_path: Path, outage: Callable[[Path], AbstractContextManager[None]], reason: str
) -> None:
    """Another process holds the lock for long, or the file is gone: SQLite itself would write on."""
    with open_office(tmp_path / "office", processes=2) as office:
        goes_through(office, outage(tmp_path / "office" / "state" / "ledger.db"), reason)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sqlite_on_a_full_disk(tmp_path: Path, kind: str) -> None:
    """No row can be written while jobs come in; with room again each is sent, once."""
    with open_disk(kind, tmp_path / "disk") as disk:
        url = f"sqlite:///{disk.folder / 'ledger.db'}"
        with open_office(
            tmp_path / "office", processes=2, more_environ={"POSTMETER_LEDGER_URL": url}
        ) as office:

            @contextmanager
            def full() -> Iterator[None]:
                disk.fill(office.fleet)
                yield
                disk.free(office.fleet)

            goes_through(office, full(), disk.reason)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may stop; skips where there is none, but fails in CI."""
    if not PostgresServer.available():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with PostgresServer() as running:
        yield running


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    """Let nobody listen."""
    server.stop("immediate")
    yield
    server.start()


@contextmanager
def silent(server: PostgresServer) -> Iterator[None]:
    """Let the server say nothing, for longer than a worker's lease."""
    with frozen(server):
        yield
        time.sleep(LONGER_THAN_A_LEASE_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outage", "reason"),
    [(stopped, "the ledger cannot be used now"), (silent, "did not answer within")],
)
def test_postgresql_stopped_or_frozen(
    tmp_path: Path,
    server: PostgresServer,
    outage: Callable[[PostgresServer], AbstractContextManager[None]],
    reason: str,
) -> None:
    """A server that crashed, or that stands still behind a kernel that answers for it."""
    environ = {"POSTMETER_LEDGER_URL": server.new_database()}
    with open_office(tmp_path / "office", processes=2, more_environ=environ) as office:
        goes_through(office, outage(server), reason)


@pytest.mark.slow
def test_postgresql_restarted(tmp_path: Path, server: PostgresServer) -> None:
    """Every connection breaks at once, again and again: each mail is sent once, recorded."""
    environ = {"POSTMETER_LEDGER_URL": server.new_database()}
    with open_office(tmp_path / "office", processes=2, more_environ=environ) as office:
        pids = office.fleet.worker_pids()
        with Load(office) as load:
            for _ in range(3):
                load.wait_for(20)
                server.restart()
            load.wait_for(20)
        all_is_sent(office, load)
        assert office.fleet.worker_pids() == pids
