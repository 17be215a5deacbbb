"""The private RabbitMQ of the tests leaves nothing behind, also when its owner is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq
OWNER = """\
from tests.support.rabbitmq import RabbitServer
import signal

server = RabbitServer().start()
print(server.pid, server.epmd_pid, server.folder, flush=True)
signal.pause()
"""


def gone(*pids: int) -> bool:
    """Whether none of these processes runs any more."""
    for pid in pids:
        try:
            if ") Z" not in Path(f"/proc/{pid}/stat").read_text("ascii"):
                return False
        except OSError:
            continue
    return True


def test_close_leaves_nothing(rabbitmq: RabbitServer) -> None:
    """No process, no epmd, no folder; two servers do not know of each other."""
    with RabbitServer() as server:
        assert server.epmd_pid is not None
        pids = server.pid, server.epmd_pid
        folder = server.folder
        assert server.port != rabbitmq.port
        assert not gone(server.pid)
    assert gone(*pids)
    assert not folder.exists()
    assert not gone(rabbitmq.pid)


def test_a_killed_owner_leaves_nothing(rabbitmq: RabbitServer) -> None:
    """A test run that is killed takes its server with it."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        server, epmd, folder = owner.stdout.readline().split()
        assert not gone(int(server))
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10.0
    while not gone(int(server), int(epmd)) or Path(folder).exists():
        assert time.monotonic() < deadline, "the server outlived its owner"
        time.sleep(0.05)
