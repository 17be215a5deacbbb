"""Places: how many requests are under way at once, counted across all workers.

A place of a scope is a lease in the ledger (a slot whose window is 0). A process keeps one for a
moment after its use, so that a mail's requests cost one lease and not one each; and gives it up
after some seconds even in the midst of work, so that other workers get their turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from worker.errors import BeginRefused, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

LOOK_AGAIN_SECONDS = 0.25
"""When to ask again where other workers have all places of a scope."""

_STOPPING = "the worker is stopping"


class Leases(Protocol):
    """Places across the fleet (``worker/leases.py``)."""

    async def take(self, scope: str, limit: int) -> str | None:
        """Take a place if one is free; its token."""

    def release(self, token: str) -> Coroutine[None, None, None]:
        """Give a place back."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long places are waited for and kept, in seconds.

    Attributes:
        wait: until a mail that finds no place waits in its line again.
        idle: how long a place is kept that nobody in this process wants.
        keep: how long it is kept while they do.
        rest: how long a process leaves a place to others that it has kept so long; longer than
            they need to look again.
    """

    wait: float = 30.0
    idle: float = 1.0
    keep: float = 10.0
    rest: float = 2 * LOOK_AGAIN_SECONDS


@dataclass(slots=True, eq=False)
class _Place:
    token: str
    since: float
    idle_at: float = 0.0


class Places:
    """Hands out places; one instance a process, on one event loop.

    Args:
        leases: the count across the fleet; without it each process counts alone.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        leases: Leases | None = None,
        *,
        patience: Patience | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._world = _World(leases, patience or Patience(), clock, sleep)
        self._scopes: dict[str, _Scope] = {}

    @asynccontextmanager
    async def taken(self, *wanted: tuple[str, int]) -> AsyncIterator[None]:
        """Have a place of each of these scopes, with their limits, for the length of the block.

        All callers name them from the narrowest to the widest, so that none waits in a circle.

        Raises:
            BeginRefused: others had every place for too long; nobody is to blame.
            LedgerUnavailable: the ledger is away.
        """
        held: list[tuple[_Scope, _Place]] = []
        try:
            for name, limit in wanted:
                scope = self._scopes.get(name)
                if scope is None:
                    scope = self._scopes[name] = _Scope(name, self._world)
                held.append((scope, await scope.acquire(limit)))
            yield
        finally:
            for scope, place in held:
                scope.give_back(place)

    async def close(self) -> None:
        """Give every place back that nobody uses; those in use follow."""
        self._world.closing = True
        for scope in self._scopes.values():
            scope.empty()
        while self._world.tasks:
            await asyncio.wait(self._world.tasks)


@dataclass(slots=True)
class _World:
    """What all scopes share."""

    leases: Leases | None
    patience: Patience
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    closing: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something beside; it ends by itself."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class _Scope:
    """The places of one scope that this process has, and who waits for one."""

    def __init__(self, name: str, world: _World) -> None:
        self.name = name
        self._world = world
        self._limit = 0
        self._count = 0
        self._idle: list[_Place] = []
        self._waiters: deque[asyncio.Future[_Place]] = deque()
        self._fetcher: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._rests_until = 0.0

    async def acquire(self, limit: int) -> _Place:
        if self._world.closing:
            raise BeginRefused(_STOPPING)
        self._limit = limit
        if self._idle and not self._waiters:
            return self._idle.pop()
        turn: asyncio.Future[_Place] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        self._fetch()
        try:
            async with asyncio.timeout(self._world.patience.wait):
                return await self._until(turn)
        except TimeoutError:
            raise BeginRefused(f"all {limit} places of {self.name} are in use") from None

    async def _until(self, turn: asyncio.Future[_Place]) -> _Place:
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result())
            elif turn in self._waiters:
                self._waiters.remove(turn)
            raise

    def give_back(self, place: _Place) -> None:
        world, now = self._world, self._world.clock()
        if world.closing:
            self._end(place)
        elif world.leases is not None and now - place.since >= world.patience.keep:
            self._end(place)
            self._rests_until = now + world.patience.rest
            self._fetch()
        else:
            self._hand_over(place)

    def empty(self) -> None:
        """Keep no place, and let nobody wait."""
        for task in (self._fetcher, self._sweeper):
            if task is not None:
                task.cancel()
        self._fail(BeginRefused(_STOPPING))
        while self._idle:
            self._end(self._idle.pop())

    def _hand_over(self, place: _Place) -> None:
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(place)
                return
        place.idle_at = self._world.clock()
        self._idle.append(place)
        if self._sweeper is None and self._world.leases is not None:
            self._sweeper = self._world.start(self._sweep())

    def _end(self, place: _Place) -> None:
        self._count -= 1
        if self._world.leases is not None:
            self._world.start(self._world.leases.release(place.token))

    def _fail(self, error: Exception) -> None:
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_exception(error)

    def _fetch(self) -> None:
        if self._fetcher is None and self._waiters and self._count < self._limit:
            self._fetcher = self._world.start(self._fetching())

    async def _fetching(self) -> None:
        """Get places for those who wait: one asks the ledger for all of them."""
        world = self._world
        try:
            while self._waiters and self._count < self._limit:
                early = self._rests_until - world.clock()
                if early > 0:
                    await world.sleep(early)
                    continue
                token: str | None = ""
                if world.leases is not None:
                    token = await world.leases.take(self.name, self._limit)
                if token is None:
                    await world.sleep(LOOK_AGAIN_SECONDS)
                    continue
                self._count += 1
                self._hand_over(_Place(token, world.clock()))
        except (BeginRefused, LedgerUnavailable) as error:
            self._fail(error)
        finally:
            self._fetcher = None

    async def _sweep(self) -> None:
        """Give back what nobody has wanted for a while."""
        world = self._world
        try:
            while self._idle:
                await world.sleep(world.patience.idle)
                for place in list(self._idle):
                    if world.clock() - place.idle_at >= world.patience.idle:
                        self._idle.remove(place)
                        self._end(place)
        finally:
            self._sweeper = None
