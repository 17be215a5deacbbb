"""Worker processes that are stopped and killed, over a live RabbitMQ."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.broker.harness import envelope, publish
from tests.integration.broker.stock import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq


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
        program.wait(20.0)


@pytest.fixture
def topology(quorum_topology: Topology) -> Topology:
    """One queue type is enough here: processes are the point."""
    return quorum_topology


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
    published = _publish(rabbitmq, topology, 200)
    with _supervised(rabbitmq, topology, diary, processes=1, seconds=0.5) as program:
        wait_for(lambda: len(diary.ids("begin")) >= 30)
        program.terminate()
        asked = time.monotonic()
        assert program.wait(10.0) == 0
        assert time.monotonic() - asked < 3.0
    assert sorted(diary.ids("begin")) == sorted(diary.ids("end"))
    begun = len(diary.ids("begin"))
    assert begun < 200
    assert rabbitmq.queue_depth(topology.batch) == 200 - begun
    with _supervised(rabbitmq, topology, diary, processes=1, seconds=0.0):
        wait_for(lambda: len(diary.ids("end")) >= 200)
    assert sorted(diary.ids("end")) == sorted(published)


def test_a_killed_worker_is_replaced_and_its_messages_run_again(
    rabbitmq: RabbitServer, topology: Topology, diary: Diary
) -> None:
    """SIGKILL in mid-stream: RabbitMQ hands what was in flight to others, nothing is lost."""
    published = _publish(rabbitmq, topology, 400)
    with _supervised(rabbitmq, topology, diary, processes=2, seconds=0.1) as program:
        wait_for(lambda: len(diary.ids("begin")) >= 60)
        killed = diary.lines("begin")[-1][1]
        os.kill(killed, signal.SIGKILL)
        before = {pid for _, pid in diary.lines("begin")}
        wait_for(lambda: bool({pid for _, pid in diary.lines("begin")} - before), 3.0)
        wait_for(lambda: set(diary.ids("end")) == published, 20.0)
        wait_for(lambda: rabbitmq.queue_depth(topology.batch) == 0)
        program.terminate()
        assert program.wait(10.0) == 0
    assert len(diary.ids("begin")) <= 400 + 20  # at most the prefetch ran again
    assert rabbitmq.queue_depth(topology.batch) == 0


def test_a_second_sigterm_cuts_short_what_hangs(
    rabbitmq: RabbitServer, topology: Topology, diary: Diary
) -> None:
    """Nobody has to wait out the grace: what was cut is in its queue again, exit 0."""
    _publish(rabbitmq, topology, 5)
    with _supervised(rabbitmq, topology, diary, processes=1, seconds=3600) as program:
        wait_for(lambda: len(diary.ids("begin")) == 5)
        program.terminate()
        time.sleep(0.3)
        assert program.poll() is None
        program.terminate()
        assert program.wait(5.0) == 0
    assert diary.ids("end") == []
    assert rabbitmq.queue_depth(topology.batch) == 5
