"""A settings tree, worker processes, a receiving server that counts, and a load: one proof's stage.

The same code serves ``tests/chaos`` (a window of 5 s) and ``make prove`` (60 s). What is judged is
what the receiving server saw, not what the worker says of itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from producers import Email, Producer
from producers.topology import Topology
from tests.support.fleet_group import Host, WorkerGroup
from tests.support.fleet_measured import Measured, measure
from tests.support.rabbitmq import QUEUE_TYPE, free_port
from tests.support.smtp_sink import SmtpSink, read_record
from worker.demo.scenario import SYSTEM_TOML
from worker.ledger import overview, review
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from producers.batches import BatchReceipt
    from tests.support.smtp_sink import Arrival

REPLY_TIMEOUT = "6s"


@dataclass(frozen=True, slots=True)
class Company:
    """One company; ``limit`` emails in a window, None for no limit."""

    name: str
    limit: int | None


@dataclass(slots=True)
class Fleet:
    """Workers and a sink for a ``with`` block; nothing of it survives the block.

    Args:
        root: an empty folder.
        broker_url: ``embedded:``, or a RabbitMQ of the tests' own; then ``prefix`` is needed.
        window_seconds: how long a slot rests.
        delay_seconds: replies to mails come after a random time up to this, one in a hundred after
            ``slow_seconds``.
        wait_for_settings_seconds: how long a job waits for a company or user that is not there.
        reply_timeout: how long workers wait for the reply to a mail, as settings write it.
        ceiling: of the batches of all companies together; None: there is none.
        views: how many groups of workers there are, each with a settings tree of its own; the
            processes are divided among them, at least one to each.
        more_environ: further variables of the workers.
        run_by: a command that runs the workers' own, such as one that drops capabilities.
        hosts: where each group runs, in their order; absent: all here, each by ``run_by``.
        server_port: of another receiving server than the fleet's own, which then gets nothing.
    """

    root: Path
    companies: tuple[Company, ...]
    processes: int
    broker_url: str = "embedded:"
    prefix: str = ""
    window_seconds: float = 60.0
    delay_seconds: float = 0.0
    slow_seconds: float = 0.0
    on_unknown: str = "resend"
    grace_seconds: float = 10.0
    seed: int = 1
    wait_for_settings_seconds: float = 900.0
    reply_timeout: str = REPLY_TIMEOUT
    ceiling: int | None = None
    views: int = 1
    more_environ: dict[str, str] = field(default_factory=dict)
    run_by: tuple[str, ...] = ()
    hosts: tuple[Host, ...] = ()
    server_port: int = 0
    sink: SmtpSink = field(init=False)
    metrics_port: int = field(init=False)
    kills: int = 0
    _ledger: Ledger | None = None
    _groups: list[WorkerGroup] = field(default_factory=list)
    _quiet: threading.Event = field(default_factory=threading.Event)
    _killer: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        self.sink = SmtpSink(
            self.record,
            delay_seconds=self.delay_seconds,
            slow_seconds=self.slow_seconds,
            seed=self.seed,
        )
        self.sink.__enter__()
        self.metrics_port = free_port()
        self.write_settings()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._quiet.set()
        if self._killer is not None:
            self._killer.join()
        self.stop()
        if self._ledger is not None:
            self._ledger.close()
        self.sink.__exit__()

    @property
    def record(self) -> Path:
        """Where the sink writes what it accepted."""
        return self.root / "accepted.txt"

    @property
    def log(self) -> Path:
        """What the workers say."""
        return self.root / "worker.log"

    @property
    def _ledger_url(self) -> str:
        own = f"sqlite:///{self.root / 'state' / 'ledger.db'}"
        return self.more_environ.get("POSTMETER_LEDGER_URL", own)

    @property
    def _inbox_or_broker(self) -> str:
        own = f"embedded:{self.root / 'state' / 'inbox.db'}"
        return own if self.broker_url == "embedded:" else self.broker_url

    @property
    def ledger(self) -> Ledger:
        """The workers' ledger, to look at."""
        if self._ledger is None:
            self._ledger = Ledger(self._ledger_url)
        return self._ledger

    def write_settings(
        self, limits: dict[str, int | None] | None = None, view: int | None = None
    ) -> None:
        """Write the trees, with other limits for some companies if given.

        Args:
            view: the one group of workers that shall see it; else all do.
        """
        system = SYSTEM_TOML.format(
            port=self.server_port or self.sink.port,
            on_unknown=self.on_unknown,
            reply_timeout=self.reply_timeout,
        )
        if self.ceiling is not None:
            system += f"\n[limits]\nall_batch_emails_per_min = {self.ceiling}\n"
        for number in range(self.views) if view is None else (view,):
            tree = self._tree(number)
            self._put(tree / "system.toml", system)
            for company in self.companies:
                folder = tree / "companies" / company.name
                limit = (limits or {}).get(company.name, company.limit)
                pace = "" if limit is None else f"[smtp]\nbatch_emails_per_min = {limit}\n"
                self._put(
                    folder / "users" / "robot.toml",
                    f'[email]\naddress = "robot@{company.name}.example"\n',
                )
                self._put(folder / "company.toml", f"replicate_from_system = true\n{pace}")

    def _put(self, path: Path, text: str) -> None:
        """Put a whole file in place at once: a reader finds the old one or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self.root / "new-settings-file"
        new.write_text(text)
        new.replace(path)

    def _tree(self, view: int) -> Path:
        return self.root / ("settings" if view == 0 else f"settings-{view}")

    @property
    def environ(self) -> dict[str, str]:
        """The variables of workers and producers."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("POSTMETER_")}
        return {
            **inherited,
            "POSTMETER_SETTINGS": str(self.root / "settings"),
            "POSTMETER_STATE": str(self.root / "state"),
            "POSTMETER_BROKER_URL": self.broker_url,
            "POSTMETER_QUEUE_PREFIX": self.prefix,
            "POSTMETER_QUEUE_TYPE": QUEUE_TYPE,
            "POSTMETER_METRICS_PORT": str(self.metrics_port),
            "POSTMETER_GRACE_SECONDS": str(self.grace_seconds),
            "POSTMETER_LOG_FORMAT": "json",
            **self.more_environ,
        }

    def start(self) -> None:
        """Start the workers, if it has any."""
        self._groups = []
        for view in range(self.views if self.processes else 0):
            # What the processes of a host share, such as their metrics, is each group's own.
            state = self.root / ("state" if view == 0 else f"state-{view}")
            state.mkdir(exist_ok=True)
            own = {
                "POSTMETER_SETTINGS": str(self._tree(view)),
                "POSTMETER_STATE": str(state),
                "POSTMETER_BROKER_URL": self._inbox_or_broker,
                "POSTMETER_METRICS_PORT": str(free_port()),
                "POSTMETER_LEDGER_URL": self._ledger_url,
            }
            host = self.hosts[view] if self.hosts else Host(run_by=self.run_by)
            group = WorkerGroup(
                self.window_seconds,
                max(1, self.processes // self.views),
                self.wait_for_settings_seconds,
                run_by=host.run_by,
            )
            group.start({**self.environ, **(own if view else {}), **host.environ}, self.log)
            self._groups.append(group)

    @property
    def supervisor_pid(self) -> int:
        """The parent of the first group's processes."""
        return self._groups[0].supervisor.pid

    def children(self) -> list[int]:
        """The processes that the first group's supervisor runs now."""
        return self._groups[0].children()

    def stop(self, timeout_seconds: float = 40.0) -> int:
        """Ask the workers to stop; the exit code, of more groups the largest."""
        for group in self._groups:
            group.ask_to_stop()
        return max((group.wait(timeout_seconds) for group in self._groups), default=0)

    def producer(self) -> Producer:
        """A producer into this fleet's queues."""
        return Producer(self._inbox_or_broker, topology=Topology(self.prefix, QUEUE_TYPE))

    def publish_batch(self, company: str, count: int, first: int = 0) -> BatchReceipt:
        """Publish a batch to ``customer0@…``, ``customer1@…`` and so on."""
        with self.producer() as producer:
            emails = [
                Email(
                    to=f"customer{first + n}@mail.example",
                    subject=f"Invoice {first + n}",
                    text="Your invoice.\n" * 20,
                )
                for n in range(count)
            ]
            return producer.batch(emails, company=company)

    def worker_pids(self) -> list[int]:
        """The processes that deliver, as the ledger knows them."""
        return [row.pid for row in self.ledger.read(overview.all_workers) if row.alive]

    def signal_one(self, number: signal.Signals) -> int | None:
        """Send a signal to one delivering process, the one that has lived longest."""
        for pid in self.worker_pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            return pid
        return None

    def kill_supervisor(self) -> None:
        """End the parent of the first group's processes as a crash would."""
        self._groups[0].kill()

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return self.ledger.read(review.jobs_by_state)

    def wait_for_state(self, state: str, count: int, timeout_seconds: float) -> bool:
        """Wait until so many jobs are in a state; whether they are."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self.states().get(state, 0) >= count:
                return True
            time.sleep(0.05)
        return False

    def kill_every(self, seconds: float) -> None:
        """Kill one process with SIGKILL every so often, until the block ends or ``spare``."""

        def killing() -> None:
            while not self._quiet.wait(seconds):
                if self.signal_one(signal.SIGKILL) is not None:
                    self.kills += 1

        self._killer = threading.Thread(target=killing, daemon=True)
        self._killer.start()

    def spare(self) -> None:
        """Kill no more."""
        self._quiet.set()

    def arrivals(self) -> list[Arrival]:
        """What the receiving server has accepted so far."""
        return read_record(self.record) if self.record.exists() else []

    def open_jobs(self) -> int:
        """How many jobs the ledger has that are not final yet."""
        return sum(self.ledger.read(review.open_jobs_by_company).values())

    def wait_for(self, count: int, timeout_seconds: float) -> bool:
        """Wait until so many different mails have arrived; whether they have."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            # The record is long: it is read only where it can hold enough.
            if self.sink.count >= count and self._different() >= count:
                return True
            time.sleep(0.2)
        return False

    def _different(self) -> int:
        return len({a.message_id for a in self.arrivals()})

    def unknown_ids(self) -> frozenset[str]:
        """The Message-IDs of what the ledger called unknown at some time."""
        return self.ledger.read(review.message_ids_once_unknown)


__all__ = ["Company", "Fleet", "Measured", "measure"]
