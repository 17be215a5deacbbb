"""The private PostgreSQL of the tests: databases apart, restarts, and nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.support.postgresql import PostgresServer, StopMode
from tests.support.waiting import gone, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgresql
CREATE = sql.SQL("CREATE TABLE jobs (id integer)")
INSERT = sql.SQL("INSERT INTO jobs VALUES (1)")
COUNT = sql.SQL("SELECT count(*) FROM jobs")
CHILDREN = sql.SQL("SELECT pid FROM pg_stat_activity")
OWNER = """\
from tests.support.postgresql import PostgresServer
from psycopg import sql
import signal

server = PostgresServer().start()
children = [row[0] for row in server.query(sql.SQL("SELECT pid FROM pg_stat_activity"))]
print(server.folder, server.pid, *children, flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of these tests' own: they restart it."""
    with PostgresServer() as own:
        yield own


def name_of(url: str) -> str:
    """The database that a URL names."""
    return url.rpartition("/")[2]


def test_databases_are_apart(postgresql: PostgresServer, postgresql_url: str) -> None:
    """What one test creates no other test sees, and a dropped database is gone."""
    other = postgresql.new_database()
    postgresql.query(CREATE, name_of(postgresql_url))
    postgresql.query(CREATE, name_of(other))
    postgresql.query(INSERT, name_of(other))
    assert postgresql.query(COUNT, name_of(postgresql_url)) == [(0,)]
    postgresql.drop_database(other)
    names = postgresql.query(sql.SQL("SELECT datname FROM pg_database"))
    assert (name_of(other),) not in names
    assert (name_of(postgresql_url),) in names


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_port_and_commits(server: PostgresServer, mode: StopMode) -> None:
    """After a polite stop and after a crash, what was committed is found at the same address."""
    url, port, pid = server.new_database(), server.port, server.pid
    server.query(CREATE, name_of(url))
    server.query(INSERT, name_of(url))
    server.restart(mode)
    assert (server.port, server.url(name_of(url))) == (port, url)
    assert server.pid != pid
    assert server.query(COUNT, name_of(url)) == [(1,)]


def test_close_leaves_nothing(postgresql: PostgresServer) -> None:
    """No process and no folder; another server goes on."""
    with PostgresServer(durable=True) as server:
        assert server.query(sql.SQL("SHOW fsync")) == [("on",)]
        pids = server.pid, *(row[0] for row in server.query(CHILDREN))
        folder = server.folder
        assert not gone(server.pid)
    wait_until(lambda: gone(*pids))
    assert not folder.exists()
    assert not gone(postgresql.pid)


def test_a_killed_owner_leaves_nothing(postgresql: PostgresServer) -> None:
    """A test run that is killed takes its server with it."""
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, *pids = owner.stdout.readline().split()
        assert not gone(int(pids[0]))
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: gone(*map(int, pids)) and not Path(folder).exists())
    assert not gone(postgresql.pid)
