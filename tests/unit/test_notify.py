"""What systemd is told: ready once the processes are started, and how long the end may take."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from worker.notify import READY, notifier, stopping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PROGRAM = """
import signal, sys, time
from worker.notify import notifier
from worker.supervisor import Supervisor

def work(index):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(3600)

sys.exit(Supervisor(1, work, grace_seconds=2.5, margin_seconds=1.0, log=lambda *_, **__: None,
    notify=notifier(sys.argv[1])).run())
"""


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket as systemd's, and its name as ``NOTIFY_SOCKET`` has it."""
    listens = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = str(tmp_path / "s") if request.param == "a path" else f"@postmeter-test-{os.getpid()}"
    listens.bind(name.replace("@", "\0", 1))
    listens.settimeout(60.0)
    with listens:
        yield name, listens


def test_each_message_is_one_datagram(manager: tuple[str, socket.socket]) -> None:
    """Lines as sd_notify(3) has them, to either kind of name."""
    name, listens = manager
    tell = notifier(name)
    tell(READY)
    tell(stopping(50.5))
    assert listens.recv(99) == b"READY=1"
    assert listens.recv(99) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=50500000"


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all"])
def test_nobody_who_listens_is_no_matter(address: str | None) -> None:
    """Without systemd, or with a socket that is gone, mail is delivered all the same."""
    notifier(address)(READY)


def test_the_supervisor_says_when_it_is_ready_and_when_it_stops(
    manager: tuple[str, socket.socket],
) -> None:
    """Ready after the start; stopping with grace, margin and 5 s to spare."""
    name, listens = manager
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, name]) as program:
        try:
            assert listens.recv(99) == b"READY=1"
            program.send_signal(signal.SIGTERM)
            assert listens.recv(99) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=8500000"
            assert program.wait(60.0) == 0
        finally:
            program.kill()
