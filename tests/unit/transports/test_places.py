"""Places: never more than the limit, one question to the ledger for all, and a turn for others."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import pytest

from worker.errors import BeginRefused, LedgerUnavailable
from worker.transports.places import LOOK_AGAIN_SECONDS, Patience, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
SCOPE = "conn:acme/jane"


@dataclass
class FakeLeases:
    """The fleet's count, and what was asked of it."""

    others: Counter[str] = field(default_factory=Counter)
    taken: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    error: Exception | None = None

    async def take(self, scope: str, limit: int) -> str | None:
        """Give one out if there is one."""
        await asyncio.sleep(0)
        self.asked += 1
        if self.error is not None:
            raise self.error
        if self.others[scope] + list(self.taken.values()).count(scope) >= limit:
            return None
        token = f"t{self.asked}"
        self.taken[token] = scope
        return token

    async def release(self, token: str) -> None:
        """Take it back."""
        del self.taken[token]


class Time:
    """Seconds that pass only where somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Read the clock."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Let them pass; others may work meanwhile."""
        self.slept.append(seconds)
        for _ in range(10):
            await asyncio.sleep(0)
        self.seconds += seconds


def run(work: Coroutine[None, None, T]) -> T:
    """Do it, and let nothing hang."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Let the others work until it holds."""
    while not condition():  # noqa: ASYNC110 - they pass no event, and no time passes
        await asyncio.sleep(0)


def make(leases: FakeLeases | None, time: Time, **patience: float) -> Places:
    """Places whose time is the test's."""
    return Places(leases, patience=Patience(**patience), clock=time, sleep=time.sleep)


async def use(places: Places, most: list[int], *wanted: tuple[str, int]) -> None:
    """Have places for a moment, and note how many have them."""
    async with places.taken(*wanted):
        most[0] += 1
        most[1] = max(most)
        for _ in range(3):
            await asyncio.sleep(0)
        most[0] -= 1


@pytest.mark.parametrize("leases", [None, FakeLeases()], ids=["alone", "fleet"])
def test_no_more_at_once_than_the_limit(leases: FakeLeases | None) -> None:
    """Fifty want three places: all get one, and never more than three have."""

    async def story() -> list[int]:
        places, most = make(leases, Time()), [0, 0]
        await asyncio.gather(*(use(places, most, (SCOPE, 3)) for _ in range(50)))
        await places.close()
        return most

    assert run(story()) == [0, 3]
    assert leases is None or (leases.taken, leases.asked) == ({}, 3)


def test_a_place_of_each_scope() -> None:
    """The narrower first: who waits for the wider keeps it, and what is closed is given back."""
    leases = FakeLeases()

    async def story() -> list[int]:
        places, most = make(leases, Time()), [0, 0]
        await asyncio.gather(
            *(use(places, most, (f"conn:{n % 3}", 3), ("app:a", 4)) for n in range(60))
        )
        await places.close()
        return most

    assert run(story())[1] == 4
    assert leases.taken == {}


def test_what_nobody_wants_goes_back_after_a_moment() -> None:
    """A mail's second request finds the place of the first; later it is free for others."""
    leases, time = FakeLeases(), Time()

    async def story() -> None:
        places, most = make(leases, time, idle=1.0), [0, 0]
        await use(places, most, (SCOPE, 3))
        await use(places, most, (SCOPE, 3))
        assert (leases.asked, len(leases.taken)) == (1, 1)
        await until(lambda: not leases.taken)
        await use(places, most, (SCOPE, 3))
        assert leases.asked == 2
        await places.close()

    run(story())
    assert time.slept[0] == 1.0


def test_a_busy_process_gives_others_their_turn() -> None:
    """A place that was kept so long goes back, and is left alone for longer than others sleep."""
    leases, time = FakeLeases(), Time()

    async def story() -> None:
        places = make(leases, time, keep=10.0, rest=0.5)
        async with places.taken((SCOPE, 1)):
            other = asyncio.create_task(use(places, [0, 0], (SCOPE, 1)))
            await asyncio.sleep(0)
            time.seconds += 10.0
        await other
        await places.close()

    run(story())
    assert leases.asked == 2
    assert time.slept[0] == 0.5 > LOOK_AGAIN_SECONDS


def test_one_asks_again_for_all_who_wait() -> None:
    """Other workers have everything: fifty mails are one question every quarter of a second."""
    leases, time = FakeLeases(others=Counter({SCOPE: 3})), Time()

    async def story() -> None:
        places, most = make(leases, time), [0, 0]
        waiting = [asyncio.create_task(use(places, most, (SCOPE, 3))) for _ in range(50)]
        await until(lambda: leases.asked >= 8)
        leases.others.clear()
        await asyncio.gather(*waiting)
        await places.close()

    run(story())
    assert set(time.slept[:7]) == {LOOK_AGAIN_SECONDS}
    assert leases.asked <= 8 + 3


def test_who_waits_too_long_goes_back_into_the_line() -> None:
    """Nobody is to blame, so nothing is held; the next who comes may have it."""
    leases = FakeLeases(others=Counter({SCOPE: 3}))

    async def story() -> None:
        places = Places(leases, patience=Patience(wait=0.01))
        with pytest.raises(BeginRefused, match=r"all 3 places of conn:acme/jane are in use"):
            await use(places, [0, 0], (SCOPE, 3))
        leases.others.clear()
        await asyncio.sleep(0)
        places = Places(leases)
        await use(places, [0, 0], (SCOPE, 3))
        await places.close()

    run(story())
    assert leases.taken == {}


def test_who_is_cancelled_leaves_no_place_behind() -> None:
    """Neither while waiting nor in the moment in which a place was handed over."""
    leases, time = FakeLeases(), Time()

    async def story() -> None:
        places = make(leases, time)
        async with places.taken((SCOPE, 1)):
            waiting = asyncio.create_task(use(places, [0, 0], (SCOPE, 1)))
            await asyncio.sleep(0)
        waiting.cancel()  # the place is its already, and it has not heard of it
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        await use(places, [0, 0], (SCOPE, 1))
        await places.close()

    run(story())
    assert (leases.asked, leases.taken) == (1, {})


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), BeginRefused("reaped")])
def test_a_ledger_that_is_away_fails_all_who_wait(error: Exception) -> None:
    """They are told so, and later ones ask anew."""
    leases = FakeLeases(error=error)

    async def story() -> None:
        places, most = make(leases, Time()), [0, 0]
        outcomes = await asyncio.gather(
            *(use(places, most, (SCOPE, 3)) for _ in range(5)), return_exceptions=True
        )
        assert {type(each) for each in outcomes} == {type(error)}
        assert leases.asked == 1
        leases.error = None
        await use(places, most, (SCOPE, 3))
        await places.close()

    run(story())
    assert leases.taken == {}


def test_a_worker_that_stops_lets_nobody_wait() -> None:
    """Those who wait go back into their lines, and what is in use follows."""
    leases = FakeLeases()

    async def story() -> None:
        places = make(leases, Time())
        async with places.taken((SCOPE, 1)):
            waiting = asyncio.create_task(use(places, [0, 0], (SCOPE, 1)))
            await asyncio.sleep(0)
            await places.close()
            with pytest.raises(BeginRefused, match="stopping"):
                await waiting
            with pytest.raises(BeginRefused, match="stopping"):
                await use(places, [0, 0], (SCOPE, 1))
        await places.close()

    run(story())
    assert leases.taken == {}
