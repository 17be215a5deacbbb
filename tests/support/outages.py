"""A steady load through an outage, and what must be so during it and after it."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import text

from tests.support.scripted import until
from worker.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers import Receipt
    from tests.support.office import Office
    from tests.support.postgresql import PostgresServer

AWAY = "the ledger is away: nothing is taken in or sent"
BACK = "the ledger is back: work goes on"
BETWEEN_SECONDS = 0.05
SETTLED_SECONDS = 2.0
"""How long after the last arrival nothing more is on its way to the server."""
PATIENCE_SECONDS = 60.0
_ATTEMPTS = text("SELECT count(*) FROM attempt")


@dataclass
class Load:
    """Single sends, published one after the other for the length of a ``with`` block."""

    office: Office
    receipts: list[Receipt] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def _publish(self) -> None:
        while not self._ended.wait(BETWEEN_SECONDS):
            self.receipts.append(self.office.publish_good())

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def wait_for(self, count: int) -> None:
        """Wait until so many more have been published."""
        wanted = len(self.receipts) + count
        until(lambda: len(self.receipts) >= wanted, "a load", PATIENCE_SECONDS)


def gauge(office: Office, name: str) -> float | None:
    """The value of a metric without labels, or None where it is not on the page."""
    url = f"http://127.0.0.1:{office.fleet.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=30.0) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.partition(" ")[2])
    return None


def quiet_count(office: Office) -> int:
    """How many mails have arrived, once nothing more arrives."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    count, since = len(office.fleet.arrivals()), time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        assert time.monotonic() < deadline, "mail goes on leaving"
        time.sleep(0.05)
        if (now := len(office.fleet.arrivals())) != count:
            count, since = now, time.monotonic()
    return count


def nothing_leaves(office: Office, load: Load, reason: str) -> None:
    """Readiness, log and metric say why, and while jobs are published no mail leaves."""
    until(lambda: office.readiness()[0] == 503, "no readiness", PATIENCE_SECONDS)
    until(lambda: reason in office.readiness()[1], f"{reason!r} in /readyz", PATIENCE_SECONDS)
    until(lambda: gauge(office, "postmeter_ledger_up") == 0, "ledger_up 0", PATIENCE_SECONDS)
    office.wait_for_log(AWAY, PATIENCE_SECONDS)
    before = quiet_count(office)
    load.wait_for(20)
    assert len(office.fleet.arrivals()) == before


def all_is_sent(office: Office, load: Load) -> None:
    """Ready again by itself; each mail has arrived once, and each arrival has its attempt."""
    count = office.fleet.processes
    office.wait_for_readiness((200, f"{count} of {count} workers ready"), PATIENCE_SECONDS)
    until(lambda: gauge(office, "postmeter_ledger_up") == 1, "ledger_up 1", PATIENCE_SECONDS)
    with suppress(LedgerUnavailable):  # our own connection broke with theirs
        office.fleet.open_jobs()
    wanted = {receipt.message_id for receipt in load.receipts}
    assert office.fleet.wait_for(len(wanted), PATIENCE_SECONDS)
    until(lambda: office.fleet.open_jobs() == 0, "an end of every job", PATIENCE_SECONDS)
    arrived = [mail.message_id for mail in office.fleet.arrivals()]
    assert wanted <= set(arrived)
    assert len(arrived) == len(set(arrived))
    attempts = office.fleet.ledger.read(lambda c, _: c.execute(_ATTEMPTS).scalar_one())
    assert attempts == len(arrived)


def told_once(office: Office) -> None:
    """Each process that noticed has said one line at the beginning, and one at the end."""
    began, ended = office.log_lines(AWAY), office.log_lines(BACK)
    assert 1 <= len(began) <= office.fleet.processes
    assert len(ended) == len(began)
    assert all(line["reason"] for line in began)


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Stop every process of a database server as SIGSTOP does, and let them go on afterwards."""
    pids = [server.pid]
    for pid in pids:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        pids += [int(child) for child in listed.split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def moved_away(ledger: Path) -> Iterator[None]:
    """Let the file be somewhere else, with what SQLite keeps beside it."""
    aside = ledger.parent / "aside"
    aside.mkdir()
    for file in sorted(ledger.parent.glob("ledger.db*")):
        file.rename(aside / file.name)
    yield
    assert not list(ledger.parent.glob("ledger.db"))
    for file in sorted(aside.iterdir(), reverse=True):
        file.rename(ledger.parent / file.name)
