"""Upkeep: heartbeat, reaping and tidying, by a process that may itself have stood still."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import CapturingLogger

from tests.support.fakes import AWAY, WORKER, jobs
from worker.errors import LedgerUnavailable
from worker.heartbeat import Heartbeat
from worker.ledger import workers
from worker.upkeep import PAUSE_SECONDS, Chores, Upkeep, beat

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.support.fakes import Desk
    from worker.outage import Outage

OTHER = "w2"


@dataclass
class OutageNote:
    """In place of the outage: whether one was begun."""

    reason: str = ""
    begun: list[str] = field(default_factory=list)

    def begin(self, error: LedgerUnavailable) -> None:
        """Note it."""
        self.begun.append(str(error))


@dataclass
class Home:
    """The upkeep of one worker over a desk's ledger, with everything it tells."""

    desk: Desk
    outage: OutageNote = field(default_factory=OutageNote)
    log: CapturingLogger = field(default_factory=CapturingLogger)
    told: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    deaths: int = 0
    trouble: str = ""
    published: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chores = Chores(
            ledger=self.desk.ledger,
            worker=WORKER,
            outage=cast("Outage", self.outage),
            trouble=lambda: self.trouble,
            poll_settings=lambda: None,
            publish_events=lambda: self.published.pop(0) if self.published else 0,
            explain=lambda: None,
            die=self._die,
            log=self.log,
            tell_of=self.told.extend,
            has_ended=lambda process: process in self.ended,
            keep_seconds=3600.0,
            heartbeat=Heartbeat(),
        )
        self.upkeep = Upkeep(self.chores)

    def _die(self) -> None:
        self.deaths += 1

    def register(self, worker: str = OTHER, process: str = "") -> None:
        """Let another worker begin its lease."""
        self.desk.ledger.call(
            lambda c, now: workers.register(
                c, now, worker, host="host", pid=2, version="1", process=process
            )
        )

    def leave_in_data(self, worker: str = OTHER) -> str:
        """A job of another worker that has begun; its id."""
        (job,) = jobs(1)
        ticket = self.desk.direct(job).ticket
        ticket._worker = worker  # type: ignore[attr-defined]  # the desk's own is w1
        asyncio.run(ticket.begin(self.desk.settings))
        return job.id

    def once(self, chore: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a chore as its loop does, for one round."""

        async def stop(_seconds: float) -> None:
            raise asyncio.CancelledError

        with suppress(asyncio.CancelledError):
            asyncio.run(Upkeep(self.chores, stop)._repeat(3.0, chore))

    def keep_house(self, *, after_seconds: float = 0.0) -> None:
        """One round of housekeeping, some time after the last."""
        self.desk.clock.advance(after_seconds)
        asyncio.run(self.upkeep._keep_house())

    def begin(self) -> None:
        """Start as a process does, without its loops."""

        async def run() -> None:
            self.upkeep.start()
            await self.upkeep.stop()

        asyncio.run(run())

    @property
    def workers(self) -> list[str]:
        """Who has a lease."""
        return [worker for (worker,) in self.desk.query("SELECT id FROM worker ORDER BY id")]


@pytest.fixture
def home(desk: Desk) -> Home:
    """A worker's upkeep."""
    return Home(desk)


def test_a_beat_renews_the_lease_and_says_what_is_wrong(home: Home) -> None:
    """The row has the time of the beat, and why the worker is not ready."""
    home.desk.clock.advance(3.0)
    home.trouble = "not connected: postmeter.send"
    asyncio.run(beat(home.chores))
    assert home.desk.query("SELECT beat_steady, trouble FROM worker") == [
        (home.desk.clock.steady, "not connected: postmeter.send")
    ]


def test_a_trouble_that_is_new_is_told_at_once(home: Home) -> None:
    """Between two beats: a beat where it has changed, none where it has not."""
    asyncio.run(home.upkeep._beat())
    for trouble, steps in (("", 1.0), ("not connected", 1.0)):
        home.trouble = trouble
        home.desk.clock.advance(steps)
        asyncio.run(home.upkeep._tell_trouble())
        (beaten,) = home.desk.query("SELECT beat_steady, trouble FROM worker")
        assert (beaten[0] == home.desk.clock.steady) is bool(trouble)
    assert beaten[1] == "not connected"


def test_nothing_is_told_through_a_ledger_that_is_away(home: Home) -> None:
    """The outage's own attempts beat; this loop leaves the ledger alone."""
    home.outage.reason, home.trouble = AWAY, AWAY
    asyncio.run(home.upkeep._tell_trouble())
    assert home.desk.query("SELECT trouble FROM worker") == [("",)]


def test_a_worker_that_was_found_dead_ends(home: Home) -> None:
    """No lease any more: it must not send another byte."""
    home.desk.ledger.call(lambda c, now: workers.bury(c, now, WORKER))
    home.once(home.upkeep._beat)
    assert home.deaths == 1
    assert [call.method_name for call in home.log.calls] == ["critical"]


def test_a_ledger_that_is_away_begins_the_outage(home: Home) -> None:
    """Whichever chore meets it."""
    home.desk.ledger.away.extend([True])
    home.once(home.upkeep._beat)
    assert home.outage.begun == [AWAY]


def test_a_fault_of_a_chore_ends_no_loop(home: Home) -> None:
    """It is logged, and the chore's next round comes."""
    rounds: list[float] = []

    async def faulty() -> None:
        raise RuntimeError("bug")

    async def rest(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise asyncio.CancelledError

    with suppress(asyncio.CancelledError):
        asyncio.run(Upkeep(home.chores, rest)._repeat(2.0, faulty))
    assert rounds == [2.0] * 3
    assert [call.method_name for call in home.log.calls] == ["exception"] * 3


def test_a_silent_worker_is_reaped_and_its_unknown_jobs_told(home: Home) -> None:
    """After ten seconds of silence; this worker beats and stays."""
    home.register()
    job_id = home.leave_in_data()
    for _ in range(6):
        home.desk.clock.advance(2.0)
        asyncio.run(beat(home.chores))
        home.keep_house()
    assert home.workers == [WORKER]
    assert home.told == [job_id]
    assert [call.method_name for call in home.log.calls] == ["warning"]


def test_whoever_stood_still_lets_the_others_beat_first(home: Home) -> None:
    """A host that slept wakes up: every other looks dead, and is not reaped for ten seconds."""
    home.register()
    home.keep_house()
    home.keep_house(after_seconds=PAUSE_SECONDS + 6.0)
    assert home.workers == [WORKER, OTHER]
    for _ in range(4):
        home.keep_house(after_seconds=2.0)
        assert home.workers == [WORKER, OTHER]
    home.desk.ledger.call(lambda c, now: workers.beat(c, now, OTHER))
    home.desk.ledger.call(lambda c, now: workers.beat(c, now, WORKER))
    home.keep_house(after_seconds=2.5)
    assert home.workers == [WORKER, OTHER]


def test_after_an_outage_nobody_is_reaped_at_once(home: Home) -> None:
    """While the ledger was away nobody could beat."""
    home.register()
    home.keep_house()
    home.outage.reason = AWAY
    for _ in range(6):
        home.keep_house(after_seconds=2.0)
    home.outage.reason = ""
    home.keep_house(after_seconds=2.0)
    assert home.workers == [WORKER, OTHER]


def test_a_new_process_waits_a_round_before_it_reaps(home: Home) -> None:
    """The others may have waited for the same lock as its start."""
    home.register()
    home.desk.clock.advance(11.0)
    home.begin()
    home.keep_house(after_seconds=1.0)
    assert OTHER in home.workers
    home.keep_house(after_seconds=1.5)
    assert OTHER not in home.workers


def test_housekeeping_that_waited_for_the_lock_does_nothing(home: Home) -> None:
    """Asked seven seconds ago and answered now: nobody could beat meanwhile."""
    home.register()
    home.keep_house()
    real = home.desk.ledger.run

    async def late(operation: object) -> object:
        home.desk.clock.advance(11.0)
        return await real(operation)  # type: ignore[arg-type]  # handed on as it came

    home.desk.ledger.run = late  # type: ignore[method-assign,assignment]  # a lock that lasts
    home.keep_house()
    assert home.workers == [WORKER, OTHER]


def test_a_worker_whose_process_has_ended_is_buried_at_once(home: Home) -> None:
    """Killed half a second ago: its job in DATA is unknown and told now, not in ten seconds."""
    home.register(process="gone")
    home.register("w3", process="alive")
    job_id = home.leave_in_data()
    home.ended.add("gone")
    home.keep_house(after_seconds=0.5)
    assert home.workers == [WORKER, "w3"]
    assert home.told == [job_id]


def test_even_who_stood_still_buries_what_has_surely_ended(home: Home) -> None:
    """The kernel's word needs no heartbeat."""
    home.register(process="gone")
    home.keep_house()
    home.ended.add("gone")
    home.keep_house(after_seconds=60.0)
    assert home.workers == [WORKER]


def test_burying_twice_changes_nothing(home: Home) -> None:
    """Two workers see the same death: the second finds nothing, and frees nobody's job."""
    home.register(process="gone")
    home.leave_in_data()
    for _ in range(2):
        home.desk.ledger.call(lambda c, now: workers.bury_all(c, now, [OTHER]))
    assert home.workers == [WORKER]
    assert home.desk.query("SELECT state FROM delivery") == [("unknown",)]


def test_what_is_left_of_the_events_is_published_at_the_end(home: Home) -> None:
    """Round by round, until nothing is due."""
    home.published = [64, 64, 3]
    asyncio.run(home.upkeep.publish_rest())
    assert home.published == []


def test_events_that_cannot_be_read_at_the_end_stay_due(home: Home) -> None:
    """The process ends all the same."""

    def away() -> int:
        raise LedgerUnavailable(AWAY)

    home.upkeep = Upkeep(home.chores._replace(publish_events=away))
    asyncio.run(home.upkeep.publish_rest())
    assert [call.method_name for call in home.log.calls] == ["warning"]


def test_old_rows_are_pruned(home: Home) -> None:
    """A final row older than keep_seconds goes, once its event is out."""
    (job,) = jobs(1)
    asyncio.run(home.desk.direct(job).run())
    home.desk.ledger.call(
        lambda c, _: c.exec_driver_sql("UPDATE delivery SET event = NULL").rowcount
    )
    home.desk.clock.advance(3500.0)
    asyncio.run(home.upkeep._prune())
    assert home.desk.find(job.id) is not None
    home.desk.clock.advance(101.0)
    asyncio.run(home.upkeep._prune())
    assert home.desk.find(job.id) is None


def test_the_end_waits_for_a_thread_at_work(home: Home) -> None:
    """Events under way are not published by two threads at once when the process says goodbye."""
    at_work, may_end, story = threading.Event(), threading.Event(), list[str]()

    def publish() -> int:
        at_work.set()
        may_end.wait(10.0)
        story.append("published")
        return 0

    async def run() -> None:
        upkeep = Upkeep(home.chores._replace(publish_events=publish))
        upkeep.start()
        await asyncio.to_thread(at_work.wait, 10.0)
        asyncio.get_running_loop().call_later(0.01, may_end.set)
        await upkeep.stop()
        story.append("stopped")

    asyncio.run(run())
    assert story == ["published", "stopped"]
