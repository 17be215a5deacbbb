"""A receiving server reduced to what the pace is judged by: when each mail came.

One datagram is one mail; the answer is the server's reply. Its clock is the only one that counts.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.pace_process import Orders


class Referee:
    """Counts mails on a loopback address of its own; a context manager.

    Attributes:
        arrivals: (seconds on this process's steady clock, job id) in their order.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self.arrivals: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._judge, daemon=True)
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._socket.close()

    def start(
        self,
        orders: Orders,
        *,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start one sending process, behind a command such as ``ip netns exec``."""
        process = subprocess.Popen(
            [
                *before,
                sys.executable,
                "-m",
                "tests.support.pace_process",
                json.dumps(asdict(orders)),
            ],
            env={**os.environ, **(environment or {})},
        )
        self._processes.append(process)
        return process

    def stop(self, processes: Sequence[subprocess.Popen[bytes]], timeout_seconds: float) -> None:
        """Ask processes to end, and wait until they have."""
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            code = process.wait(timeout_seconds)
            assert code in {0, -signal.SIGTERM}, code  # SIGTERM: it had not begun yet

    def wait_for(self, count: int, timeout_seconds: float) -> None:
        """Wait until so many mails have come.

        Raises:
            AssertionError: they did not.
        """
        until = time.monotonic() + timeout_seconds
        while len(self.arrivals) < count:
            assert time.monotonic() < until, f"{len(self.arrivals)} of {count} mails came"
            time.sleep(0.05)

    def worst(self, window_seconds: float) -> int:
        """The most mails in any window [t, t + length)."""
        stamps = [at for at, _ in self.arrivals]
        first = worst = 0
        for last, stamp in enumerate(stamps):
            while stamp - stamps[first] >= window_seconds:
                first += 1
            worst = max(worst, last - first + 1)
        return worst

    def in_the_first(self, seconds: float) -> int:
        """How many came within so long of the first."""
        return sum(at - self.arrivals[0][0] < seconds for at, _ in self.arrivals)

    def doubled(self) -> list[str]:
        """The jobs that came more than once."""
        counts = Counter(job for _, job in self.arrivals)
        return sorted(job for job, count in counts.items() if count > 1)

    def _judge(self) -> None:
        while True:
            try:
                mail, sender = self._socket.recvfrom(256)
            except OSError:
                return
            self.arrivals.append((time.monotonic(), mail.decode()))
            self._socket.sendto(b"250", sender)
