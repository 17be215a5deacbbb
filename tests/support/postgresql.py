"""A private PostgreSQL: its own cluster, port and sockets, gone without a trace.

Used by tests and by the proof, so nothing here needs pytest. It never looks at
``POSTMETER_LEDGER_URL`` and never touches a cluster of the system.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from pathlib import Path
from typing import Any, ClassVar, Literal

import psycopg
from psycopg import sql

from tests.support.private_server import PrivateServer

MISSING = "no PostgreSQL here: install postgresql (Debian: apt-get install postgresql)"
StopMode = Literal["fast", "immediate"]
_PROGRAMS = "usr/lib/postgresql/*/bin/postgres"
_SIGNALS: dict[StopMode, signal.Signals] = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_CONFIG = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = {durable}
full_page_writes = {durable}
max_connections = 200
shared_buffers = 32MB
autovacuum = on
# In the cluster's folder, so that it goes with it.
dynamic_shared_memory_type = mmap
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
"""
# When the process that started the server is killed, its end of the pipe closes: clean up then.
# PostgreSQL's processes leave the group they were started in; its own immediate stop ends them.
_WATCHDOG = (
    'read -r _ || { kill -QUIT "$1"; n=0; while kill -0 "$1" && [ $n -lt 100 ]; '
    'do sleep 0.1; n=$((n+1)); done; rm -rf -- "$2"; } 2>/dev/null'
)


class PostgresServer(PrivateServer):
    """One PostgreSQL that belongs to the caller alone; a context manager.

    ``stop`` ends it politely or as a crash would; ``start`` brings it back on the same port with
    what it had committed. ``close`` also removes its folder.

    Args:
        durable: flush to the disk as in production; without it, a commit outlives a crash of the
            server but not one of the machine, and costs a fraction.
    """

    title: ClassVar[str] = "PostgreSQL"

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__("postgres")  # PostgreSQL refuses to run as root
        self._durable = durable

    @staticmethod
    def programs() -> Path | None:
        """The folder of the newest server's programs, or None."""
        found = [path.parent for path in Path("/").glob(_PROGRAMS)]
        return max(found, key=lambda folder: int(folder.parent.name), default=None)

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has a PostgreSQL to start."""
        return cls.programs() is not None

    def url(self, database: str) -> str:
        """Where a ledger connects to one of the databases, as SQLAlchemy writes it."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create a database that no other test uses; returns its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.query(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)),
        )
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database by its URL, whoever is still connected; none there is no matter."""
        name = sql.Identifier(url.rpartition("/")[2])
        self.query(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def query(
        self, statement: sql.SQL | sql.Composed, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; the rows, where it gives any.

        Raises:
            psycopg.Error: PostgreSQL refused it, or is not running.
        """
        with self._connect(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def stop(self, mode: StopMode = "fast", timeout_seconds: float = 30.0) -> None:
        """End the server: *fast* breaks off connections, *immediate* is a crash.

        What was committed is there after the next ``start``, which then has to recover it from
        the log where the stop was immediate.
        """
        if self._server is not None and mode == "fast":
            self._server.send_signal(_SIGNALS[mode])
            try:
                self._server.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                mode = "immediate"
        self._end(_SIGNALS[mode], timeout_seconds)

    def restart(self, mode: StopMode = "fast") -> None:
        """``stop`` and ``start``, on the same port."""
        self.stop(mode)
        self.start()

    def _command(self) -> list[str]:
        programs = self.programs()
        if programs is None:
            raise RuntimeError(MISSING)
        data = self.folder / "data"
        if not data.exists():
            self._prepare(programs, data)
        return [str(programs / "postgres"), "-D", str(data)]

    def _prepare(self, programs: Path, data: Path) -> None:
        self._hand_over()
        made = self._spawn(
            str(programs / "initdb"),
            f"--pgdata={data}",
            *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"),
            *("--no-sync", "--no-instructions"),
        )
        if made.wait(60.0):
            raise RuntimeError(f"{self.title} did not make its cluster: {self.log[-2000:]}")
        durable = "on" if self._durable else "off"
        with (data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(_CONFIG.format(port=self.port, folder=self.folder, durable=durable))

    def _watchdog_command(self) -> list[str]:
        return [_WATCHDOG, "watchdog", str(self.pid), str(self.folder)]

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname=database,
            connect_timeout=10,
            autocommit=True,
        )

    def _close(self) -> None:
        self.stop(timeout_seconds=10.0)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
        }
