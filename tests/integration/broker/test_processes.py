"""Worker processes that are stopped and killed, over a live RabbitMQ."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.broker.harness import envelope, publish
from tests.support.waiting import GENEROUS_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq

SLOW, MANY = 400, 2000
"""More than is worked through before a test has looked."""


class Diary:
    """What the worker processes wrote: which message began and ended, and in which process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, word: str) -> list[tuple[str, int]]:
        """The ids and processes of all lines that start so."""
        if not self.path.exists():
            return []
        rows = [line.split() for line in self.path.read_text().splitlines()]
        return [(row[1], int(row[2])) for row in rows if row[0] == word]

    def ids(self, word: str) -> list[str]:
        """The message ids of all lines that start so."""
        return [one for one, _ in self.lines(word)]

    def processes(self) -> set[int]:
        """The processes that have begun a message so far."""
        return {pid for _, pid in self.lines("begin")}


def _terminate_again(program: subprocess.Popen[bytes]) -> None:
    """Ask once more until it has ended: two signals before it looks are one."""
    while program.poll() is None:
        program.terminate()
        time.sleep(0.5)


@contextlib.contextmanager
def _supervised(
    server: RabbitServer, topology: Topology, diary: Diary, *, processes: int, seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [server.url, topology.prefix, str(diary.path), str(processes), str(seconds)]
    program = subprocess.Popen([sys.executable, "-m", "tests.integration.broker.child", *arguments])
    try:
        yield program
    finally:
        if program.poll() is None:
            program.terminate()
        program.wait(GENEROUS_SECONDS)


@pytest.fixture
def topology(own_topology: Topology) -> Topology:
    """One queue type is enough here: processes are the point."""
    return own_topology


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    """An empty diary."""
    return Diary(tmp_path / "diary")


def _publish(server: RabbitServer, topology: Topology, count: int) -> set[str]:
    bodies = [envelope(topology.batch, "batch") for _ in range(count)]
    publish(server, topology.batch, bodies)
    return {json.loads(body)["message_id"] for body in bodies}


def test_sigterm_finishes_what_is_in_flight_and_takes_nothing_new(
    rabbitmq: RabbitServer, topology: Topology, diary: Diary
) -> None:
    """Stopped in mid-stream: what began has ended, the rest waits, exit 0, nothing runs twice."""
    published = _publish(rabbitmq, topology, SLOW)
    with _supervised(rabbitmq, topology, diary, processes=1, seconds=0.5) as program:
        wait_until(lambda: len(diary.ids("begin")) >= 30)
        program.terminate()
        assert program.wait(GENEROUS_SECONDS) == 0
    assert sorted(diary.ids("begin")) == sorted(diary.ids("end"))
    begun = len(diary.ids("begin"))
    assert begun < SLOW
    assert rabbitmq.queue_depth(topology.batch) == SLOW - begun
    with _supervised(rabbitmq, topology, diary, processes=1, seconds=0.0):
        wait_until(lambda: len(diary.ids("end")) >= SLOW)
    assert sorted(diary.ids("end")) == sorted(published)


def test_a_killed_worker_is_replaced_and_its_messages_run_again(
    rabbitmq: RabbitServer, topology: Topology, diary: Diary
) -> None:
    """SIGKILL in mid-stream: RabbitMQ hands what was in flight to others, nothing is lost."""
    published = _publish(rabbitmq, topology, MANY)
    with _supervised(rabbitmq, topology, diary, processes=2, seconds=0.1) as program:
        wait_until(lambda: len(diary.processes()) == 2)
        os.kill(min(diary.processes()), signal.SIGKILL)
        wait_until(lambda: len(diary.processes()) == 3)
        wait_until(lambda: set(diary.ids("end")) == published)
        wait_until(lambda: rabbitmq.queue_depth(topology.batch) == 0)
        program.terminate()
        assert program.wait(GENEROUS_SECONDS) == 0
    assert len(diary.ids("begin")) <= MANY + 20  # at most the prefetch ran again
    assert rabbitmq.queue_depth(topology.batch) == 0


def test_a_second_sigterm_cuts_short_what_hangs(
    rabbitmq: RabbitServer, topology: Topology, diary: Diary
) -> None:
    """Nobody has to wait out the grace: what was cut is in its queue again, exit 0."""
    _publish(rabbitmq, topology, 5)
    with _supervised(rabbitmq, topology, diary, processes=1, seconds=3600) as program:
        wait_until(lambda: len(diary.ids("begin")) == 5)
        program.terminate()
        time.sleep(0.3)
        assert program.poll() is None
        again = threading.Thread(target=_terminate_again, args=(program,))
        again.start()
        assert program.wait(GENEROUS_SECONDS) == 0  # half of the grace
        again.join()
    assert diary.ids("end") == []
    assert rabbitmq.queue_depth(topology.batch) == 5
