"""Places of several workers in one ledger: together they never have more than the limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.fakes import WORKER
from worker.leases import ConnectionLeases
from worker.ledger import workers
from worker.transports.places import Places

if TYPE_CHECKING:
    from tests.support.fakes import Desk

APP = ("app:app", 4)
MAILBOXES = tuple((f"conn:acme/user{number}", 3) for number in range(3))


def places_of(desk: Desk, worker: str) -> Places:
    """The places of one worker."""
    if worker != WORKER:
        desk.ledger.call(
            lambda c, now: workers.register(c, now, worker, host="host", pid=2, version="1")
        )
    leases = ConnectionLeases(desk.ledger, worker, desk.new_token, sleep=desk.sleep)
    return Places(leases, clock=lambda: desk.clock.steady, sleep=desk.sleep)


def taken(desk: Desk) -> int:
    """How many places are out."""
    ((count,),) = desk.query("SELECT count(*) FROM slot WHERE worker IS NOT NULL")
    return int(count)


def test_two_workers_share_one_app(desk: Desk) -> None:
    """60 requests of three mailboxes: four at once at the most, three for each; all get through."""
    at_once = {name: 0 for name, _ in (APP, *MAILBOXES)}
    most = dict(at_once)
    full = asyncio.Event()  # nobody ends before as many as may are there

    async def use(places: Places, mailbox: tuple[str, int]) -> None:
        async with places.taken(mailbox, APP):
            for name in (mailbox[0], APP[0]):
                at_once[name] += 1
                most[name] = max(most[name], at_once[name])
            if at_once[APP[0]] == APP[1]:
                full.set()
            await full.wait()
            for name in (mailbox[0], APP[0]):
                at_once[name] -= 1

    async def story() -> None:
        both = [places_of(desk, worker) for worker in (WORKER, "w2")]
        await asyncio.gather(*(use(both[n % 2], MAILBOXES[n % 3]) for n in range(60)))
        for places in both:
            await places.close()

    asyncio.run(story())
    assert most[APP[0]] == 4
    assert max(most.values()) <= 4
    assert all(most[name] <= limit for name, limit in MAILBOXES)
    assert taken(desk) == 0


def test_the_places_of_a_dead_worker_are_free(desk: Desk) -> None:
    """They are freed with everything else that it held, at once: a place has no rest."""

    async def story() -> None:
        dead = places_of(desk, "w2")
        async with dead.taken(MAILBOXES[0], APP):
            assert taken(desk) == 2
            await desk.ledger.run(lambda c, now: workers.bury(c, now, "w2"))
            assert taken(desk) == 0
            mine = places_of(desk, WORKER)
            async with mine.taken((MAILBOXES[0][0], 1), (APP[0], 1)):
                assert taken(desk) == 2
            await mine.close()
        await dead.close()

    asyncio.run(story())
