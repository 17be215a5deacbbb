"""``make scale``: 1, 2 and 4 processes, and hosts of their own: throughput, connections, load.

Each row has a RabbitMQ and a PostgreSQL of its own that flushes to the disk (or SQLite and a file),
workers, and Postfix's ``smtp-sink``, so that the receiving server costs little. First a batch
without a limit is published and sent; then one with a limit, whose windows a counting server judges.
All parts share this machine's cores: what each costs is told apart by its processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from psycopg import sql

from tests.prove.capacity import PARTS, Measured
from tests.support import namespaces
from tests.support.fleet import Company, Fleet, measure
from tests.support.fleet_group import Host
from tests.support.postgresql import PostgresServer
from tests.support.private_server import free_port, wait_for_port
from tests.support.processes import cpu_seconds, descendants, rss_mb, sockets_of
from tests.support.rabbitmq import RabbitServer, unique_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAILS = 6_000
FIRST, LAST = 0.2, 0.9
"""Between these shares of the batch it is measured."""
ROW_SECONDS = 240.0
LIMIT, LIMITED_MAILS, WINDOW_SECONDS = 100, 300, 10.0
NEEDED = ("nft", "smtp-sink")
_COMMITS = sql.SQL("SELECT xact_commit FROM pg_stat_database WHERE datname = {}")
_SESSIONS = sql.SQL("SELECT count(*) FROM pg_stat_activity WHERE datname = {}")
_SIZE = sql.SQL("SELECT pg_database_size({})")


@dataclass(frozen=True, slots=True)
class Row:
    """What one row measures."""

    ledger: str
    processes: int
    hosts: int = 1

    @property
    def name(self) -> str:
        """As the command line and the results call it."""
        return f"{self.ledger}-{self.processes}" + (f"-{self.hosts}hosts" if self.hosts > 1 else "")


ROWS = (
    *(Row("sqlite", n) for n in (1, 2, 4)),
    *(Row("postgresql", n) for n in (1, 2, 4)),
    *(Row("postgresql", n, hosts=2) for n in (2, 4)),
)


class Look(NamedTuple):
    """The state of one moment."""

    at: float
    sent: int
    cpu: Mapping[str, float]
    commits: int


class Stage:
    """The servers of one row, and how they are reached. A context manager.

    Raises:
        RuntimeError: a program is missing, or this is not root.
    """

    def __init__(self, row: Row, folder: Path, mails: int) -> None:
        self._row = row
        self._folder = folder
        self._mails = mails
        self._stack = ExitStack()
        self.postgresql: PostgresServer | None = None
        self.rabbitmq: RabbitServer | None = None
        self.database = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.sink_port = free_port()
            self.sink = _run(
                stack, "smtp-sink", "-u", "nobody", f"127.0.0.1:{self.sink_port}", "1000"
            )
            wait_for_port(self.sink_port, 10.0)
            if self._row.ledger == "postgresql":
                self.postgresql = stack.enter_context(PostgresServer(durable=True))
                self.rabbitmq = stack.enter_context(RabbitServer())
                self.url = self.postgresql.new_database()
                self.database = self.url.rpartition("/")[2]
            hosts = [self._host(stack, n) for n in range(self._row.hosts)]
            own = {"POSTMETER_LEDGER_URL": self.url} if self.postgresql else {}
            self.fleet = stack.enter_context(
                Fleet(
                    self._folder / "fleet",
                    (Company("acme", None),),
                    processes=self._row.processes,
                    views=self._row.hosts,
                    hosts=tuple(hosts),
                    broker_url=self.rabbitmq.url if self.rabbitmq else "embedded:",
                    prefix=unique_prefix("scale") if self.rabbitmq else "",
                    server_port=self.sink_port,
                    more_environ=own,
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _host(self, stack: ExitStack, number: int) -> Host:
        """This machine, or a network of its own whose link leads to the servers."""
        if self._row.hosts == 1:
            return Host()
        assert self.postgresql is not None
        assert self.rabbitmq is not None
        before, here = stack.enter_context(namespaces.namespace(20 + number))
        ports = (self.sink_port, self.postgresql.port, self.rabbitmq.port)
        stack.enter_context(namespaces.led_to_loopback(here, ports))
        return Host(
            {
                "POSTMETER_LEDGER_URL": self.url.replace("127.0.0.1", here),
                "POSTMETER_BROKER_URL": self.rabbitmq.url.replace("127.0.0.1", here),
                "POSTMETER_SYSTEM__SMTP__SERVER_ADDRESS": here,
            },
            run_by=tuple(before),
        )

    def workers(self) -> list[int]:
        """Every process of every ``postmeter worker``."""
        return [pid for group in self.fleet._groups for pid in descendants(group.supervisor.pid)]

    def look(self) -> Look:
        """How far it is, and what it has cost so far."""
        servers = {
            "worker": self.workers(),
            "ledger": descendants(self.postgresql.pid) if self.postgresql else [],
            "broker": descendants(self.rabbitmq.pid) if self.rabbitmq else [],
            "server": descendants(self.sink.pid),
        }
        cpu = {part: sum(map(cpu_seconds, servers[part])) for part in PARTS}
        return Look(time.monotonic(), self.fleet.states().get("sent", 0), cpu, self._commits())

    def _commits(self) -> int:
        return self._ask(_COMMITS)

    def sessions(self) -> int:
        """Sessions of PostgreSQL without the one that looks on."""
        return max(0, self._ask(_SESSIONS) - 1)

    def size_bytes(self) -> int:
        """How large the ledger is."""
        if self.postgresql is not None:
            return self._ask(_SIZE)
        state = self._folder / "fleet" / "state"
        return sum(path.stat().st_size for path in state.glob("ledger.db*"))

    def _ask(self, question: sql.SQL) -> int:
        if self.postgresql is None:
            return 0
        asked = question.format(sql.Literal(self.database))
        return int(self.postgresql.query(asked, self.database)[0][0])

    def broker_connections(self) -> int:
        """Connections to RabbitMQ that it knows of."""
        if self.rabbitmq is None:
            return 0
        listed = self.rabbitmq.ctl("list_connections", "--no-table-headers", "pid")
        return sum(line.startswith("<") for line in listed.splitlines())

    def wait_for_sent(self, count: int) -> Look:
        """Look again and again until so many are sent."""
        deadline = time.monotonic() + ROW_SECONDS
        while (look := self.look()).sent < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{look.sent} of {count} mails were sent in {ROW_SECONDS:g} s")
            time.sleep(0.2)
        return look


def run_row(row: Row, folder: Path, mails: int) -> Measured:
    """Measure one row."""
    with Stage(row, folder / row.name, mails) as stage:
        fleet = stage.fleet
        _wait_for_workers(fleet)
        before = stage.size_bytes()
        fleet.publish_batch("acme", mails)
        first = stage.wait_for_sent(int(mails * FIRST))
        last = stage.wait_for_sent(int(mails * LAST))
        connections = sockets_of(stage.sink.pid) - 1
        sessions = stage.sessions()
        memory = max(map(rss_mb, stage.workers()))
        stage.wait_for_sent(mails)
        grown = stage.size_bytes() - before
        broker = stage.broker_connections()
    limited = _limited(row, folder / f"{row.name}-limited")
    sent, seconds = last.sent - first.sent, last.at - first.at
    spent = {part: last.cpu[part] - first.cpu[part] for part in PARTS}
    return Measured(
        ledger=row.ledger,
        processes=row.processes,
        hosts=row.hosts,
        per_second=round(sent / seconds, 1),
        cpu_ms={part: round(1000 * spent[part] / sent, 3) for part in PARTS},
        cores_used=round(sum(spent.values()) / seconds, 2),
        smtp_connections=connections,
        ledger_connections=sessions,
        broker_connections=broker,
        commits=round((last.commits - first.commits) / sent, 2),
        rss_mb=round(memory, 1),
        bytes_an_email=round(grown / mails),
        worst=limited.worst,
        limit=LIMIT,
        used=round(limited.used, 4),
    )


class Limited(NamedTuple):
    """What a counting server saw of the same processes under a limit."""

    worst: int
    used: float


def _limited(row: Row, folder: Path) -> Limited:
    company = Company("acme", LIMIT)
    with ExitStack() as stack:
        more = {}
        if row.ledger == "postgresql":
            server = stack.enter_context(PostgresServer())
            more["POSTMETER_LEDGER_URL"] = server.new_database()
        fleet = stack.enter_context(
            Fleet(
                folder,
                (company,),
                processes=row.processes,
                window_seconds=WINDOW_SECONDS,
                more_environ=more,
            )
        )
        _wait_for_workers(fleet)
        fleet.publish_batch("acme", LIMITED_MAILS)
        if not fleet.wait_for(LIMITED_MAILS, ROW_SECONDS):
            raise TimeoutError("mails are missing under the limit")
        seen = measure(fleet, company, settle_seconds=WINDOW_SECONDS)
        return Limited(seen.worst, seen.used)


def _wait_for_workers(fleet: Fleet) -> None:
    deadline = time.monotonic() + 60.0
    while len(fleet.worker_pids()) < fleet.processes:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {fleet.processes} workers in 60 s; see {fleet.log}")
        time.sleep(0.1)


def _run(stack: ExitStack, *command: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def measure_rows(rows: tuple[Row, ...], mails: int) -> Iterator[Measured]:
    """Measure them one by one; each alone has the machine."""
    folder = Path(tempfile.mkdtemp(prefix="postmeter-scale-"))
    try:
        for number, row in enumerate(rows, 1):
            print(f"{number} of {len(rows)}: {row.name}", file=sys.stderr, flush=True)
            yield run_row(row, folder, mails)
    finally:
        shutil.rmtree(folder)


def main() -> int:
    """Measure, and print a line or a JSON document for each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="", help="names, as postgresql-2; else all")
    parser.add_argument("--mails", type=int, default=MAILS, help=f"of a batch; else {MAILS}")
    parser.add_argument("--page", type=Path, help="JSON lines to make docs/capacity.md of")
    parser.add_argument("--json", action="store_true", help="one JSON document a row")
    options = parser.parse_args()
    if options.page is not None:
        from tests.prove.capacity_page import write_page

        write_page(options.page)
        return 0
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or not namespaces.available():
        print(f"needs root, network namespaces and {', '.join(NEEDED)}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as for Ctrl-C
    wanted = options.rows.split(",") if options.rows else [row.name for row in ROWS]
    for measured in measure_rows(tuple(r for r in ROWS if r.name in wanted), options.mails):
        told = {**asdict(measured), "cores": len(os.sched_getaffinity(0))}
        if options.json:
            print(json.dumps(told), flush=True)
        else:
            print(f"{measured.per_second:8.1f} a second  {told}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell tells it
