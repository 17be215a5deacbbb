"""The story of the demo: settings, mails, two workers, one of them killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producers import Email, Producer
from worker.demo.figures import Expectation
from worker.ledger import overview, review
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REPLY_TIMEOUT = "4s"
"""How long an unknown rests before it is sent again: minutes in service, seconds in a demo."""
STOP_SECONDS = 20.0

SYSTEM_TOML = """\
# Written by `postmeter demo`. The keys are those of the settings page.
[smtp]
server_address = "127.0.0.1"
port = {port}
transport_security = "none"
default_user = "robot"

[delivery]
on_unknown = "{on_unknown}"
reply_timeout = "{reply_timeout}"
"""
COMPANY_TOML = """\
name = "{name}"
replicate_from_system = true

[smtp]
batch_emails_per_min = {limit}
"""
USER_TOML = """\
[email]
address = "robot@{company}.example"
display_name = "{name}"
"""


@dataclass(frozen=True, slots=True)
class Company:
    """One company of the demo."""

    company: str
    name: str
    limit: int
    mails: int


COMPANIES = (
    Company("acme", "Acme (NZ) Ltd", limit=60, mails=80),
    Company("beta", "Beta Ltd", limit=240, mails=300),
)


@dataclass(slots=True)
class Demo:
    """Everything that runs while the demo runs; ``stop`` ends all of it.

    Args:
        root: an empty folder for settings, state and mails.
        broker_url: ``embedded:`` or the address of a RabbitMQ that may be used.
        environ: the variables that the worker process gets besides.
    """

    root: Path
    broker_url: str
    smtp_port: int
    metrics_port: int
    environ: Mapping[str, str]
    workers: int = 2
    singles: dict[str, int] = field(default_factory=dict)
    killed_pid: int | None = None
    _worker: subprocess.Popen[bytes] | None = None
    _ledger: Ledger | None = None
    _quiet: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def state(self) -> Path:
        """Where ledger and inbox lie."""
        return self.root / "state"

    @property
    def log(self) -> Path:
        """What the worker says."""
        return self.root / "worker.log"

    def write_settings(self) -> Path:
        """Write the settings tree."""
        tree = self.root / "settings"
        tree.mkdir(parents=True)
        (tree / "users").mkdir()
        (tree / "system.toml").write_text(
            SYSTEM_TOML.format(
                port=self.smtp_port, on_unknown="resend", reply_timeout=REPLY_TIMEOUT
            )
        )
        for one in COMPANIES:
            users = tree / "companies" / one.company / "users"
            users.mkdir(parents=True)
            (users.parent / "company.toml").write_text(
                COMPANY_TOML.format(name=one.name, limit=one.limit)
            )
            (users / "robot.toml").write_text(USER_TOML.format(company=one.company, name=one.name))
        return tree

    def start(self) -> None:
        """Start the workers, publish the batches, and begin with single sends."""
        tree = self.write_settings()
        self.state.mkdir()
        variables = {
            **{k: v for k, v in self.environ.items() if not k.startswith("POSTMETER_")},
            **self.variables(tree),
        }
        with self.log.open("wb") as log:
            self._worker = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "worker", "worker", "--processes", str(self.workers)],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on, in order
            )
        self._ledger = Ledger(f"sqlite:///{self.state / 'ledger.db'}")
        with self._producer() as producer:
            for one in COMPANIES:
                producer.batch((_invoice(one, n) for n in range(one.mails)), company=one.company)
        self._thread = threading.Thread(target=self._send_singles, daemon=True)
        self._thread.start()

    def variables(self, tree: Path) -> dict[str, str]:
        """What the worker's environment says; also what to export to look at it oneself."""
        return {
            "POSTMETER_SETTINGS": str(tree),
            "POSTMETER_STATE": str(self.state),
            "POSTMETER_BROKER_URL": self.broker_url,
            "POSTMETER_METRICS_PORT": str(self.metrics_port),
            "POSTMETER_GRACE_SECONDS": "10",
            "POSTMETER_LOG_FORMAT": "json",
        }

    def _producer(self) -> Producer:
        url = self.broker_url
        return Producer(f"embedded:{self.state / 'inbox.db'}" if url == "embedded:" else url)

    def _send_singles(self) -> None:
        """A password reset of each company every two seconds, as applications do."""
        with self._producer() as producer:
            while not self._quiet.is_set():
                for one in COMPANIES:
                    count = self.singles.get(one.company, 0)
                    producer.send(_reset(one, count), company=one.company)
                    self.singles[one.company] = count + 1
                self._quiet.wait(2.0)

    def hush(self) -> None:
        """End the single sends, so that everything can arrive."""
        self._quiet.set()
        if self._thread is not None:
            self._thread.join()

    def kill_one_worker(self) -> int | None:
        """End one worker process as a crash would; its process id."""
        assert self._ledger is not None
        pids = [row.pid for row in self._ledger.read(overview.all_workers) if row.alive]
        if not pids:
            return None
        with suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGKILL)
        self.killed_pid = pids[0]
        return pids[0]

    def waiting(self) -> dict[str, int]:
        """How many mails of each company are not out yet."""
        assert self._ledger is not None
        return self._ledger.read(review.open_jobs_by_company)

    def unknown_ids(self) -> frozenset[str]:
        """The Message-IDs of mails that the ledger called unknown at some time."""
        assert self._ledger is not None
        return self._ledger.read(review.message_ids_once_unknown)

    def alive(self) -> bool:
        """Whether the worker command still runs."""
        return self._worker is not None and self._worker.poll() is None

    def expected(self) -> list[Expectation]:
        """What must have arrived by now."""
        return [
            Expectation(one.company, one.limit, one.mails, self.singles.get(one.company, 0))
            for one in COMPANIES
        ]

    def stop(self) -> None:
        """End everything that the demo started; safe to call twice."""
        self._quiet.set()
        if self._thread is not None:
            self._thread.join()
        if self._worker is not None and self._worker.poll() is None:
            self._worker.terminate()
            try:
                self._worker.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._worker.kill()
                self._worker.wait()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None


def _invoice(company: Company, number: int) -> Email:
    return Email(
        to=f"customer{number}@mail.example",
        subject=f"Invoice {1000 + number} from {company.name}",
        text=f"Dear customer,\n\nyour invoice {1000 + number} is attached to nothing: this is a"
        f" demo.\n\n{company.name}\n",
    )


def _reset(company: Company, number: int) -> Email:
    return Email(
        to=f"reset{number}@mail.example",
        subject=f"Your password at {company.name}",
        text=f"Somebody asked for a new password at {time.strftime('%H:%M:%S')}.\n",
    )
