"""What a worker process does again and again beside delivering.

Heartbeat, housekeeping, settings, events: each is a loop that survives the ledger being away.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from worker.errors import LedgerUnavailable
from worker.ledger import housekeeping, workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from sqlalchemy import Connection

    from worker.heartbeat import Heartbeat
    from worker.ledger.clock import Now
    from worker.ledger.ledger import Ledger
    from worker.outage import Outage
    from worker.telemetry.logs import Logger

SETTINGS_SECONDS = 1.0
PRUNE_SECONDS = 5.0
EVENTS_SECONDS = 0.5
EXPLAIN_SECONDS = 2.0
TROUBLE_SECONDS = 0.25
"""How often to look whether the worker has become ready, or is so no more."""
PAUSE_SECONDS = 5.0
"""A longer pause between two rounds means that this process, or the whole host, stood still."""


class Chores(NamedTuple):
    """What the loops need.

    Attributes:
        trouble: why this worker is not ready, in one line; empty while it is.
        poll_settings: read what changed in the settings; called in a thread.
        publish_events: publish what is due, returning how much; called in a thread.
        explain: tell waiting jobs that no settings serve why they wait; called in a thread.
        die: end this process, because it was found dead.
        heartbeat: where a renewed lease is noted.
        tell_of: report jobs that ended without a delivery, by their ids; called in a thread.
        has_ended: whether the process of that name has surely ended.
        keep_seconds: how long final rows stay.
    """

    ledger: Ledger
    worker: str
    outage: Outage
    trouble: Callable[[], str]
    poll_settings: Callable[[], None]
    publish_events: Callable[[], int]
    explain: Callable[[], None]
    die: Callable[[], None]
    log: Logger
    tell_of: Callable[[Iterable[str]], None]
    has_ended: Callable[[str], bool]
    keep_seconds: float
    heartbeat: Heartbeat


def _beat(connection: Connection, now: Now, *, worker: str, trouble: str) -> None:
    workers.beat(connection, now, worker, trouble)


def _prune(connection: Connection, now: Now, *, older_than_seconds: float) -> int:
    return housekeeping.prune(connection, now, older_than_seconds=older_than_seconds)


def _processes(connection: Connection, _now: Now) -> dict[str, str]:
    return workers.processes(connection)


def _bury_all(connection: Connection, now: Now, *, dead: list[str]) -> workers.Reaping:
    return workers.bury_all(connection, now, dead)


async def beat(chores: Chores) -> None:
    """Renew this worker's lease once.

    Raises:
        LedgerUnavailable: the ledger is away.
        Reaped: there is no lease any more.
    """
    asked_at = chores.heartbeat.now()
    await chores.ledger.run(partial(_beat, worker=chores.worker, trouble=chores.trouble()))
    chores.heartbeat.renewed(asked_at)


def _keep_unless_late(
    connection: Connection, now: Now, *, asked_steady: float
) -> housekeeping.Kept | None:
    """Keep house, but not after a long wait for the ledger's lock: nobody could beat meanwhile."""
    if now.steady - asked_steady > PAUSE_SECONDS:
        return None
    return housekeeping.keep(connection, now)


async def _in_thread(work: Callable[[], object]) -> None:
    """Run it in a thread; a loop that is ended meanwhile waits for it, as nothing stops a thread."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


class Upkeep:
    """The loops of one process, as tasks on its event loop."""

    def __init__(
        self, chores: Chores, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._chores = chores
        self._sleep = sleep
        self._tasks: list[asyncio.Task[None]] = []
        self._told = ""
        self._last_round_steady = 0.0
        self._may_reap_steady = 0.0

    def start(self) -> None:
        """Start every loop."""
        # The others may have waited for the same lock as this process: let them beat first.
        self._may_reap_steady = self._chores.ledger.now().steady + workers.REAP_SECONDS
        loops: list[tuple[float, Callable[[], Coroutine[None, None, None]]]] = [
            (workers.BEAT_SECONDS, self._beat),
            (TROUBLE_SECONDS, self._tell_trouble),
            (workers.REAP_SECONDS, self._keep_house),
            (SETTINGS_SECONDS, self._poll_settings),
            (EVENTS_SECONDS, self._publish_events),
            (PRUNE_SECONDS, self._prune),
            (EXPLAIN_SECONDS, self._explain),
        ]
        self._tasks = [
            asyncio.create_task(self._repeat(seconds, chore), name=chore.__name__)
            for seconds, chore in loops
        ]

    async def stop(self) -> None:
        """End every loop; what is under way in a thread is waited for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def publish_rest(self) -> None:
        """Publish the events that are still due, before the process ends."""
        try:
            while await asyncio.to_thread(self._chores.publish_events):
                pass
        except LedgerUnavailable as error:
            self._chores.log.warning("events stay due", reason=str(error))

    async def _repeat(
        self, seconds: float, chore: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        while True:
            try:
                await chore()
            except LedgerUnavailable as error:
                self._chores.outage.begin(error)
            except workers.Reaped as error:
                self._chores.log.critical(str(error), worker=self._chores.worker)
                self._chores.die()
            except Exception:
                self._chores.log.exception("a fault in Postmeter", chore=chore.__name__)
            await self._sleep(seconds)

    async def _beat(self) -> None:
        self._told = self._chores.trouble()
        await beat(self._chores)

    async def _tell_trouble(self) -> None:
        """Beat at once when what is told of this worker is no longer so."""
        if not self._chores.outage.reason and self._chores.trouble() != self._told:
            await self._beat()

    async def _keep_house(self) -> None:
        """Reap and tidy, unless everybody may look dead only because time stood still for us."""
        await self._bury_ended()
        now = self._chores.ledger.now().steady
        last, self._last_round_steady = self._last_round_steady or now, now
        stood_still = now - last > PAUSE_SECONDS
        if stood_still or self._chores.outage.reason:
            self._may_reap_steady = now + workers.DEAD_AFTER_SECONDS
        if now < self._may_reap_steady:
            return
        kept = await self._chores.ledger.run(partial(_keep_unless_late, asked_steady=now))
        if kept is None:
            return
        await _in_thread(partial(self._chores.tell_of, kept.expired))
        await self._tell_of_dead(kept.reaped)

    async def _bury_ended(self) -> None:
        """Bury workers whose process is known to have ended; their silence need not be waited for."""
        named = await asyncio.to_thread(self._chores.ledger.read, _processes)
        ended = [worker for worker, process in named.items() if self._chores.has_ended(process)]
        if ended:
            reaped = await self._chores.ledger.run(partial(_bury_all, dead=ended))
            await self._tell_of_dead(reaped)

    async def _tell_of_dead(self, reaped: workers.Reaping) -> None:
        await _in_thread(partial(self._chores.tell_of, reaped.unknown))
        if reaped.workers:
            self._chores.log.warning(
                "found workers dead",
                workers=len(reaped.workers),
                returned=reaped.returned,
                unknown=len(reaped.unknown),
            )

    async def _poll_settings(self) -> None:
        await _in_thread(self._chores.poll_settings)

    async def _prune(self) -> None:
        """Delete some of what is old enough: a step so small that it delays nobody."""
        await self._chores.ledger.run(partial(_prune, older_than_seconds=self._chores.keep_seconds))

    async def _explain(self) -> None:
        if not self._chores.outage.reason:
            await _in_thread(self._chores.explain)

    async def _publish_events(self) -> None:
        await _in_thread(self._chores.publish_events)
