"""The private RabbitMQ of the tests leaves nothing behind, also when its owner is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rabbitmq import RabbitServer
from tests.support.waiting import gone, wait_until

pytestmark = pytest.mark.rabbitmq
OWNER = """\
from tests.support.rabbitmq import RabbitServer
import signal

server = RabbitServer().start()
print(server.pid, server.epmd_pid, server.folder, flush=True)
signal.pause()
"""


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
    wait_until(lambda: gone(int(server), int(epmd)) and not Path(folder).exists())
