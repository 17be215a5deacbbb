"""Processes for the tests of metrics: one that serves, and some that count."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.support.settings_tree import SMTP, SettingsTree
from worker.telemetry.directory import VARIABLE, prepare_directory

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from pathlib import Path

SERVE = """
import sys
from pathlib import Path
from config.watcher import SettingsWatcher
from worker.telemetry import logs
from worker.telemetry.exposition import serve
root, url, window, host, port = sys.argv[1:]
logs.configure(format="json")
watcher = SettingsWatcher(Path(root), {})
sys.exit(serve(host, int(port), url, watcher, window_seconds=float(window)))
"""
COUNT = """
import sys
from worker.outcome import Fact, Outcome
from worker.telemetry import instruments, logs
from worker.telemetry.report import Reporter
logs.configure(format="json", level="error")
report = Reporter()
fact = Fact(Outcome.SENT, "1", "batch", "acme", "jane", "smtp", reply="250 ok", attempts=1,
            queue_wait_seconds=1.0, slot_wait_seconds=0.5, delivery_seconds=0.2, data_seconds=0.1)
observe = instruments.observe_phase("smtp")
for line in sys.stdin:
    for _ in range(int(line)):
        report(fact)
        observe("data", 0.1)
    instruments.note_connections("smtp", {("mx:25", "busy"): 1})
    instruments.instruments().token_expires.note("acme/jane", "smtp", ends_at=2e9)
    instruments.instruments().token_requests_of("acme/jane", "smtp")["fetched"].inc()
    print("done", flush=True)
"""
PATIENCE_SECONDS = 60.0


class Counting:
    """A process that counts as a worker does."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", COUNT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, VARIABLE: str(directory)},
        )

    def sent(self, emails: int) -> None:
        """Let it count some emails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{emails}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.communicate()


class Serving:
    """The process that serves metrics and health, on a ledger and settings of its own.

    Acme's batches have a limit of 30 a minute, on a window that the test chooses.
    """

    def __init__(
        self, root: Path, *, window_seconds: float = 60.0, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._host = host
        self.tree = SettingsTree(root / "settings")
        self.tree.company("acme", SMTP + "batch_emails_per_min = 30\n")
        self.directory = prepare_directory(root)
        self.ledger_url = f"sqlite:///{root / 'ledger.db'}"
        self._counting: list[Counting] = []
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                SERVE,
                str(self.tree.root),
                self.ledger_url,
                str(window_seconds),
                host,
                str(port),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, VARIABLE: str(self.directory)},
        )
        assert self._process.stderr is not None
        self.first_line: dict[str, str] = json.loads(self._process.stderr.readline())
        self.port = int(self.first_line.get("url", "").rpartition(":")[2] or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for counting in self._counting:
            with contextlib.suppress(OSError):
                counting.kill()
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def start_counting(self) -> Counting:
        """Start one more process that counts."""
        self._counting.append(Counting(self.directory))
        return self._counting[-1]

    def get(self, path: str, accept: str = "text/plain") -> tuple[int, str]:
        """Read a page."""
        connection = http.client.HTTPConnection(self._host, self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def values(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Scrape, and read every sample."""
        status, page = self.get("/metrics")
        assert status == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def value(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """Scrape one sample."""
        return self.values().get((name, frozenset((labels or {}).items())))

    def wait_for(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Scrape until a sample has a value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self.value(name, labels)) != value:
            assert time.monotonic() < deadline, f"{name} is {found}, not {value}"
            time.sleep(0.1)

    def wait_for_ready(self, why: str) -> tuple[int, str]:
        """Ask for readiness until the answer begins as expected."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.get("/readyz"))[1].startswith(why):
            assert time.monotonic() < deadline, f"ready says {found}"
            time.sleep(0.1)
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self, within_seconds: float) -> int | None:
        """The exit code, or None if it has not ended in time."""
        try:
            return self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            return None


def of_acme(**more: str) -> dict[str, Any]:
    """The labels of what the counting processes count."""
    return {"kind": "batch", "transport": "smtp", "company": "acme", **more}
