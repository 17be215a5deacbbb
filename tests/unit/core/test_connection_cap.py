"""The cap on connections across workers that die: nobody who is dead opens one, none is lost."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes import WORKER
from worker.errors import BeginRefused, Held
from worker.leases import ConnectionLeases
from worker.ledger import workers

if TYPE_CHECKING:
    from tests.support.fakes import Desk

ACCOUNT = "acme/jane"


def leases(desk: Desk, worker: str) -> ConnectionLeases:
    """The leases of a worker that does not wait."""
    return ConnectionLeases(desk.ledger, worker, desk.new_token, patience_seconds=0.0)


def register(desk: Desk, worker: str) -> None:
    """One more worker comes."""
    desk.ledger.call(
        lambda c, now: workers.register(c, now, worker, host="host", pid=2, version="1")
    )


def holders(desk: Desk) -> list[str]:
    """Who has the connections that are out."""
    rows = desk.query("SELECT worker FROM slot WHERE worker IS NOT NULL ORDER BY worker")
    return [worker for (worker,) in rows]


def test_a_worker_that_was_found_dead_opens_no_connection(desk: Desk) -> None:
    """It was only stopped, and wakes up: what it took now nobody would ever free."""
    desk.ledger.call(lambda c, now: workers.bury(c, now, WORKER))

    async def run() -> None:
        with pytest.raises(BeginRefused, match="found dead"):
            await leases(desk, WORKER).acquire(ACCOUNT, 3)

    asyncio.run(run())
    assert holders(desk) == []


def test_no_more_than_the_cap_while_workers_come_and_go(desk: Desk) -> None:
    """Three die after each other with both connections open: both are there again each time."""

    async def run() -> None:
        for name in ("w2", "w3", "w4"):
            register(desk, name)
            mine = leases(desk, name)
            await mine.acquire(ACCOUNT, 2)
            await mine.acquire(ACCOUNT, 2)
            for other in (name, WORKER):
                with pytest.raises(Held):
                    await leases(desk, other).acquire(ACCOUNT, 2)
            assert holders(desk) == [name, name]
            await desk.ledger.run(partial(workers.bury, worker=name))
            assert holders(desk) == []

    asyncio.run(run())
