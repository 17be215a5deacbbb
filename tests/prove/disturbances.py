"""What is done to a fleet while it delivers: each disturbance is one function.

It begins after the first mail, does its harm until the course is over, and leaves everything as it
found it. What the limit could not be used for meanwhile it takes out of the course.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.prove.judging import LOW, WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.prove.judging import Course
    from tests.support.fleet import Fleet
    from tests.support.postgresql import PostgresServer
    from tests.support.rabbitmq import RabbitServer

KILL_EVERY_SECONDS = 20.0
STOP_SECONDS = 15.0
FLIP_SECONDS = 20.0
LOCK_SECONDS = 5.0
LONG_REPLY_SECONDS = 75.0
SEEN_SECONDS = 2.0
"""How soon workers must follow the settings."""
BACK_SECONDS = 1.0
"""How soon work must go on when the ledger is back: workers try it every half second."""
FIRST_AT, SECOND_AT = 65.0, 120.0
"""When single events happen, in seconds after the first mail: use is counted from 60 on."""
LATE_BATCHES = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """What a disturbance can lay hands on.

    Attributes:
        publish_late: publish one more part of the row's mail, and return when it is confirmed.
    """

    fleet: Fleet
    limit: int
    processes: int
    rabbitmq: RabbitServer | None
    postgresql: PostgresServer | None
    course: Course
    publish_late: Callable[[], None]

    def wait_until(self, seconds: float) -> None:
        """Wait until so many seconds after the first mail."""
        time.sleep(max(0.0, self.course.since + seconds - time.monotonic()))

    @property
    def seconds(self) -> float:
        """How long the course lasts."""
        return self.course.until - self.course.since

    def set_limit(self, limit: int, view: int | None = None) -> None:
        """Rewrite the settings, of one group of workers or of all."""
        self.fleet.write_settings({"acme": limit}, view)


def kill(scene: Scene) -> None:
    """SIGKILL to one process every 20 s; its supervisor starts another."""
    scene.fleet.kill_every(KILL_EVERY_SECONDS)
    scene.wait_until(scene.seconds)
    scene.fleet.spare()
    scene.course.times = scene.fleet.kills


def stop(scene: Scene) -> None:
    """SIGSTOP of one process for 15 s, longer than its lease, twice."""
    for at in (FIRST_AT, SECOND_AT):
        scene.wait_until(at)
        pid = scene.fleet.signal_one(signal.SIGSTOP)
        if pid is None:
            continue
        since = time.monotonic()
        time.sleep(STOP_SECONDS)
        os.kill(pid, signal.SIGCONT)
        if scene.processes == 1:  # else the others go on
            scene.course.take_out(since, time.monotonic())
        scene.course.times += 1


def restart_broker(scene: Scene) -> None:
    """Restart RabbitMQ twice, each time in the middle of taking in new mail."""
    assert scene.rabbitmq is not None
    for at in (FIRST_AT, SECOND_AT):
        scene.wait_until(at)
        scene.publish_late()
        scene.rabbitmq.restart()
        scene.course.times += 1


def restart_ledger(scene: Scene) -> None:
    """Crash and restart PostgreSQL, or hold SQLite's write lock for 5 s, twice."""
    for at in (FIRST_AT, SECOND_AT):
        scene.wait_until(at)
        since = time.monotonic()
        if scene.postgresql is not None:
            scene.postgresql.restart("immediate")
        else:
            _hold_lock(scene.fleet.root / "state" / "ledger.db", LOCK_SECONDS)
        scene.course.take_out(since, time.monotonic() + BACK_SECONDS)
        scene.course.times += 1


def _hold_lock(ledger: Path, seconds: float) -> None:
    """Hold a ledger's write lock from another process: a file has no server to restart."""
    program = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "time.sleep(float(sys.argv[2]))\n"
        "connection.execute('ROLLBACK')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(ledger), str(seconds)], check=True)


def move_limit(scene: Scene) -> None:
    """Rewrite the settings: the limit down to a third and up again, every 20 s.

    A limit of 30 stays low for a minute: in 20 s a third of it is three mails. While it is low
    nothing needs to leave: the minute before has used more than the low limit allows. After a
    raise it counts from when workers must have seen it, and the mail that left last has had its
    place under the low limit.
    """
    flip = FLIP_SECONDS if scene.limit > WINDOW_SECONDS else WINDOW_SECONDS
    low = scene.limit // LOW
    scene.wait_until(WINDOW_SECONDS)
    at = WINDOW_SECONDS
    while at + flip < scene.seconds:
        since = time.monotonic()
        scene.set_limit(low)
        scene.wait_until(at + flip)
        scene.set_limit(scene.limit)
        seen = SEEN_SECONDS + WINDOW_SECONDS / low
        scene.course.take_out(since, time.monotonic() + seen)
        scene.course.times += 1
        at += 2 * flip
        scene.wait_until(min(at, scene.seconds))


def hold_a_reply(scene: Scene) -> None:
    """One reply comes after 75 s (and one in a hundred 2 s late, which the sink does itself)."""
    scene.wait_until(FIRST_AT)
    scene.fleet.sink.hold_one_reply(LONG_REPLY_SECONDS)
    scene.course.times += 1


def split_views(scene: Scene) -> None:
    """Two groups of workers see different limits, N and a third of it, changing places every 20 s."""
    low, low_view, at = scene.limit // LOW, 1, 0.0
    while at < scene.seconds:
        scene.set_limit(low, low_view)
        scene.set_limit(scene.limit, 1 - low_view)
        scene.course.times += 1
        low_view, at = 1 - low_view, at + FLIP_SECONDS
        scene.wait_until(min(at, scene.seconds))
    scene.set_limit(scene.limit)


def leave_alone(_scene: Scene) -> None:
    """Nothing happens."""


DISTURBANCES: Mapping[str, Callable[[Scene], None]] = {
    "none": leave_alone,
    "kill": kill,
    "stop": stop,
    "broker-restart": restart_broker,
    "ledger-restart": restart_ledger,
    "limit-down-up": move_limit,
    "slow-replies": hold_a_reply,
    "two-views": split_views,
}

__all__ = ["DISTURBANCES", "LATE_BATCHES", "Scene"]
