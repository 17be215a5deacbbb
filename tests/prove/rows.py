"""One row of the proof: a fleet of its own, a load, a disturbance, and what the server saw."""

from __future__ import annotations

import time
from contextlib import ExitStack
from threading import Thread
from typing import TYPE_CHECKING

from tests.prove.disturbances import DISTURBANCES, LATE_BATCHES, Scene
from tests.prove.judging import LOW, WINDOW_SECONDS, Course, Seen, judge
from tests.support.fleet import Company, Fleet
from tests.support.postgresql import PostgresServer
from tests.support.rabbitmq import RabbitServer, unique_prefix

if TYPE_CHECKING:
    from pathlib import Path

    from tests.prove.judging import Result
    from tests.prove.matrix import Row

MINUTES = 3
DELAY_SECONDS = 0.5
SLOW_SECONDS = 2.0
PATIENT = "120s"
"""How long workers wait for a reply where one takes 75 s; elsewhere a few seconds."""
DRAIN_SECONDS = 200.0


def run_row(row: Row, root: Path) -> Result:
    """Run one row to its end: three minutes of backlog, then until everything has arrived."""
    with ExitStack() as stack:
        rabbitmq = stack.enter_context(RabbitServer()) if row.broker == "rabbitmq" else None
        postgresql, environ = open_ledger(stack, row.ledger)
        slow = row.disturbance == "slow-replies"
        fleet = Fleet(
            root=root / row.name,
            companies=(Company("acme", row.limit),),
            processes=row.processes,
            broker_url="embedded:" if rabbitmq is None else rabbitmq.url,
            prefix="" if rabbitmq is None else unique_prefix("prove"),
            delay_seconds=DELAY_SECONDS,
            slow_seconds=SLOW_SECONDS if slow else 0.0,
            seed=row.limit + row.processes,
            views=2 if row.disturbance == "two-views" else 1,
            more_environ=environ,
        )
        if slow:
            fleet.reply_timeout = PATIENT
        stack.enter_context(fleet)
        return _run(row, fleet, rabbitmq, postgresql)


def open_ledger(stack: ExitStack, ledger: str) -> tuple[PostgresServer | None, dict[str, str]]:
    """Start the server that a ledger needs, if any; with the variables that name the ledger."""
    if ledger == "sqlite":
        return None, {}  # a file in the fleet's folder
    postgresql = stack.enter_context(PostgresServer(durable=True))
    return postgresql, {"POSTMETER_LEDGER_URL": postgresql.new_database()}


def mails_of(row: Row) -> int:
    """How many mails a row publishes: a quarter of a minute more than three minutes can use.

    So the use of the limit is counted while mail certainly waits.
    """
    minutes = float(MINUTES)
    if row.disturbance == "limit-down-up":
        minutes = 1 + (MINUTES - 1) * (1 + 1 / LOW) / 2
    if row.disturbance == "two-views":
        minutes = MINUTES - 0.75  # who sees the lower limit holds the others back
    return int(row.limit * (minutes + 0.25))


def _run(
    row: Row, fleet: Fleet, rabbitmq: RabbitServer | None, postgresql: PostgresServer | None
) -> Result:
    mails = mails_of(row)
    late = mails // 4 if row.disturbance == "broker-restart" else 0
    published = mails - LATE_BATCHES * late
    fleet.publish_batch("acme", published)

    def publish_late() -> None:
        nonlocal published
        fleet.publish_batch("acme", late, first=published)
        published += late

    if not fleet.wait_for(1, DRAIN_SECONDS):
        raise TimeoutError("the first mail never arrived")
    since = fleet.arrivals()[0].at
    course = Course(since, since + MINUTES * WINDOW_SECONDS)
    scene = Scene(fleet, row.limit, row.processes, rabbitmq, postgresql, course, publish_late)
    harm = Disturbance(scene, row.disturbance)
    harm.start()
    scene.wait_until(scene.seconds)
    harm.finish()
    fleet.wait_for(published, DRAIN_SECONDS)
    _wait_until_final(fleet, DRAIN_SECONDS)
    arrivals = fleet.arrivals()
    seen = Seen(
        times=[arrival.at for arrival in arrivals],
        message_ids=[arrival.message_id for arrival in arrivals],
        unknown_ids=fleet.unknown_ids(),
        published=published,
        open_jobs=fleet.open_jobs(),
        mean_reply_seconds=fleet.sink.mean_delay_seconds,
        longest_reply_seconds=fleet.sink.longest_delay_seconds,
    )
    return judge(row, seen, course)


class Disturbance(Thread):
    """A disturbance at work; ``finish`` waits for its end and tells what went wrong in it."""

    def __init__(self, scene: Scene, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._scene = scene
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do it."""
        try:
            DISTURBANCES[self.name](self._scene)
        except BaseException as error:  # noqa: BLE001 - told by finish
            self._error = error

    def finish(self) -> None:
        """Wait until it has left everything as it was.

        Raises:
            RuntimeError: it failed itself, so that the row proves nothing.
        """
        self.join()
        if self._error is not None:
            raise RuntimeError(f"the disturbance failed: {self._error!r}") from self._error


def _wait_until_final(fleet: Fleet, seconds: float) -> None:
    """Let what is unknown be resent, or a double would go unseen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and fleet.open_jobs():
        time.sleep(0.5)


__all__ = ["mails_of", "open_ledger", "run_row"]
