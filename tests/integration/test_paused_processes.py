"""A process that is stopped and continued takes that for no signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.support.waiting import wait_until

WAITS = """\
import signal
from worker.signals import wait_for

wanted = {signal.SIGTERM, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("waiting", flush=True)
print(wait_for(wanted, 0.3), flush=True)
print(wait_for(wanted, 60.0), flush=True)
"""


def state(pid: int) -> str:
    """The letter of a process's state, as in ps."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - one short read
        return file.read().rpartition(")")[2].split()[0]


def test_a_pause_is_no_signal() -> None:
    """Time that is over while the process is stopped is just over; a signal that came is taken."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        wait_until(lambda: state(process.pid) == "S", "the wait")
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: state(process.pid) == "T", "the stop")
        time.sleep(0.4)  # longer than it would have waited
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == "None\n"
        os.kill(process.pid, signal.SIGUSR1)
        assert process.stdout.readline() == "10\n"
