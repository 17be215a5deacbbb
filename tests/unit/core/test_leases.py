"""Connection leases: never more connections to a mailbox than allowed, and none left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes import WORKER
from worker.errors import Held, LedgerUnavailable
from worker.leases import LOOK_AGAIN_SECONDS, ConnectionLeases
from worker.ledger import workers

if TYPE_CHECKING:
    from tests.support.fakes import Desk

ACCOUNT = "acme/jane"
SCOPE = f"conn:{ACCOUNT}"


def leases(desk: Desk, worker: str = WORKER, patience_seconds: float = 2.0) -> ConnectionLeases:
    """The leases of one worker, whose waiting takes the test's time."""
    return ConnectionLeases(
        desk.ledger, worker, desk.new_token, sleep=desk.sleep, patience_seconds=patience_seconds
    )


def taken(desk: Desk) -> list[str]:
    """The tokens of the leases that are out."""
    statement = f"SELECT token FROM slot WHERE scope = '{SCOPE}' AND worker IS NOT NULL"  # noqa: S608 - the scope is right here
    return sorted(token for (token,) in desk.query(statement))


async def settle_down() -> None:
    """Let everything that was started run to its end."""
    for _ in range(200):
        await asyncio.sleep(0.001)
        if len(asyncio.all_tasks()) == 1:
            return


def test_as_many_as_allowed_then_the_mailbox_is_held(desk: Desk) -> None:
    """The third of two waits its patience, then says what is in use."""

    async def run() -> None:
        mine = leases(desk)
        tokens = [await mine.acquire(ACCOUNT, 2) for _ in range(2)]
        assert taken(desk) == sorted(tokens)
        with pytest.raises(Held) as raised:
            await mine.acquire(ACCOUNT, 2)
        assert raised.value.reason == (
            "all 2 connections that mailbox_connections allows are in use"
        )
        assert str(raised.value.target) == f"scope:{SCOPE}"

    asyncio.run(run())
    assert sum(desk.sleeps) == 2.0
    assert len(taken(desk)) == 2


def test_what_is_given_back_is_free_at_once(desk: Desk) -> None:
    """A connection's place has no rest: the next may have it in the same second."""

    async def run() -> None:
        mine = leases(desk)
        first = await mine.acquire(ACCOUNT, 1)
        await mine.release(first)
        second = await mine.acquire(ACCOUNT, 1)
        assert taken(desk) == [second]

    asyncio.run(run())
    assert desk.sleeps == []


def test_workers_share_one_cap(desk: Desk) -> None:
    """What another worker has counts; when it is buried its places are free."""
    desk.ledger.call(lambda c, now: workers.register(c, now, "w2", host="host", pid=2, version="1"))

    async def run() -> None:
        await leases(desk, "w2").acquire(ACCOUNT, 1)
        with pytest.raises(Held):
            await leases(desk, patience_seconds=0.0).acquire(ACCOUNT, 1)
        await desk.ledger.run(lambda c, now: workers.bury(c, now, "w2"))
        await leases(desk, patience_seconds=0.0).acquire(ACCOUNT, 1)

    asyncio.run(run())


def test_a_place_that_comes_free_while_waiting_is_taken(desk: Desk) -> None:
    """It looks four times a second."""

    async def run() -> None:
        mine = leases(desk)
        first = await mine.acquire(ACCOUNT, 1)

        async def sleep(seconds: float) -> None:
            await mine.release(first)
            await desk.sleep(seconds)

        patient = ConnectionLeases(desk.ledger, WORKER, desk.new_token, sleep=sleep)
        await patient.acquire(ACCOUNT, 1)

    asyncio.run(run())
    assert desk.sleeps == [LOOK_AGAIN_SECONDS]


def test_cancelled_while_the_ledger_commits_it_leaves_no_lease(desk: Desk) -> None:
    """The ledger does what it was asked; the lease is given back all the same."""

    async def run() -> None:
        waiting = asyncio.create_task(leases(desk).acquire(ACCOUNT, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await settle_down()

    asyncio.run(run())
    assert desk.tokens == 1
    assert taken(desk) == []


def test_given_back_while_the_ledger_is_away_it_is_free_later(desk: Desk) -> None:
    """Giving back does not fail and does not wait: it is done once the ledger answers."""

    async def run() -> None:
        mine = leases(desk)
        token = await mine.acquire(ACCOUNT, 1)
        desk.ledger.away.extend([True, True])
        await mine.release(token)
        assert taken(desk) == [token]
        await settle_down()

    asyncio.run(run())
    assert desk.ledger.lost == 2
    assert taken(desk) == []


def test_without_ledger_there_is_no_lease(desk: Desk) -> None:
    """The delivery learns that the ledger is away, not that the mailbox is full."""
    desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable):
        asyncio.run(leases(desk).acquire(ACCOUNT, 1))
