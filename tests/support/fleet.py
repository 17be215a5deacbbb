"""A settings tree, worker processes, a receiving server that counts, and a load: one proof's stage.

The same code serves ``tests/chaos`` (a window of 5 s) and ``make prove`` (60 s). What is judged is
what the receiving server saw, not what the worker says of itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from producers import Email, Producer
from producers.topology import Topology
from tests.support.rabbitmq import free_port
from tests.support.smtp_sink import SmtpSink, read_record
from worker.demo.figures import worst_window
from worker.demo.scenario import SYSTEM_TOML
from worker.ledger import overview, review
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
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
        more_environ: further variables of the workers.
        run_by: a command that runs the workers' own, such as one that drops capabilities.
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
    more_environ: dict[str, str] = field(default_factory=dict)
    run_by: tuple[str, ...] = ()
    sink: SmtpSink = field(init=False)
    metrics_port: int = field(init=False)
    kills: int = 0
    _ledger: Ledger | None = None
    _worker: subprocess.Popen[bytes] | None = None
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
    def ledger(self) -> Ledger:
        """The workers' ledger, to look at."""
        if self._ledger is None:
            own = f"sqlite:///{self.root / 'state' / 'ledger.db'}"
            self._ledger = Ledger(self.more_environ.get("POSTMETER_LEDGER_URL", own))
        return self._ledger

    def write_settings(self, limits: dict[str, int | None] | None = None) -> None:
        """Write the tree, with other limits for some companies if given."""
        tree = self.root / "settings"
        tree.mkdir(exist_ok=True)
        (tree / "system.toml").write_text(
            SYSTEM_TOML.format(
                port=self.sink.port,
                on_unknown=self.on_unknown,
                reply_timeout=REPLY_TIMEOUT,
            )
        )
        for company in self.companies:
            users = tree / "companies" / company.name / "users"
            users.mkdir(parents=True, exist_ok=True)
            limit = (limits or {}).get(company.name, company.limit)
            pace = "" if limit is None else f"[smtp]\nbatch_emails_per_min = {limit}\n"
            (users.parent / "company.toml").write_text(f"replicate_from_system = true\n{pace}")
            (users / "robot.toml").write_text(
                f'[email]\naddress = "robot@{company.name}.example"\n'
            )

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
            "POSTMETER_METRICS_PORT": str(self.metrics_port),
            "POSTMETER_GRACE_SECONDS": str(self.grace_seconds),
            "POSTMETER_LOG_FORMAT": "json",
            **self.more_environ,
        }

    def start(self) -> None:
        """Start the workers."""
        (self.root / "state").mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self._worker = subprocess.Popen(
                [
                    *self.run_by,
                    sys.executable,
                    "-m",
                    "tests.support.fleet_worker",
                    str(self.window_seconds),
                    str(self.processes),
                    str(self.wait_for_settings_seconds),
                ],
                cwd=Path(__file__).parents[2],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def children(self) -> list[int]:
        """The processes that the supervisor runs now."""
        assert self._worker is not None
        supervisor = self._worker.pid
        listed = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def stop(self, timeout_seconds: float = 40.0) -> int:
        """Ask the workers to stop; their exit code."""
        assert self._worker is not None
        if self._worker.poll() is None:
            self._worker.terminate()
            try:
                self._worker.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self._worker.pid, signal.SIGKILL)
        return self._worker.wait()

    def producer(self) -> Producer:
        """A producer into this fleet's queues."""
        url = self.broker_url
        if url == "embedded:":
            url = f"embedded:{self.root / 'state' / 'inbox.db'}"
        return Producer(url, topology=Topology(self.prefix))

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
        """End the parent of the worker processes as a crash would."""
        assert self._worker is not None
        self._worker.kill()
        self._worker.wait()

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
            if len({a.message_id for a in self.arrivals()}) >= count:
                return True
            time.sleep(0.2)
        return False

    def unknown_ids(self) -> frozenset[str]:
        """The Message-IDs of what the ledger called unknown at some time."""
        return self.ledger.read(review.message_ids_once_unknown)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the receiving server saw of one company's batch."""

    accepted: int
    different: int
    worst: int
    used: float
    doubled: int
    doubled_not_unknown: int
    unknown: int
    mean_reply_seconds: float


def measure(
    fleet: Fleet, company: Company, *, settle_seconds: float, until: float | None = None
) -> Measured:
    """Count what the sink recorded of one company.

    Args:
        settle_seconds: how long after the first acceptance the use of the limit is counted from.
        until: ``time.monotonic`` up to which it is counted; else up to the last acceptance.
    """
    own = fleet.arrivals()
    times = [a.at for a in own]
    assert company.limit is not None
    start = min(times) + settle_seconds
    end = max(times) if until is None else until
    counted = sum(start <= at < end for at in times)
    possible = company.limit * (end - start) / fleet.window_seconds
    copies = Counter(a.message_id for a in own)
    doubled = {message_id for message_id, n in copies.items() if n > 1}
    unknown = fleet.unknown_ids()
    return Measured(
        accepted=len(own),
        different=len(copies),
        worst=worst_window(times, fleet.window_seconds),
        used=counted / possible if possible else 0.0,
        doubled=len(doubled),
        doubled_not_unknown=len(doubled - unknown),
        unknown=len(unknown),
        mean_reply_seconds=0.99 * fleet.delay_seconds / 2 + 0.01 * fleet.slow_seconds,
    )
