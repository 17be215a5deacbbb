"""The worker processes under one supervisor: one ``postmeter worker`` of a fleet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Host:
    """What one group of workers has of its own: variables, and a command that runs it."""

    environ: dict[str, str] = field(default_factory=dict)
    run_by: tuple[str, ...] = ()


@dataclass(slots=True)
class WorkerGroup:
    """One command that runs so many processes; started once.

    Args:
        run_by: a command that runs it, such as one that drops capabilities.
        tree: where its code is.
    """

    window_seconds: float
    processes: int
    wait_for_settings_seconds: float
    run_by: tuple[str, ...] = ()
    tree: Path = Path(__file__).parents[2]
    _command: subprocess.Popen[bytes] | None = None

    def start(self, environ: dict[str, str], log: Path) -> None:
        """Start it; what it says is added to the log."""
        with log.open("ab") as output:
            self._command = subprocess.Popen(
                [
                    *self.run_by,
                    sys.executable,
                    "-m",
                    "tests.support.fleet_worker",
                    str(self.window_seconds),
                    str(self.processes),
                    str(self.wait_for_settings_seconds),
                ],
                cwd=self.tree,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        """The parent of the processes."""
        assert self._command is not None
        return self._command

    def children(self) -> list[int]:
        """The processes that the supervisor runs now."""
        pid = self.supervisor.pid
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in listed.split()]

    def ask_to_stop(self) -> None:
        """Send SIGTERM, unless it has ended."""
        if self.supervisor.poll() is None:
            self.supervisor.terminate()

    def wait(self, timeout_seconds: float) -> int:
        """Wait until it has ended, and end it with all its processes where it does not."""
        try:
            self.supervisor.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.supervisor.pid, signal.SIGKILL)
        return self.supervisor.wait()

    def kill(self) -> None:
        """End the supervisor as a crash would."""
        self.supervisor.kill()
        self.supervisor.wait()
